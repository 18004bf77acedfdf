"""Summaries and tests against scipy called directly, and what becomes of numbers that allow neither."""

import itertools
import math
import random
from collections.abc import Hashable

import numpy as np
import pytest
from scipy import stats

from dlframe.analysis.statistics import BOOTSTRAP_FROM, contrast, holm, summarize

Sample = dict[Hashable, list[float]]
NAN, INF = math.nan, math.inf
A: Sample = {1: [0.91], 2: [0.93], 3: [0.90], 4: [0.95], 5: [0.94]}
B: Sample = {1: [0.90], 2: [0.90], 3: [0.89], 4: [0.91], 5: [0.93]}


def shifted(sample: Sample, by: int) -> Sample:
    return {seed + by: each for seed, each in sample.items() if isinstance(seed, int)}


def values(sample: Sample) -> list[float]:
    return [value for each in sample.values() for value in each]


# --- one group ------------------------------------------------------------------------------------


def test_few_values_have_students_interval() -> None:
    given = values(A)
    found = summarize(given)
    low, high = stats.t.interval(0.95, len(given) - 1, np.mean(given), stats.sem(given))
    assert (found.n, found.interval, found.reason) == (5, "t", None)
    assert found.mean == pytest.approx(0.926, rel=1e-12)
    assert found.std == pytest.approx(0.0207364413533277, rel=1e-12)
    assert [found.low, found.high] == pytest.approx([low, high])
    assert (found.minimum, found.maximum) == (0.90, 0.95)


def test_many_values_have_a_bootstrapped_interval() -> None:
    given = np.random.default_rng(3).exponential(size=BOOTSTRAP_FROM)
    found = summarize(given.tolist())
    expected = stats.bootstrap(
        (np.sort(given),), np.mean, n_resamples=9999, batch=500, rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.interval == "bootstrap"
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high])
    assert summarize(given[:-1].tolist()).interval == "t"


@pytest.mark.parametrize("size", [2, 3, 10, 19, 20, 60])
@pytest.mark.parametrize("draw", ["normal", "exponential", "few values"])
def test_order_changes_nothing_and_the_interval_holds_the_mean(size: int, draw: str) -> None:
    rng = np.random.default_rng(size)
    drawn = {
        "normal": rng.normal(3.0, 2.0, size),
        "exponential": rng.exponential(size=size),
        "few values": np.array([0.5, *rng.choice([0.9, 1.0], size - 1)]),
    }[draw]
    given = drawn.tolist()
    found = summarize(given)
    random.Random(size).shuffle(given)
    assert summarize(given) == found
    assert found.low is not None
    assert found.mean is not None
    assert found.high is not None
    assert found.low < found.mean < found.high


@pytest.mark.parametrize(
    ("given", "n", "mean", "std", "reason"),
    [
        ([], 0, None, None, "no values"),
        ([NAN, INF], 0, None, None, "2 not finite"),
        ([0.5], 1, 0.5, None, "one value has no spread"),
        ([0.5, NAN], 1, 0.5, None, "one value has no spread; 1 not finite"),
        ([0.7, 0.7, 0.7], 3, 0.7, 0.0, "all values are equal, which gives no interval"),
        ([0.0, 0.0], 2, 0.0, 0.0, "all values are equal, which gives no interval"),
        ([0.1 + 0.2, 0.3], 2, 0.3, 0.0, "all values are equal, which gives no interval"),
        ([-INF, 1.0, 2.0], 2, 1.5, 0.7071067811865476, "1 not finite"),
    ],
)
def test_what_cannot_be_said_is_none_with_a_reason(
    given: list[float], n: int, mean: float | None, std: float | None, reason: str
) -> None:
    found = summarize(given)
    assert (found.n, found.reason) == (n, reason)
    assert found.mean == (None if mean is None else pytest.approx(mean))
    assert found.std == (None if std is None else pytest.approx(std))
    assert (found.low is None) == (not std)


# --- two groups -----------------------------------------------------------------------------------


def test_shared_seeds_are_paired() -> None:
    found = contrast(A, B)
    expected = stats.ttest_rel(values(A), values(B))
    interval = expected.confidence_interval(0.95)
    differences = np.subtract(values(A), values(B))
    assert (found.test, found.n, found.effect_kind) == ("paired t", (5,), "d_z")
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.statistic == pytest.approx(expected.statistic)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])
    assert found.difference == pytest.approx(0.02)
    assert found.effect == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_a_seed_without_partner_is_left_out_of_the_pairs() -> None:
    found = contrast({k: v for k, v in A.items() if k != 3}, B)
    kept = [k for k in A if k != 3]
    expected = stats.ttest_rel([A[k][0] for k in kept], [B[k][0] for k in kept])
    assert (found.test, found.n) == ("paired t", (4,))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.left_out, contrast(A, B).left_out) == (1, 0)
    assert found.reason == "over the 4 shared seeds; left out: 1"
    # The value of one partner is not finite: the same as if it were missing.
    assert contrast({**A, 3: [NAN]}, B) == found


@pytest.mark.parametrize(
    "second",
    [
        shifted(B, 10),  # other seeds
        shifted(B, 1),  # some of them others
        {1: values(B)},  # one seed again and again
    ],
)
def test_seeds_that_do_not_match_give_welchs_test(second: Sample) -> None:
    found = contrast(A, second)
    a, b = np.array(values(A)), np.array(values(second))
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    pooled = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert (found.test, found.n, found.effect_kind) == ("Welch t", (5, 5), "Hedges g")
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])
    assert found.effect == pytest.approx((a.mean() - b.mean()) / pooled * (1 - 3 / (4 * 8 - 1)))


