"""Samplers and pruners of a study, built from what was chosen."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import ExperimentalWarning

from dlframe.config.signature import construct, load
from dlframe.config.validate import checked
from dlframe.plugin import registry
from dlframe.sweep.definition import Chosen

__all__ = ["built", "quietly"]


def built(kind: str, chosen: Chosen, **runtime: Any) -> Any:
    """Build a sampler or pruner from its options and those of the runtime arguments that it names.

    Raises:
        ConfigError: an option does not fit.
    """
    entry = registry().find(kind, chosen.component)
    options = checked(f"hydra.sweeper.{kind}", chosen.options, load(entry).options, entry.id)
    return construct(entry, options, runtime)


@contextmanager
def quietly(*categories: type[Warning]) -> Iterator[None]:
    """Build something of Optuna's without its remark that it is experimental, or going to be removed.

    Args:
        categories: of the remarks; experimental ones, if none is given.
    """
    with warnings.catch_warnings():
        for category in categories or (ExperimentalWarning,):
            warnings.filterwarnings("ignore", category=category, module=r"(optuna|dlframe)\.")
        yield
