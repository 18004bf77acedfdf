"""Which metrics tell most, and whether small or large values of one are better."""

import re
from collections.abc import Sequence
from typing import Literal

from dlframe.analysis.runs import RunData

__all__ = ["PRIMARY", "Goal", "better", "goal_of", "headline", "headlines", "watched"]

Goal = Literal["min", "max"]
PRIMARY = "dlframe.primary_metric"
MODE = "dlframe.primary_mode"

_SMALL = (
    "loss", "error", "mae", "mse", "rmse", "mape", "frechet", "perplexity", "nll", "brier", "ece",
    "seconds", "divergence", "deviance",
)  # fmt: skip
_LARGE = ("accuracy", "precision", "recall", "f1", "auc", "r2", "iou", "dice", "score")


def watched(runs: Sequence[RunData]) -> str | None:
    """Return the metric that chose the best weights, such as ``val/loss``, if all agree on it."""
    found = {run.tags.get(PRIMARY) for run in runs}
    return found.pop() if len(found) == 1 else None


def headline(runs: Sequence[RunData]) -> list[str]:
    """Return the metric that says most: the watched one, in the test where there was one."""
    names = headlines(watched(runs))
    known = {name for run in runs for name in run.metrics}
    return [name for name in names if name in known][:1]


def headlines(watched: str | None) -> list[str]:
    """Return the metrics that say most of a training which watched that one, the best first."""
    stem = (watched or "val/loss").rpartition("/")[2]
    return [f"test/{stem}", f"best/val_{stem}", f"val/{stem}", "test/loss", "best/val_loss"]


def goal_of(word: str, runs: Sequence[RunData]) -> tuple[str, Goal | None]:
    """Return a metric's name and which values are better; None where its name does not tell.

    Args:
        word: the name, which may end in ``:min`` or ``:max``.
        runs: they know what their training watched.
    """
    name, _, asked = word.rpartition(":")
    if name and asked in ("min", "max"):
        return name, "min" if asked == "min" else "max"
    modes = {run.tags.get(MODE) for run in runs}
    if modes <= {"min", "max"} and len(modes) == 1 and _stem(word) == _stem(watched(runs) or ""):
        return word, "min" if modes == {"min"} else "max"
    return word, better(word)


def better(metric: str) -> Goal | None:
    """Return which values of a metric are better, as far as its name tells."""
    words = re.split(r"[^a-z0-9]+", _stem(metric))
    if any(small in words for small in _SMALL):
        return "min"
    return "max" if any(large in words for large in _LARGE) else None


def _stem(metric: str) -> str:
    """Return what is measured, without the part of the data that it is measured on."""
    return metric.rpartition("/")[2].removeprefix("val_").lower()
