"""The number of folds of a config, and what a command makes of them: a run with each."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlframe.config.overrides import parse
from dlframe.errors import ConfigError

__all__ = [
    "FOLD",
    "FOLDS",
    "all_folds",
    "first_fold",
    "refuse_all_folds",
    "refuse_several_numbers",
    "with_each_fold",
]

FOLD, FOLDS = "data.fold", "data.folds"


def all_folds(config: Mapping[str, Any]) -> int | None:
    """Return how many runs a config asks for, one with each fold; None where it asks for one run."""
    data = config.get("data") or {}
    folds = data.get("folds")
    return folds if data.get("fold") is None and isinstance(folds, int) and folds > 1 else None


def first_fold(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the first of the runs that it asks for."""
    if all_folds(config) is None:
        return dict(config)
    return {**config, "data": {**config["data"], "fold": 0}}


def with_each_fold(overrides: Sequence[str], folds: int) -> list[str]:
    """Return the overrides of a multirun that trains with each fold."""
    kept = [text for text in overrides if parse(text).key_or_group != FOLD]
    return [*kept, f"{FOLD}={','.join(map(str, range(folds)))}"]


def refuse_several_numbers(overrides: Sequence[str]) -> None:
    """Refuse several numbers of folds in one command.

    Raises:
        ConfigError: ``data.folds`` has several values.
    """
    for text in overrides:
        override = parse(text)
        if override.key_or_group == FOLDS and override.is_sweep_override():
            raise ConfigError(
                f"{FOLDS} is one number for all runs of a command; got {text!r}: give each number a "
                "command of its own"
            )


def refuse_all_folds(folds: int | None, fold: int | None) -> None:
    """Refuse to train one run where a run with each fold is asked for.

    Raises:
        ConfigError: there are folds, and none is chosen.
    """
    if folds is not None and fold is None:
        raise ConfigError(
            f"{FOLDS}={folds} asks for a run with each fold, and this is one run; train all with "
            f"`dlframe train` or dlframe.cross_validate, or choose one by {FOLD}=0 to {folds - 1}"
        )
