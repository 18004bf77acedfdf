"""The comparison: groups of runs, each metric summarized over each group and tested between them."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dlframe.analysis.estimates import Contrast, Summary
from dlframe.analysis.folds import contrast_runs, summarize_runs
from dlframe.analysis.goals import Goal, goal_of, headline
from dlframe.analysis.groups import Group, Grouping, group_runs
from dlframe.analysis.independent import SEED, independent
from dlframe.analysis.runs import RunData
from dlframe.analysis.statistics import BOOTSTRAP_FROM, holm
from dlframe.errors import ConfigError, did_you_mean

__all__ = ["Comparison", "MetricComparison", "Pair", "compare"]

MOST_COMPARED = 8
"""Number of groups up to which each is tested against each other."""
_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A test between two groups.

    Args:
        first: label of the one group.
        second: label of the other.
        contrast: ``first - second``.
        corrected: its p value after Holm's correction for all tests of the metric.
    """

    first: str
    second: str
    contrast: Contrast
    corrected: float | None = None


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One metric over all groups.

    Args:
        metric: its name.
        goal: whether ``min`` or ``max`` is better; None if neither.
        summaries: by group's label, in the groups' order.
        pairs: the tests between groups.
        values: the values by group's label and run; NaN where a run recorded that.
        missing: number of finished runs that recorded no value, by group's label.
        best: the run with the best value, and that value.
        worst: likewise.
    """

    metric: str
    goal: Goal | None
    summaries: Mapping[str, Summary]
    pairs: Sequence[Pair]
    values: Mapping[str, Mapping[str, float]]
    missing: Mapping[str, int]
    best: tuple[str, float] | None = None
    worst: tuple[str, float] | None = None

    @cached_property
    def leader(self) -> str | None:
        """The group with the best mean."""
        means = {label: s.mean for label, s in self.summaries.items() if s.mean is not None}
        if self.goal is None or len(means) < 2:
            return None
        sign = 1.0 if self.goal == "min" else -1.0
        return min(means, key=lambda label: sign * means[label])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Groups of runs and what their metrics say.

    Args:
        grouping: the groups of all runs, those without a result included.
        metrics: a comparison for each metric, the most important first.
        baseline: label of the group that all others are tested against.
        notes: what a reader must know: runs left out, tests that were not made.
    """

    grouping: Grouping
    metrics: Sequence[MetricComparison]
    baseline: str | None
    notes: Sequence[str]

    @property
    def runs(self) -> list[RunData]:
        """All runs, group by group."""
        return [run for group in self.grouping.groups for run in group.runs]


