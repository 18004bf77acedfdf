"""A trial as tables, files and the command line show it."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from dlframe.errors import StorageError
from dlframe.sweep.definition import Parameter
from dlframe.sweep.marks import OWNER, RETRY_OF, SAID, UID, reason
from dlframe.sweep.pace import seconds
from dlframe.sweep.repetitions import repetitions
from dlframe.sweep.snapshot import Snapshot
from dlframe.sweep.space_texts import words_of
from dlframe.sweep.space_trials import distribution_of, overrides_of
from dlframe.sweep.tally import attempt
from dlframe.sweep.trial import RESULT
from dlframe.tracking.whole import read_json

__all__ = ["best_lines", "command", "epochs", "logs", "named_values", "overrides", "params", "row",
           "short", "word"]  # fmt: skip

_LOG = "log.txt"


def word(own: Parameter, value: Any) -> str:
    """Return a value of a dimension: a choice as an override writes it, a number in short."""
    if isinstance(distribution_of(own), CategoricalDistribution):
        return overrides_of({own.name: value}, [own])[0].partition("=")[2]
    return words_of(value)


def params(found: Snapshot, trial: FrozenTrial) -> dict[str, str]:
    """Return what a trial has of each dimension, in the order of the space."""
    space = found.definition.space
    return {
        own.name: word(own, trial.params[own.name]) for own in space if own.name in trial.params
    }


def short(found: Snapshot, trial: FrozenTrial) -> str:
    """Return what a trial has of each dimension, in one line."""
    return " ".join(f"{name}={text}" for name, text in params(found, trial).items())


def named_values(found: Snapshot, trial: FrozenTrial) -> dict[str, float]:
    """Return a trial's values by the names of their metrics; none where it did not complete."""
    goals = found.definition.goals
    return {g.metric: v for g, v in zip(goals, trial.values or (), strict=False)}


def best_lines(found: Snapshot, most: int = 3) -> Iterator[str]:
    """Yield what is to be said of the best trials, or of why there is none.

    Args:
        found: the study.
        most: how many trials to name.
    """
    for trial in found.best[:most]:
        told = ", ".join(
            f"{name} {value:.6g}" for name, value in named_values(found, trial).items()
        )
        yield f"{told} in trial {trial.number}: {short(found, trial)}"
    if len(found.best) > most:
        yield f"and {len(found.best) - most} more that none is better than in all"
    if not found.best and found.numbers.complete:
        yield f"none: no trial keeps to {' and '.join(found.definition.constraints)}"


def overrides(found: Snapshot, trial: FrozenTrial) -> list[str]:
    """Return all overrides that a trial was composed from."""
    definition = found.definition
    return [*definition.fixed, *overrides_of(trial.params, definition.space)]


def command(found: Snapshot, trial: FrozenTrial) -> list[str]:
    """Return the words of the command that trains what a trial trained."""
    place = found.definition.config_dir
    own = ["--config-dir", place] if place else []
    return ["dlframe", "train", *own, *overrides(found, trial)]


def epochs(found: Snapshot, trial: FrozenTrial) -> int | None:
    """Return how many epochs a trial was trained for, as far as that is known."""
    try:
        metrics: Mapping[str, Any] = _result(found, trial.number).get("metrics") or {}
    except StorageError:  # damaged: the trial itself knows enough
        metrics = {}
    number = metrics.get("cost/epochs", math.nan)
    if math.isfinite(number):
        return int(number)
    # Of several runs the means are reported, not epochs.
    if found.definition.repeats > 1 or not trial.intermediate_values:
        return None
    return max(trial.intermediate_values)


def logs(found: Snapshot, trial: FrozenTrial) -> list[Path]:
    """Return where there is what the processes of a trial have printed: a file for each run."""
    places = _places(found, trial.number)
    return [place / _LOG for place in places if (place / _LOG).is_file()]


def row(found: Snapshot, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial as plain values, the same wherever one is printed as JSON."""
    return {
        "study": found.name,
        "trial": trial.number,
        "state": found.standings[trial.number],
        "reason": reason(trial),
        "said": trial.user_attrs.get(SAID),
        "values": named_values(found, trial),
        "params": trial.params,
        "broken": {name: excess for name, excess in trial.constraints.items() if excess > 0},
        "seconds": seconds(trial, found.taken),
        "epochs": epochs(found, trial),
        "run": trial.user_attrs.get(UID),
        "attempt": attempt(trial),
        "retry_of": trial.user_attrs.get(RETRY_OF),
        "worker": trial.user_attrs.get(OWNER),
        "logs": [str(path) for path in logs(found, trial)],
    }


def _places(found: Snapshot, number: int) -> list[Path]:
    folder = found.folder / "trials"
    if found.definition.repeats == 1:
        return [folder / f"{number}"]
    return [folder / f"{number}-{each.name}" for each in repetitions(found.definition)]


def _result(found: Snapshot, number: int) -> dict[str, Any]:
    """Return what the process of a trial has left; of several the first one's."""
    path = _places(found, number)[0] / RESULT
    return read_json(path) if path.is_file() else {}
