"""Folds against numbers worked out by hand, and against scipy where nothing is corrected."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlframe.analysis.resampled import ROUGH, contrast_folds, summarize_folds
from dlframe.analysis.statistics import contrast, summarize

A = [0.90, 0.92, 0.88, 0.94, 0.86]
B = [0.89, 0.88, 0.87, 0.91, 0.85]
NAN = math.nan


def one_seed(values: list[float]) -> dict[Any, Any]:
    return {fold: {"seed 0": [value]} for fold, value in enumerate(values)}


def test_the_interval_of_five_folds_by_hand() -> None:
    """Variance 0.001; t of 4 degrees of freedom 2.7764451; 1 / 5 + 1 / 4 = 0.45."""
    found = summarize_folds(one_seed(A), 1 / 4)
    half = 2.7764451051977987 * math.sqrt(0.001 * 0.45)
    assert (found.n, found.interval, found.reason) == (5, "corrected t", None)
    assert [found.mean, found.std] == pytest.approx([0.9, math.sqrt(0.001)])
    assert [found.low, found.high] == pytest.approx([0.9 - half, 0.9 + half], rel=1e-12)


def test_the_test_of_five_folds_by_hand() -> None:
    """Differences 0.01, 0.04, 0.01, 0.03, 0.01: mean 0.02, variance 0.0002."""
    found = contrast_folds(one_seed(A), one_seed(B), 1 / 4)
    error = math.sqrt(0.0002 * 0.45)
    assert (found.test, found.n, found.df) == ("corrected paired t", (5,), 4)
    assert found.difference == pytest.approx(0.02)
    assert found.statistic == pytest.approx(0.02 / error)
    assert found.p == pytest.approx(2 * stats.t.sf(0.02 / error, 4))
    assert found.effect == pytest.approx(0.02 / math.sqrt(0.0002))
    half = 2.7764451051977987 * error
    assert [found.low, found.high] == pytest.approx([0.02 - half, 0.02 + half])
    usual = contrast({i: [v] for i, v in enumerate(A)}, {i: [v] for i, v in enumerate(B)})
    assert found.p is not None
    assert usual.p is not None
    assert found.p > usual.p, "the correction makes it less certain"


def test_without_a_correction_the_numbers_are_the_usual_ones() -> None:
    found, usual = summarize_folds(one_seed(A), ROUGH), summarize(A)
    assert found.interval == "rough t"
    assert [found.low, found.high] == pytest.approx([usual.low, usual.high])
    tested, expected = contrast_folds(one_seed(A), one_seed(B), ROUGH), stats.ttest_rel(A, B)
    assert tested.test == "rough paired t"
    assert [tested.statistic, tested.p] == pytest.approx([expected.statistic, expected.pvalue])


def test_seeds_of_a_fold_count_as_one() -> None:
    """Three seeds around each fold's value leave the folds' means, and what is said of them."""
    many: dict[Any, Any] = {
        f: {f"seed {s}": [v + d] for s, d in enumerate((-0.01, 0.0, 0.01))} for f, v in enumerate(A)
    }
    other: dict[Any, Any] = {
        f: {f"seed {s}": [v + 0.1 * s - 0.1] for s in range(3)} for f, v in enumerate(B)
    }
    found, plain = summarize_folds(many, 1 / 4), summarize_folds(one_seed(A), 1 / 4)
    assert [found.mean, found.low, found.high] == pytest.approx([plain.mean, plain.low, plain.high])
    assert found.n == 15
    every = [value for fold in many.values() for [value] in fold.values()]
    assert found.std == pytest.approx(np.std(every, ddof=1))
    tested = contrast_folds(many, other, 1 / 4)
    assert tested.p == pytest.approx(contrast_folds(one_seed(A), one_seed(B), 1 / 4).p)
    assert (tested.n, tested.left_out) == ((5,), 0)


def test_a_seed_that_one_group_lacks_in_a_fold_is_left_out_of_the_other() -> None:
    first: dict[Any, Any] = {fold: {"a": [v], "b": [v + 0.02]} for fold, v in enumerate(A)}
    second: dict[Any, Any] = {fold: {"a": [v], "b": [v + 0.06]} for fold, v in enumerate(B)}
    del first[2]["b"]
    found = contrast_folds(first, second, 1 / 4)
    differences = np.subtract(A, B) - np.array([0.02, 0.02, 0.0, 0.02, 0.02])
    assert found.difference == pytest.approx(differences.mean())
    assert (found.left_out, found.reason) == (1, "over the 5 shared folds; left out: 1")
    second[2]["b"] = [NAN]  # the same as if it were missing
    assert contrast_folds(first, second, 1 / 4).difference == pytest.approx(differences.mean())


def test_other_seeds_in_the_same_folds_are_averaged() -> None:
    second: dict[Any, Any] = {fold: {"seed 7": [v]} for fold, v in enumerate(B)}
    assert contrast_folds(one_seed(A), second, 1 / 4).p == pytest.approx(
        contrast_folds(one_seed(A), one_seed(B), 1 / 4).p
    )


@pytest.mark.parametrize(
    ("folds", "n", "reason"),
    [
        (one_seed([]), 0, "no values"),
        (one_seed([0.5]), 1, "one value has no spread"),
        ({0: {"a": [0.5], "b": [0.7]}}, 2, "one fold has no spread"),
        (one_seed([0.5, 0.5]), 2, "all values are equal, which gives no interval"),
        ({f: {"a": [0.5], "b": [0.7]} for f in (0, 1)}, 4, "all folds are equal"),
        (one_seed([0.5, NAN]), 1, "one value has no spread; 1 not finite"),
    ],
)
def test_what_gives_no_interval(folds: dict[Any, Any], n: int, reason: str) -> None:
    found = summarize_folds(folds, 1 / 4)
    assert (found.n, found.low, found.interval) == (n, None, "none")
    assert found.reason is not None
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("second", "difference", "reason"),
    [
        ({7: {"a": [0.5]}, 8: {"a": [0.7]}}, 0.3, "share fewer than two folds"),
        ({0: {"a": [0.8]}}, 0.1, "share fewer than two folds"),
        ({}, None, "share fewer than two folds"),
        (one_seed(A), 0.0, "every pair is equal"),
        (one_seed([v - 0.1 for v in A]), 0.1, "every difference is the same"),
    ],
)
def test_what_cannot_be_tested(
    second: dict[Any, Any], difference: float | None, reason: str
) -> None:
    found = contrast_folds(one_seed(A), second, 1 / 4)
    assert (found.p, found.low) == (None, None)
    assert found.difference == (None if difference is None else pytest.approx(difference))
    assert reason in (found.reason or "")


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_no_size_is_too_small_or_large(scale: float) -> None:
    tested = contrast_folds(
        one_seed([v * scale for v in A]), one_seed([v * scale for v in B]), 1 / 4
    )
    assert tested.p == pytest.approx(contrast_folds(one_seed(A), one_seed(B), 1 / 4).p)
    high = summarize_folds(one_seed([v * scale for v in A]), 1 / 4).high
    assert high is not None
    assert high / scale == pytest.approx(summarize_folds(one_seed(A), 1 / 4).high)