def compare(
    runs: Sequence[RunData],
    *,
    by: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    named: Collection[str] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare runs by group.

    Only finished runs count: what a failed or stopped run measured is no result. How many they are
    is said for each group. What repeats another run is left out, and said to be.

    Args:
        runs: the runs; their order does not matter, and parent runs are left out.
        by: config keys to group by; None takes all that vary, but for seed and fold.
        metrics: names, each with ``:min`` or ``:max`` behind it where dlframe cannot know which is
            better; None takes the test metric that belongs to the metric that training watched.
        baseline: the group to test the others against: its label, or those of its values, with or
            without their keys, that no other group has; None tests each against each other.
        named: ids of runs that were asked for one by one: of these, replays count too.
        notes: what is to be said of the runs already.

    Raises:
        ConfigError: there is nothing to compare, or a key, metric or group of that name is not there.
    """
    trained = [run for run in runs if not run.group]
    if not trained:
        raise ConfigError("there are no runs to compare; train some with `dlframe train -m`")
    trained, repeated = independent(trained, named=named, by=by)
    grouping = group_runs(trained, by)
    finished = [run for run in trained if run.status == "FINISHED"]
    chosen = _goals(finished, metrics)
    against = None if baseline is None else _baseline(grouping.groups, baseline)
    if chosen:
        grouping = replace(grouping, groups=_best_first(grouping, *next(iter(chosen.items()))))
    tested = against is not None or len(grouping.groups) <= MOST_COMPARED
    compared = [_metric(grouping, name, goal, against, tested) for name, goal in chosen.items()]
    said = [*notes, *repeated, *_notes(grouping, compared, tested=tested)]
    return Comparison(grouping=grouping, metrics=compared, baseline=against, notes=said)


def _goals(finished: Sequence[RunData], metrics: Sequence[str] | None) -> dict[str, Goal | None]:
    known = sorted({name for run in finished for name in run.metrics})
    asked = list(metrics) if metrics else headline(finished)
    chosen: dict[str, Goal | None] = {}
    for word in asked:
        name, goal = goal_of(word, finished)
        if name not in known and finished:
            raise ConfigError(
                f"no finished run has a metric {name!r}; {did_you_mean(name, known)}there are "
                f"{_first(known)}"
            )
        chosen[name] = goal
    return chosen


def _first(metrics: Sequence[str]) -> str:
    """List the first few, those that sum a training up before its curves."""
    summing = ["test/", "best/"]
    ranked = sorted(metrics, key=lambda name: ([*summing, name[:5]].index(name[:5]), name))
    more = f" and {len(ranked) - _LISTED} more" if len(ranked) > _LISTED else ""
    return (", ".join(ranked[:_LISTED]) or "none") + more


def _baseline(groups: Sequence[Group], name: str) -> str:
    words = [word.strip() for word in name.split(",")]
    found = [group.label for group in groups if all(word in _words(group) for word in words)]
    found = found or [group.label for group in groups if name in group.label]
    if len(found) != 1:
        several = f"{len(found)} groups answer to" if found else "no group answers to"
        labels = "; ".join(group.label for group in groups)
        raise ConfigError(f"{several} --baseline {name!r}; the groups are {labels}")
    return found[0]


def _words(group: Group) -> set[str]:
    return {*group.values.values(), *(f"{k}={v}" for k, v in group.values.items()), group.label}


def _metric(
    grouping: Grouping, metric: str, goal: Goal | None, baseline: str | None, tested: bool
) -> MetricComparison:
    values = {group.label: _values(group, metric) for group in grouping.groups}
    missing = {
        group.label: len(_finished(group)) - len(values[group.label]) for group in grouping.groups
    }
    pairs = _pairs(grouping, metric, baseline) if tested else []
    corrected = holm([pair.contrast.p for pair in pairs])
    every = {run: v for of_group in values.values() for run, v in of_group.items()}
    finite = [(run, value) for run, value in sorted(every.items()) if math.isfinite(value)]
    ranked = sorted(finite, key=lambda found: -found[1] if goal == "max" else found[1])
    return MetricComparison(
        metric=metric,
        goal=goal,
        summaries={
            group.label: summarize_runs(
                grouping, _measured(group, metric), metric, missing=missing[group.label]
            )
            for group in grouping.groups
        },
        pairs=[replace(pair, corrected=p) for pair, p in zip(pairs, corrected, strict=True)],
        values=values,
        missing=missing,
        best=ranked[0] if goal and ranked else None,
        worst=ranked[-1] if goal and ranked else None,
    )


def _finished(group: Group) -> list[RunData]:
    return [run for run in group.runs if run.status == "FINISHED"]


def _measured(group: Group, metric: str) -> list[RunData]:
    return [run for run in _finished(group) if metric in run.metrics]


def _values(group: Group, metric: str) -> dict[str, float]:
    return {run.id: run.metrics[metric] for run in _measured(group, metric)}


def _pairs(grouping: Grouping, metric: str, baseline: str | None) -> list[Pair]:
    samples = {group.label: _measured(group, metric) for group in grouping.groups}
    if baseline is None:
        couples = list(itertools.combinations(samples, 2))
    else:
        couples = [(label, baseline) for label in samples if label != baseline]
    shared = "seeds" if grouping.pairing == [SEED] else f"values of {', '.join(grouping.pairing)}"
    return [
        Pair(
            first=one,
            second=other,
            contrast=contrast_runs(grouping, samples[one], samples[other], metric, shared),
        )
        for one, other in couples
    ]


def _best_first(grouping: Grouping, metric: str, goal: Goal | None) -> Sequence[Group]:
    """Sort by the mean where one of two is better; groups without any come last."""
    if goal is None:
        return grouping.groups

    def rank(group: Group) -> float:
        mean = summarize_runs(grouping, _measured(group, metric), metric, missing=0).mean
        return math.inf if mean is None else (mean if goal == "min" else -mean)

    return sorted(grouping.groups, key=rank)


def _notes(grouping: Grouping, compared: Sequence[MetricComparison], *, tested: bool) -> list[str]:
    notes = []
    states = Counter(run.status for group in grouping.groups for run in group.runs)
    unfinished = [f"{n} {state.lower()}" for state, n in states.items() if state != "FINISHED"]
    if unfinished:
        notes.append(f"runs without a result are left out: {', '.join(unfinished)}")
    for each in compared:
        odd = sum(not math.isfinite(v) for found in each.values.values() for v in found.values())
        if odd:
            notes.append(f"{each.metric}: runs left out for a value that is not finite: {odd}")
        if lacking := sum(each.missing.values()):
            notes.append(f"{each.metric}: runs left out that recorded no value: {lacking}")
    if grouping.implied:
        notes.append(f"these follow from a component above them: {', '.join(grouping.implied)}")
    if grouping.within:
        notes.append(f"these vary within groups, or with them: {', '.join(grouping.within)}")
    data = {run.params.get("data") for group in grouping.groups for run in group.runs}
    if len(data) > 1:
        notes.append("the groups' data differ, so that their metrics measure different things")
    if not tested:
        notes.append(
            f"{len(grouping.groups)} groups are too many to test each against each other; name one "
            "with --baseline"
        )
    if any(each.metric.startswith("best/val") for each in compared):
        notes.append("best/val_* chose the weights, so it flatters a run; test/* does not")
    return notes + _methods(grouping, compared)


def _methods(grouping: Grouping, compared: Sequence[MetricComparison]) -> list[str]:
    """Say how the numbers were found, as far as there are any."""
    kinds = {summary.interval for each in compared for summary in each.summaries.values()}
    notes = []
    if "t" in kinds:
        notes.append("intervals: 95 %, of the mean, Student's t")
    if "bootstrap" in kinds:
        notes.append(
            f"intervals: 95 %, of the mean, bootstrap (BCa) where a group has {BOOTSTRAP_FROM} "
            "values or more"
        )
    tests = {p.contrast.test for each in compared for p in each.pairs if p.contrast.p is not None}
    notes += _folds_methods(grouping, {*kinds, *tests})
    if "paired t" in tests:
        notes.append(f"paired t tests, runs paired by {', '.join(grouping.pairing)}")
    if any(p.contrast.left_out for each in compared for p in each.pairs):
        notes.append(
            "where runs of one group have no partner in the other, the difference is that over the "
            "pairs, not that of the means"
        )
    if "Welch t" in tests:
        notes.append(
            f"Welch's t tests where runs cannot be paired by {', '.join(grouping.pairing)}"
        )
    if tests:
        notes.append("p values are corrected by Holm's method for all tests of one metric")
    return notes


def _folds_methods(grouping: Grouping, methods: set[str]) -> list[str]:
    """Say how folds were averaged and tested."""
    notes = []
    if not methods.isdisjoint(("corrected t", "corrected paired t")):
        notes.append(
            "folds share training examples: intervals (95 %, of the mean) and paired tests over folds "
            "are the corrected resampled t of Nadeau and Bengio (2003, doi:10.1023/A:1024068626366), "
            "with n_test / n_train = 1 / (k - 1) for k folds"
        )
    if not methods.isdisjoint(("rough t", "rough paired t")):
        notes.append(
            "for folds in order of time, or with one fixed test part, no correction is known: their "
            "intervals (95 %, of the mean, Student's t) and tests are rough ones, rather too narrow"
        )
    several = {run.params.get(SEED) for group in grouping.groups for run in group.runs}
    if notes and len(several) > 1:
        notes.append(
            "within a fold, runs with several seeds are averaged first; std is of all runs"
        )
    return notes
