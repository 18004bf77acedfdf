"""Training a recorded run again: what differs from then, and whether the same numbers come out."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlframe.errors import ReplayError, RunNotFoundError
from dlframe.tracking.earlier import recorded_metrics
from dlframe.training.outcome import Run
from dlframe.training.prepare import read_config
from dlframe.training.resume import recorded_threads
from dlframe.training.run import execute
from dlframe.training.surroundings import drift, tell

__all__ = ["Parting", "Replay", "replay"]

_TIMES = ("perf/", "cost/", "system/", "final/")
"""Metrics that tell of time and machine, or repeat others."""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The first recorded value that came out differently.

    Args:
        metric: its name.
        step: optimizer step.
        before: the recorded value; as text where it is not finite.
        now: the value of the replay; None where it has none.
    """

    metric: str
    step: int
    before: float | str
    now: float | str | None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A run trained again.

    Args:
        run: the new run.
        of: id of the run that it replays.
        differences: what is not as it was: packages, plugins, machine, code; one sentence each.
        compared: number of recorded values that were compared.
        equal: number of those that are the same to the last bit.
        parting: the first of the others, by step; None where all are the same.
    """

    run: Run
    of: str
    differences: list[str]
    compared: int
    equal: int
    parting: Parting | None


def replay(
    folder: Path,
    *,
    root: Path | None = None,
    uri: str | None = None,
    strict: bool = False,
    command: Sequence[str] = (),
) -> Replay:
    """Train a run again from its record, and compare every metric.

    Config, seed and number of threads are the recorded ones, and the data must be. What else is not
    as it was is said on standard error.

    Args:
        folder: the run's folder.
        root: folder of the new run's folder; None puts it beside the old one's.
        uri: where to record the new run; None means where the old one was.
        strict: refuse to train where anything is not as it was.
        command: the command line, for the record.

    Raises:
        DataError: the data is not what the run was trained on.
        ReplayError: with ``strict``, where packages, plugins, machine or code differ.
        RunNotFoundError: the run was not recorded.
    """
    before = _values(folder)
    if not before:
        raise RunNotFoundError(
            f"{str(folder)!r} holds no recorded metrics to compare with; train the config again with "
            "`dlframe train`"
        )
    found = drift(folder)
    if not strict:
        tell(found)
    elif found:
        raise ReplayError(
            f"not all is as it was when run {folder.name!r} was trained: {'; '.join(found)}; mend "
            "that, or leave out --strict"
        )
    config = read_config(folder)
    config["tracking"]["root"] = str(root or folder.parent)
    config["tracking"]["uri"] = uri or config["tracking"]["uri"]
    config["resume"] = "never"
    if config["trainer"]["threads"] is None:
        config["trainer"]["threads"] = recorded_threads(folder)
    overrides = json.loads((folder / "overrides.json").read_text())
    run = execute(config, overrides=overrides, command=command, replay_of=folder)
    now = _values(run.folder)
    partings = [
        Parting(metric=metric, step=step, before=value, now=now.get((step, metric)))
        for (step, metric), value in sorted(before.items())
        if now.get((step, metric)) != value
    ]
    return Replay(
        run=run,
        of=folder.name,
        differences=found,
        compared=len(before),
        equal=len(before) - len(partings),
        parting=partings[0] if partings else None,
    )


def _values(folder: Path) -> dict[tuple[int, str], float | str]:
    """Return the recorded values by step and name; what is not finite as text, equal to itself."""
    return {
        (step, key): value if math.isfinite(value) else str(value)
        for key, step, value in recorded_metrics(folder)
        if not key.startswith(_TIMES)
    }
