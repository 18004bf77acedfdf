"""A few steps of a training for a look at it: nothing is written, evaluated or remembered."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from dlframe.errors import ConfigError
from dlframe.plugin import registry
from dlframe.training.state import random_state, set_random_state

__all__ = ["for_trial", "undisturbed"]

_NEVER = 10**9


def for_trial(config: Mapping[str, Any], *, max_steps: int) -> dict[str, Any]:
    """Return a copy of the config for a training that ends after ``max_steps`` optimizer steps.

    Raises:
        ConfigError: it is for several processes.
    """
    made = deepcopy(dict(config))
    trainer = made["trainer"]
    if trainer["devices"] != 1:
        raise ConfigError(
            f"steps are tried in one process; got trainer.devices={trainer['devices']}: set it to 1"
        )
    trainer |= {"max_steps": max_steps, "max_epochs": -1, "max_time": None, "eval_every": _NEVER}
    trainer |= {"checkpoint": False, "progress": "off", "profiler": None, "watch": False}
    made["scheduler"] = {"component": registry().find("scheduler", "constant").id}
    return made


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give all random generators the states back that they had."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