def test_hedges_g_of_groups_of_different_size() -> None:
    """By the formula of Hedges (1981) on numbers worked out by hand: means 2 and 5, variances 1."""
    found = contrast({1: [1.0, 2.0, 3.0]}, {2: [4.0, 6.0], 3: [5.0]})
    assert found.effect == pytest.approx(-3.0 * (1 - 3 / 15))


@pytest.mark.parametrize(
    ("first", "second", "difference", "reason"),
    [
        (A, A, 0.0, "every pair is equal"),
        ({1: [0.3], 2: [0.4]}, {1: [0.2], 2: [0.3]}, 0.1, "every difference is the same"),
        ({1: [1.0]}, {1: [2.0]}, -1.0, "a group of one value"),
        ({1: [1.0]}, {2: [2.0], 3: [3.0]}, -1.5, "a group of one value"),
        ({1: [1.0], 2: [1.0]}, {3: [2.0], 4: [2.0]}, -1.0, "neither group has any spread"),
        ({}, B, None, "a group has no values"),
        ({1: [NAN], 2: [NAN]}, B, None, "a group has no values"),
        ({1: [0.0], 2: [0.0]}, {1: [0.0], 2: [0.0]}, 0.0, "every pair is equal"),
    ],
)
def test_what_cannot_be_tested_has_no_p_value_and_a_reason(
    first: Sample,
    second: Sample,
    difference: float | None,
    reason: str,
) -> None:
    found = contrast(first, second)
    assert (found.p, found.effect, found.low, found.high) == (None, None, None, None)
    assert found.difference == (None if difference is None else pytest.approx(difference))
    assert found.reason is not None
    assert reason in found.reason


@pytest.mark.parametrize("second", [B, shifted(B, 10)])
def test_the_other_way_round_only_the_signs_change(second: Sample) -> None:
    one, other = contrast(A, second), contrast(second, A)
    assert one.p == pytest.approx(other.p)
    for name in ("difference", "statistic", "effect"):
        assert getattr(one, name) == pytest.approx(-getattr(other, name)), name
    assert one.low == pytest.approx(-(other.high or NAN))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [1.0, 0.7, 0.1 + 0.2, 0.0, 1e6])
def test_one_group_without_spread_is_tested_and_remarked(constant: float) -> None:
    """Welch's formula by hand: with one variance zero, it has the other's error and freedom."""
    values = [0.9, 0.95, 0.92, 0.99]
    found = contrast(
        {seed: [constant] for seed in (1, 2)}, {9 + i: [v] for i, v in enumerate(values)}
    )
    error = np.std(values, ddof=1) / 2
    difference = constant - np.mean(values)
    half = stats.t.ppf(0.975, 3) * error
    assert (found.test, found.n, found.df) == ("Welch t", (2, 4), 3)
    assert found.statistic == pytest.approx(difference / error)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(difference / error), 3))
    assert [found.low, found.high] == pytest.approx([difference - half, difference + half])
    assert found.reason == "the first group has no spread; that of the other 4 decides"
    turned = contrast({9 + i: [v] for i, v in enumerate(values)}, {1: [constant], 2: [constant]})
    assert [turned.low, turned.high] == pytest.approx([-difference - half, -difference + half])
    assert turned.statistic == pytest.approx(-difference / error)
    assert (turned.reason or "").startswith("the second group has no spread")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-300, 1e-9, 1.0, 1e9, 1e160, 1e307])
@pytest.mark.parametrize("spread", [0.0, 1e-15, 1e-11, 1e-6, 1.0])
def test_no_numbers_make_scipy_warn(size: float, spread: float) -> None:
    rng = np.random.default_rng(4)
    for n in (2, 3, 25):
        one, other, constant = (
            (size * (1 + s * rng.normal(size=n))).tolist() for s in (spread, 0.5, 0.0)
        )
        for given in (one, other, constant):
            assert summarize(given).n == n
        for first, second in itertools.permutations((one, other, constant), 2):
            for shift in (0, n):  # paired, and not
                found = contrast(
                    {i: [v] for i, v in enumerate(first)},
                    {i + shift: [v] for i, v in enumerate(second)},
                )
                assert found.reason is not None or found.p is not None
                assert not any(math.isnan(v) for v in (found.p or 0.0, found.effect or 0.0))


def test_a_difference_over_pairs_alone_is_said_where_there_is_no_test_too() -> None:
    found = contrast({1: [0.3], 2: [0.4], 3: [0.9]}, {1: [0.2], 2: [0.3]})
    assert found.difference == pytest.approx(0.1)
    assert (found.p, found.left_out) == (None, 1)
    assert (found.reason or "").endswith("; over the 2 shared seeds; left out: 1")


# --- several tests --------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """Holm (1979): 0.01 * 4, 0.02 * 3, 0.03 * 2, then 0.05 * 1 raised to the one before it."""
    assert holm([0.03, 0.01, None, 0.05, 0.02]) == pytest.approx(
        [0.06, 0.04, None, 0.06, 0.06], nan_ok=False
    )
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = (rng.uniform(size=12) ** 3).tolist()
    corrected = holm(raw)
    assert [p for p in corrected if p is None] == []
    by_size = [corrected[i] or 0.0 for i in np.argsort(raw)]
    assert by_size == sorted(by_size)
    # Between the single test and Bonferroni's correction.
    for before, after in zip(raw, corrected, strict=True):
        assert before <= (after or 0.0) <= min(1.0, 12 * before)
    shuffled = rng.permutation(12)
    assert holm([raw[i] for i in shuffled]) == [corrected[i] for i in shuffled]
