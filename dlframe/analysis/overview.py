"""Runs as a list shows them: what was chosen, how they stand, a few numbers; curves are not read.

Of a run's metrics only those are looked up that are asked for, so that long runs are as quick to
list as short ones. Neither torch nor mlflow is imported.
"""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from dlframe.analysis.goals import PRIMARY, headlines
from dlframe.analysis.runs import Curve, RunData, gathered, read_local, without_copies
from dlframe.tracking.note import Facts
from dlframe.tracking.runs import BROKEN, unreadable
from dlframe.tracking.spool import FILE, Spool, is_claimed

__all__ = ["Listed", "differing", "headline_of", "list_root", "recorded_differences"]

_OVERRIDES = "overrides.json"
_ELSEWHERE = ("tracking.", "hydra.", "hydra/", "resume=")


@dataclass(frozen=True)
class Listed:
    """A run in a list.

    Args:
        run: what is known of it; ``metrics`` holds the headline and what else was asked for.
        differs: option and value of what was chosen otherwise than by default.
        gone: whether it should be running, but its process is gone.
    """

    run: RunData
    differs: tuple[tuple[str, str], ...]
    gone: bool = False


def list_root(root: Path, metrics: Sequence[str] = ()) -> tuple[list[Listed], list[str]]:
    """Read the runs recorded in a tracking root.

    Args:
        root: the folder of the runs.
        metrics: names of metrics to look up beside the headline.

    Returns:
        The runs, newest first, and a sentence on each folder that cannot be read or holds a copy.
    """
    found: dict[Path, Listed] = {}
    broken: list[str] = []
    for path in sorted(root.glob(f"*/{FILE}"), reverse=True):
        try:
            found[path.parent] = _read(path.parent, metrics)
        except BROKEN as error:
            broken.append(unreadable(path.parent, error))
    kept, copies = without_copies([each.run for each in found.values()])
    once = [found[run.folder] for run in kept if run.folder is not None]
    return sorted(once, key=lambda each: each.run.created, reverse=True), broken + copies


def _read(folder: Path, metrics: Sequence[str]) -> Listed:
    with closing(Spool(folder)) as spool:
        run_id = spool.cursor("mlflow").state.get("run_id")
        told = spool.of_kinds("start", "params", "tags", "finish")
        run = gathered(spool.info(), told, run_id, folder)
        last = spool.latest("metrics")
        values: dict[str, float] = dict(last.body["values"]) if last else {}

        def look_up(name: str) -> bool:
            if name not in values and last and (value := spool.latest_value(name)) is not None:
                values[name] = value
            return name in values

        any(look_up(name) for name in headlines(run.tags.get(PRIMARY)))
        for name in metrics:
            look_up(name)
    gone = run.status == "RUNNING" and not is_claimed(folder)

    def curve(metric: str) -> Curve:
        return read_local(folder).curve(metric)

    full = replace(run, metrics=values, curve=curve)
    return Listed(full, recorded_differences(folder), gone)


def recorded_differences(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return what the run's own record says; before there was a note, what the user typed."""
    if (facts := Facts.read(folder)) is not None:
        return tuple((option, value) for option, value, _ in facts.differences)
    path = folder / _OVERRIDES
    words = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    pairs = (word.lstrip("+~").partition("=") for word in words if not word.startswith(_ELSEWHERE))
    return tuple((key, value) for key, _, value in pairs)


def headline_of(run: RunData) -> str | None:
    """Return the name of the metric that says most of a run."""
    names = headlines(run.tags.get(PRIMARY))
    return next((name for name in names if name in run.metrics), None)


def differing(runs: Sequence[RunData]) -> list[Listed]:
    """Say of each run what is not as in most of the others, where no record tells the defaults."""
    usual: dict[str, str] = {}
    for key in {key for run in runs for key in run.params}:
        values = Counter(run.params[key] for run in runs if key in run.params)
        usual[key] = values.most_common(1)[0][0]
    return [
        Listed(run, tuple((k, v) for k, v in run.params.items() if usual[k] != v)) for run in runs
    ]
