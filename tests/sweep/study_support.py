"""Studies for the tests: small, real, and quick to make."""

from dataclasses import replace
from typing import Any

from dlframe.sweep.definition import Chosen, Definition, Goal, Limits

_PLAIN = Definition(
    name="study",
    fixed=("architecture=mlp", "tracking.run_name=a b"),
    space=(),
    goals=(Goal("val/loss", "minimize"),),
    sampler=Chosen("dlframe/tpe"),
    pruner=None,
    seed=0,
    root="runs",
)


def defined(*, retries: int = 1, **more: Any) -> Definition:
    """Return a definition with something of its own."""
    return replace(_PLAIN, limits=Limits(retries=retries), **more)
