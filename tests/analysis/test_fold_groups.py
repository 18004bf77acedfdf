"""Runs that are folds: grouped like seeds, paired by fold, and said to share examples."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from analysis_support import made
from scipy import stats

from dlframe.analysis.comparison import Comparison, compare
from dlframe.analysis.export import to_plain
from dlframe.analysis.figures import curves_figure
from dlframe.analysis.groups import group_runs
from dlframe.analysis.report import report
from dlframe.analysis.runs import RunData

VALUES = {"relu": [0.90, 0.92, 0.88, 0.94, 0.86], "tanh": [0.89, 0.88, 0.87, 0.91, 0.85]}
CORRECTED, ROUGH = "folds share training examples: intervals", "no correction is known"


def folds(
    values: dict[str, list[float]],
    seeds: tuple[int, ...] = (0,),
    metric: str = "test/accuracy",
    part: str = "test",
    **fields: Any,
) -> list[RunData]:
    """Runs of each activation, seed and fold; further seeds add nothing to a value."""
    count = itertools.count()
    return [
        made(
            next(count), metrics={metric: value}, activation=name, seed=seed,
            curves={"val/loss": [(step, value / step) for step in (1, 2, 3)]},
            tags={"dlframe.fold": part},
            **{"data": "d", "data__folds": len(of), "data__fold": fold, **fields},
        )
        for (name, of), seed in itertools.product(values.items(), seeds)
        for fold, value in enumerate(of)
    ]  # fmt: skip


def config(run: RunData) -> dict[str, Any]:
    """What made a run, to make it again with something else."""
    return {key.replace(".", "__"): value for key, value in run.params.items()}


def said(comparison: Comparison) -> str:
    return " | ".join(comparison.notes)


def test_a_fold_is_a_repetition_like_the_seed() -> None:
    found = group_runs(folds(VALUES, (0, 1)))
    assert (list(found.by), list(found.pairing)) == (["activation"], ["seed", "data.fold"])
    assert [len(group.runs) for group in found.groups] == [10, 10]
    assert list(found.within) == []


def test_a_fold_groups_if_that_is_asked_for() -> None:
    found = compare(folds(VALUES), by=["data.fold"])
    assert list(found.grouping.by) == ["data.fold"]
    [metric] = found.metrics
    assert {summary.interval for summary in metric.summaries.values()} == {"t"}
    assert CORRECTED not in said(found)


def test_one_fold_with_several_seeds_is_one_split() -> None:
    runs = [run for run in folds(VALUES, (0, 1, 2)) if run.params["data.fold"] == "2"]
    runs = [
        made(i, metrics={"test/accuracy": run.metrics["test/accuracy"] + i / 1e3}, **config(run))
        for i, run in enumerate(runs)
    ]
    found = compare(runs)
    assert list(found.grouping.pairing) == ["seed"]
    assert {s.interval for s in found.metrics[0].summaries.values()} == {"t"}
    assert CORRECTED not in said(found)


def test_two_groups_of_folds_by_hand() -> None:
    found = compare(folds(VALUES, (0, 1)))
    [metric] = found.metrics
    summary = metric.summaries["activation=relu"]
    half = stats.t.ppf(0.975, 4) * np.std(VALUES["relu"], ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert [summary.low, summary.high] == pytest.approx([0.9 - half, 0.9 + half])
    assert summary.n == 10
    [pair] = metric.pairs
    difference = np.subtract(VALUES["relu"], VALUES["tanh"])
    statistic = difference.mean() / np.sqrt(difference.var(ddof=1) * (1 / 5 + 1 / 4))
    assert (pair.contrast.test, pair.contrast.n) == ("corrected paired t", (5,))
    assert pair.contrast.p == pytest.approx(2 * stats.t.sf(statistic, 4))
    assert CORRECTED in said(found)
    assert "1 / (k - 1)" in said(found)
    assert "several seeds are averaged first" in said(found)
    assert ROUGH not in said(found)


def test_the_order_of_time_has_no_correction_and_says_so() -> None:
    found = compare(folds(VALUES, part="time"))
    summary = found.metrics[0].summaries["activation=relu"]
    low, high = stats.t.interval(0.95, 4, 0.9, stats.sem(VALUES["relu"]))
    assert summary.interval == "rough t"
    assert [summary.low, summary.high] == pytest.approx([low, high])
    assert found.metrics[0].pairs[0].contrast.test == "rough paired t"
    assert ROUGH in said(found)
    assert CORRECTED not in said(found)


def test_where_the_test_part_is_fixed_only_the_validation_is_corrected() -> None:
    for metric, interval in (("test/accuracy", "rough t"), ("best/val_accuracy", "corrected t")):
        found = compare(folds(VALUES, metric=metric, part="validation"), metrics=[metric])
        assert found.metrics[0].summaries["activation=relu"].interval == interval


def test_another_number_of_folds_makes_another_group_that_is_not_tested() -> None:
    ten = [v for value in VALUES["relu"] for v in (value, value + 0.01)]
    runs = folds({"relu": VALUES["relu"]}) + [
        made(50 + i, metrics=run.metrics, **config(run))
        for i, run in enumerate(folds({"relu": ten}))
    ]
    found = compare(runs)
    assert list(found.grouping.by) == ["data.folds"]
    [pair] = found.metrics[0].pairs
    assert pair.contrast.p is None
    assert pair.contrast.reason == "folds can be tested against the same folds alone"
    together = compare(runs, by=["activation"]).metrics[0].summaries["activation=relu"]
    assert together.low is None
    assert together.reason == "runs of 5 and 10 folds have no interval together"


def test_folds_and_whole_runs_are_not_mixed() -> None:
    whole = [
        made(80 + i, metrics={"test/accuracy": 0.8 + i / 100}, activation="relu", seed=i, data="d",
             data__folds=None, data__fold=None)
        for i in range(3)
    ]  # fmt: skip
    runs = [*folds({"relu": VALUES["relu"]}), *whole]
    found = compare(runs)
    assert [g.label for g in found.grouping.groups] == ["data.folds=5", "data.folds=None"]
    intervals = [s.interval for s in found.metrics[0].summaries.values()]
    assert intervals == ["corrected t", "t"]
    assert found.metrics[0].pairs[0].contrast.p is None
    mixed = compare(runs, by=["activation"]).metrics[0].summaries["activation=relu"]
    assert mixed.reason == "runs with folds and without have no interval together"


def test_repeated_folds_are_averaged_over_the_seeds_of_their_splits() -> None:
    again = folds({name: [v + 0.01 for v in of] for name, of in VALUES.items()}, data__split_seed=1)
    runs = folds(VALUES, data__split_seed=0) + [
        made(40 + i, metrics=run.metrics, **config(run)) for i, run in enumerate(again)
    ]
    found = compare(runs)
    assert list(found.grouping.by) == ["activation"]
    summary = found.metrics[0].summaries["activation=relu"]
    every = [*VALUES["relu"], *(v + 0.01 for v in VALUES["relu"])]
    half = stats.t.ppf(0.975, 9) * np.std(every, ddof=1) * np.sqrt(1 / 10 + 1 / 4)
    assert [summary.low, summary.high] == pytest.approx([0.905 - half, 0.905 + half])
    assert found.metrics[0].pairs[0].contrast.n == (10,)


def test_a_fold_that_failed_is_left_out_and_said_to_be() -> None:
    runs = folds(VALUES)
    runs[3] = made(3, status="FAILED", **config(runs[3]))
    found = compare(runs)
    [pair] = found.metrics[0].pairs
    assert (pair.contrast.n, pair.contrast.left_out) == ((4,), 1)
    assert "runs without a result are left out: 1 failed" in said(found)


def test_the_page_and_the_numbers_for_programs_name_the_folds() -> None:
    found = compare(folds(VALUES))
    page = report(found)
    assert "<th>data.fold</th>" in page
    assert "corrected t where folds share examples" in page
    plain = json.loads(json.dumps(to_plain(found), allow_nan=False))
    assert [run["fold"] for run in plain["runs"]] == ["0", "1", "2", "3", "4"] * 2
    assert plain["metrics"][0]["groups"][0]["interval"] == "corrected t"


def test_the_band_of_the_curves_is_corrected_too() -> None:
    figure = curves_figure(compare(folds({"relu": VALUES["relu"]}, (0, 1))))
    assert figure is not None
    [band] = next(axes for axes in figure.axes if axes.get_title() == "val/loss").collections
    [path] = band.get_paths()
    first = [y for x, y in np.asarray(path.vertices).tolist() if x == 1]
    half = stats.t.ppf(0.975, 4) * np.std(VALUES["relu"], ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert [min(first), max(first)] == pytest.approx([0.9 - half, 0.9 + half])
