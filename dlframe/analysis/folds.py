"""Runs that are folds of a cross-validation: which belong together, and what is said of them."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from dlframe.analysis.estimates import Contrast, Summary
from dlframe.analysis.groups import Grouping
from dlframe.analysis.independent import FOLD, FOLDS, SPLIT_SEED
from dlframe.analysis.resampled import ROUGH, Folds, contrast_folds, summarize_folds
from dlframe.analysis.runs import RunData
from dlframe.analysis.statistics import contrast, summarize

__all__ = ["contrast_runs", "overlap_of", "split_of", "summarize_runs"]

_PART = "dlframe.fold"
"""Tag of a run: which part its fold is, ``test`` or ``validation``, or ``time`` where the folds follow
each other."""


def split_of(run: RunData) -> tuple[str | None, ...]:
    """Return what tells a run's fold from all others, and is None without one."""
    return tuple(run.params.get(key) for key in (FOLDS, SPLIT_SEED, FOLD))


def overlap_of(grouping: Grouping, runs: Sequence[RunData], metric: str) -> float | str | None:
    """Return ``n_test / n_train`` of the folds that a group's runs are.

    Args:
        grouping: of all runs.
        runs: the group's.
        metric: what is measured; where the test part is fixed, only the validation differs by fold.

    Returns:
        ``1 / (k - 1)`` for ``k`` folds; ``ROUGH`` where no correction is known, as in order of time or
        on a fixed test part; None where the runs are no folds; a sentence where they do not go
        together.
    """
    numbers = sorted(
        {int(run.params[FOLDS]) for run in runs if run.params.get(FOLD) in grouping.folds}
    )
    if not numbers:
        return None
    if any(run.params.get(FOLD) not in grouping.folds for run in runs):
        return "runs with folds and without have no interval together"
    if len(numbers) > 1:
        return f"runs of {' and '.join(map(str, numbers))} folds have no interval together"
    parts = {run.tags.get(_PART, "test") for run in runs}
    if "time" in parts or ("validation" in parts and metric.startswith("test/")):
        return ROUGH
    return 1 / (numbers[0] - 1)


def summarize_runs(
    grouping: Grouping, runs: Sequence[RunData], metric: str, *, missing: int
) -> Summary:
    """Summarize a metric over a group.

    Args:
        grouping: of all runs.
        runs: those of the group that have the metric.
        metric: its name.
        missing: number of runs without it.
    """
    overlap = overlap_of(grouping, runs, metric)
    if isinstance(overlap, float):
        return summarize_folds(_by_fold(grouping, runs, metric), overlap, missing=missing)
    found = summarize([run.metrics[metric] for run in runs], missing=missing)
    if overlap is None:
        return found
    return replace(found, low=None, high=None, interval="none", reason=overlap)


def contrast_runs(
    grouping: Grouping,
    first: Sequence[RunData],
    second: Sequence[RunData],
    metric: str,
    pairing: str,
) -> Contrast:
    """Test whether a metric's mean differs between two groups; folds against the same folds alone.

    Args:
        grouping: of all runs.
        first: runs of the one group that have the metric.
        second: runs of the other.
        metric: its name.
        pairing: what pairs share, as a word in the plural.
    """
    one, other = (overlap_of(grouping, runs, metric) for runs in (first, second))
    if isinstance(one, float) and one == other:
        a, b = (_by_fold(grouping, runs, metric) for runs in (first, second))
        return contrast_folds(a, b, one)
    found = contrast(
        _by_partner(grouping, first, metric), _by_partner(grouping, second, metric), pairing=pairing
    )
    if one is None and other is None:
        return found
    told = next((each for each in (one, other) if isinstance(each, str)), None)
    return Contrast(
        n=(len(first), len(second)), test="Welch t", difference=found.difference,
        reason=told or "folds can be tested against the same folds alone",
    )  # fmt: skip


def _by_partner(
    grouping: Grouping, runs: Sequence[RunData], metric: str
) -> dict[Hashable, list[float]]:
    found: dict[Hashable, list[float]] = {}
    for run in runs:
        found.setdefault(grouping.partner(run), []).append(run.metrics[metric])
    return found


def _by_fold(grouping: Grouping, runs: Sequence[RunData], metric: str) -> Folds:
    found: dict[Hashable, list[RunData]] = {}
    for run in runs:
        found.setdefault(split_of(run), []).append(run)
    return {fold: _by_partner(grouping, of, metric) for fold, of in found.items()}
