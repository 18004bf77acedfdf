"""The whole comparison: what counts, what is tested against what, and what is said about it."""

import csv
import io
import json
import math
import random
from dataclasses import replace
from typing import Any

import pytest
from analysis_support import made, two_groups
from scipy import stats

from dlframe.analysis.comparison import MOST_COMPARED, Comparison, compare
from dlframe.analysis.export import to_csv, to_plain
from dlframe.analysis.goals import goal_of
from dlframe.analysis.report import report
from dlframe.analysis.tables import groups_table, pairs_table, runs_line
from dlframe.errors import ConfigError

RELU = {1: 0.91, 2: 0.93, 3: 0.90, 4: 0.95, 5: 0.94}
TANH = {1: 0.90, 2: 0.90, 3: 0.89, 4: 0.91, 5: 0.93}


def plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison as a program gets it: no NaN may be left."""
    found: dict[str, Any] = json.loads(json.dumps(to_plain(comparison), allow_nan=False))
    return found


def test_the_numbers_are_scipys() -> None:
    found = plain(compare(two_groups(RELU, TANH)))
    [metric] = found["metrics"]
    assert (metric["metric"], metric["goal"]) == ("test/accuracy", "max")
    assert (found["by"], found["paired_by"]) == (["activation"], ["seed"])
    relu, tanh = metric["groups"]
    assert (relu["group"], tanh["group"]) == ("activation=relu", "activation=tanh")
    assert relu["mean"] == pytest.approx(0.926)
    low, high = stats.t.interval(0.95, 4, 0.926, stats.sem(list(RELU.values())))
    assert (relu["low"], relu["high"]) == (pytest.approx(low), pytest.approx(high))
    [test] = metric["tests"]
    expected = stats.ttest_rel(list(RELU.values()), list(TANH.values()))
    assert test["p"] == test["p_holm"] == pytest.approx(expected.pvalue)
    assert (test["group"], test["against"]) == ("activation=relu", "activation=tanh")
    assert metric["best_group"] == "activation=relu"
    assert metric["best_run"] == {"run": "20261121-120003-aaaa", "value": 0.95}
    assert metric["worst_run"] == {"run": "20261121-120007-aaaa", "value": 0.89}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_runs_changes_nothing(seed: int) -> None:
    runs = two_groups(RELU, {**TANH, 5: math.nan})
    runs += [made(20 + s, metrics={"test/accuracy": v}, activation="gelu", seed=s, data="d")
             for s, v in enumerate([0.8, 0.85, 0.9])]  # fmt: skip
    expected = plain(compare(runs))
    random.Random(seed).shuffle(runs)
    assert plain(compare(runs)) == expected


def test_every_pair_is_tested_and_corrected_together() -> None:
    runs = two_groups(RELU, TANH)
    runs += [made(20 + s, metrics={"test/accuracy": v - 0.1}, activation="gelu", seed=s, data="d")
             for s, v in TANH.items()]  # fmt: skip
    [metric] = compare(runs).metrics
    raw = [pair.contrast.p for pair in metric.pairs if pair.contrast.p is not None]
    # tanh and gelu differ by the same in each pair: no test, and so it does not count.
    assert len(metric.pairs) == 3
    assert len(raw) == 2
    least, most = sorted(raw)
    corrected = sorted(p.corrected for p in metric.pairs if p.corrected is not None)
    assert corrected == pytest.approx([2 * least, max(2 * least, most)])


def test_a_baseline_is_what_the_others_are_tested_against() -> None:
    runs = two_groups(RELU, TANH)
    runs += [made(20 + s, metrics={"test/accuracy": v}, activation="leaky_relu", seed=s, data="d")
             for s, v in enumerate([0.8, 0.85, 0.9])]  # fmt: skip
    for name in ("relu", "activation=relu"):  # not leaky_relu, which ends alike
        found = compare(runs, baseline=name)
        assert found.baseline == "activation=relu"
        assert {(p.first, p.second) for p in found.metrics[0].pairs} == {
            ("activation=tanh", "activation=relu"),
            ("activation=leaky_relu", "activation=relu"),
        }
    with pytest.raises(ConfigError, match=r"no group answers to --baseline 'gelu'; the groups are"):
        compare(runs, baseline="gelu")
    with pytest.raises(ConfigError, match=r"3 groups answer to --baseline 'activation'"):
        compare(runs, baseline="activation")


def test_many_groups_are_tested_against_a_baseline_only() -> None:
    runs = [
        made(
            i,
            metrics={"test/accuracy": 0.5 + i / 100 + s / 1000},
            optimizer__lr=i,
            seed=s,
            data="d",
        )
        for i in range(MOST_COMPARED + 1)
        for s in (1, 2)
    ]
    runs = [replace(run, id=f"{run.id}{i}") for i, run in enumerate(runs)]
    found = compare(runs)
    assert found.metrics[0].pairs == []
    assert any("too many to test each against each other" in note for note in found.notes)
    assert len(compare(runs, baseline="optimizer.lr=0").metrics[0].pairs) == MOST_COMPARED


def test_only_finished_runs_count_and_the_others_are_told() -> None:
    runs = two_groups(RELU, TANH)
    runs[0] = replace(runs[0], status="FAILED")
    runs[9] = replace(runs[9], status="KILLED")
    runs[5] = replace(runs[5], metrics={"test/accuracy": math.nan})
    found = compare(runs)
    [metric] = found.metrics
    assert {label: s.n for label, s in metric.summaries.items()} == {
        "activation=relu": 4, "activation=tanh": 3,
    }  # fmt: skip
    assert metric.summaries["activation=tanh"].reason == "1 not finite"
    assert "runs without a result are left out: 1 failed, 1 killed" in found.notes
    assert "test/accuracy: runs left out for a value that is not finite: 1" in found.notes
    assert [row[1] for row in groups_table(found, metric).rows] == ["4 of 5", "3 of 5"]
    # Seeds 2, 3 and 4 are in both groups.
    assert metric.pairs[0].contrast.n == (3,)


def test_nothing_finished_gives_groups_without_numbers() -> None:
    runs = [replace(run, status="FAILED", metrics={}) for run in two_groups(RELU, TANH)]
    found = compare(runs)
    assert list(found.metrics) == []
    assert len(plain(found)["runs"]) == 10
    asked = compare(runs, metrics=["test/accuracy"])
    assert [s.n for s in asked.metrics[0].summaries.values()] == [0, 0]
    assert runs_line(asked.metrics[0]) is None
    assert plain(asked)["metrics"][0]["best_group"] is None


def test_one_run_is_a_comparison_too() -> None:
    [metric] = compare([made(0, metrics={"test/accuracy": 0.5}, seed=1)]).metrics
    assert metric.summaries["all runs"].mean == 0.5
    assert metric.pairs == []


def test_what_confuses_a_comparison_is_said() -> None:
    runs = two_groups(RELU, TANH, metric="best/val_accuracy")
    changed = [
        replace(run, params={**run.params, "data": f"d{i // 5}", "optimizer.lr": str(i % 5)})
        for i, run in enumerate(runs)
    ]
    notes = " ".join(compare(changed, by=["activation"]).notes)
    assert "the groups' data differ" in notes
    assert "vary within groups, or with them: data, optimizer.lr" in notes
    assert "best/val_* chose the weights" in notes


def test_parents_and_nothing_are_no_runs() -> None:
    with pytest.raises(ConfigError, match="there are no runs to compare"):
        compare([made(0, group=True)])


def test_a_metric_that_no_run_has_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'test/acuracy'; did you mean 'test/accuracy'"):
        compare(two_groups(RELU, TANH), metrics=["test/acuracy"])


# --- which values are better ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "name", "goal"),
    [
        ("test/accuracy", "test/accuracy", "max"),
        ("best/val_accuracy", "best/val_accuracy", "max"),
        ("test/loss", "test/loss", "min"),
        ("cost/seconds", "cost/seconds", "min"),
        ("test/roc_auc", "test/roc_auc", "max"),
        ("test/rmse", "test/rmse", "min"),
        ("test/coverage", "test/coverage", None),
        ("test/coverage:max", "test/coverage", "max"),
        ("test/accuracy:min", "test/accuracy", "min"),
    ],
)
def test_which_values_are_better(word: str, name: str, goal: str | None) -> None:
    assert goal_of(word, two_groups(RELU, TANH)) == (name, goal)


def test_what_training_watched_says_which_values_are_better() -> None:
    watched = {"dlframe.primary_metric": "val/strange", "dlframe.primary_mode": "min"}
    runs = [made(0, seed=1, metrics={"test/strange": 1.0, "test/loss": 2.0}, tags=watched)]
    [metric] = compare(runs).metrics
    assert (metric.metric, metric.goal) == ("test/strange", "min")


def test_without_a_better_value_there_is_no_best_run() -> None:
    runs = two_groups(RELU, TANH, metric="test/coverage")
    [metric] = compare(runs, metrics=["test/coverage"]).metrics
    assert (metric.goal, metric.best, metric.leader) == (None, None, None)


# --- tables ---------------------------------------------------------------------------------------


def test_the_csv_has_a_row_for_each_group_and_metric() -> None:
    found = compare(two_groups(RELU, TANH))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["activation"] for row in rows] == ["relu", "tanh"]
    assert float(rows[0]["mean"]) == pytest.approx(0.926)
    assert (rows[0]["n"], rows[0]["interval"], rows[0]["reason"]) == ("5", "t", "")


def test_the_tables_show_what_was_found() -> None:
    found = compare(two_groups(RELU, TANH))
    [metric] = found.metrics
    groups, tests = groups_table(found, metric), pairs_table(found, metric)
    assert groups.rows[0] == ["relu", "5", "0.926", "0.02074", "[0.9003, 0.9517]", "0.9", "0.95"]
    assert tests.rows[0][:4] == ["relu", "tanh", "paired t, n = 5", "0.02"]
    assert groups.markdown().splitlines()[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    equal = compare(two_groups(RELU, RELU))
    assert pairs_table(equal, equal.metrics[0]).rows[0][2] == "none: every pair is equal"


@pytest.mark.filterwarnings("error")
def test_a_group_that_is_always_right_is_remarked() -> None:
    found = compare(two_groups({1: 1.0, 2: 1.0, 3: 1.0}, {4: 0.9, 5: 0.95, 6: 0.97}))
    test = pairs_table(found, found.metrics[0]).rows[0][2]
    assert test == (
        "Welch t, n = 3 and 3; the first group has no spread; that of the other 3 decides"
    )
    assert plain(found)["metrics"][0]["tests"][0]["reason"].startswith("the first group")


def test_a_difference_over_shared_seeds_alone_does_not_pass_for_that_of_the_means() -> None:
    found = compare(two_groups({1: 0.40, 2: 0.46}, {1: 0.42, 2: 0.45, 3: 0.50, 4: 0.49}))
    [metric] = found.metrics
    assert metric.summaries["activation=tanh"].mean == pytest.approx(0.465)
    row = next(row for row in pairs_table(found, metric).rows)
    assert row[2:4] == [
        "paired t, n = 2; over the 2 shared seeds; left out: 2", "0.005",
    ]  # fmt: skip
    [test] = plain(found)["metrics"][0]["tests"]
    assert (test["left_out"], test["n"]) == (2, [2])
    assert "over the 2 shared seeds" in test["reason"]
    assert "not that of the means" in " ".join(found.notes)
    assert "over the 2 shared seeds" in report(found)


def test_a_metric_that_a_run_lacks_is_not_a_value_that_is_not_finite() -> None:
    runs = two_groups(RELU, TANH)
    runs[0] = replace(runs[0], metrics={})
    runs[1] = replace(runs[1], metrics={"test/accuracy": math.inf})
    found = compare(runs)
    summary = found.metrics[0].summaries["activation=relu"]
    assert (summary.n, summary.reason) == (3, "1 not finite; 1 without a value")
    assert "test/accuracy: runs left out that recorded no value: 1" in found.notes
    assert "test/accuracy: runs left out for a value that is not finite: 1" in found.notes


def test_not_all_metrics_are_named_where_one_is_unknown() -> None:
    many = {f"train/m{i}": 0.5 for i in range(40)} | {"test/accuracy": 0.5, "best/val_loss": 0.5}
    with pytest.raises(ConfigError) as told:
        compare([made(0, seed=1, metrics=many)], metrics=["test/accurcy"])
    said = str(told.value)
    assert "did you mean 'test/accuracy'? there are test/accuracy, best/val_loss, train/m0" in said
    assert said.endswith(" and 34 more")
