"""What can be said of a few numbers, and of two groups of them; where nothing can, why.

The statistics are scipy's. What scipy leaves as NaN, warns of or refuses (one value, no spread) is
answered here with None and a reason, so that no table holds a number that means nothing.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["BOOTSTRAP_FROM", "LEVEL", "Contrast", "Summary", "contrast", "holm", "summarize"]

LEVEL = 0.95
"""Confidence of all intervals."""
BOOTSTRAP_FROM = 20
"""Number of values from which an interval is bootstrapped; with fewer, bootstrap intervals come out
too narrow, and Student's t is used."""
_RESAMPLES = 9999
_EQUAL = 1e-12

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric over the runs of a group.

    Args:
        n: number of finite values.
        mean: their mean; None without any.
        std: standard deviation of the sample (``n - 1``); None for fewer than two.
        low: lower end of the 95 % confidence interval of the mean.
        high: its upper end.
        interval: how it was found: ``t``, ``bootstrap``, or ``none``.
        minimum: smallest value.
        maximum: largest value.
        reason: why an entry is None, or what is odd about the values.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    interval: Literal["t", "bootstrap", "none"] = "none"
    minimum: float | None = None
    maximum: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The difference of a metric's mean between two groups, ``first - second``.

    Args:
        n: number of pairs, or the numbers of values in the two groups.
        left_out: number of values without a partner, which a paired test leaves out.
        test: ``paired t`` or ``Welch t``.
        difference: difference of the means; over the pairs where there are pairs.
        low: lower end of its 95 % confidence interval.
        high: its upper end.
        statistic: the t statistic.
        df: degrees of freedom.
        p: two-sided p value, uncorrected; None where the test cannot be made.
        effect: effect size; None where it is not defined.
        effect_kind: ``d_z`` (mean by standard deviation of the differences) of a paired test,
            ``Hedges g`` of an unpaired one.
        reason: why there is no p value, or what is odd about the test.
    """

    n: tuple[int, ...]
    test: Literal["paired t", "Welch t"]
    left_out: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    statistic: float | None = None
    df: float | None = None
    p: float | None = None
    effect: float | None = None
    effect_kind: Literal["d_z", "Hedges g"] = "d_z"
    reason: str | None = None


def summarize(values: Sequence[float], *, missing: int = 0) -> Summary:
    """Summarize a metric over runs; the order of the values does not matter.

    Args:
        values: one per run; those that are NaN or infinite are left out, and said to be.
        missing: number of runs without a value, which is said too.
    """
    given = np.asarray(values, dtype=np.float64)
    # Sorted, because resampling and the last bit of a sum depend on the order.
    finite = np.sort(given[np.isfinite(given)])
    left_out = len(given) - len(finite)
    note = (
        _joined(
            f"{left_out} not finite" if left_out else None,
            f"{missing} without a value" if missing else None,
        )
        or None
    )
    if not len(finite):
        return Summary(n=0, reason=note or "no values")
    scale = _scale(finite)
    least, most = float(finite[0]), float(finite[-1])
    finite = finite / scale
    mean = float(finite.mean()) * scale
    if len(finite) == 1:
        reason = _joined("one value has no spread", note)
        return Summary(n=1, mean=mean, minimum=least, maximum=most, reason=reason)
    if _no_spread(finite):
        # An interval of no width would claim a certainty that equal values do not give.
        reason = _joined("all values are equal, which gives no interval", note)
        return Summary(
            n=len(finite), mean=mean, std=0.0, minimum=least, maximum=most, reason=reason
        )
    interval: Literal["t", "bootstrap"] = "bootstrap" if len(finite) >= BOOTSTRAP_FROM else "t"
    low, high = _bootstrapped(finite) if interval == "bootstrap" else _students(finite)
    return Summary(
        n=len(finite), mean=mean, std=float(finite.std(ddof=1)) * scale, low=low * scale,
        high=high * scale, interval=interval, minimum=least, maximum=most, reason=note,
    )  # fmt: skip


def contrast(
    first: Mapping[Hashable, Sequence[float]],
    second: Mapping[Hashable, Sequence[float]],
    *,
    pairing: str = "seeds",
) -> Contrast:
    """Test whether a metric's mean differs between two groups.

    The test is paired if every partner has one value and every partner of the smaller group is one
    of the larger too; then what a seed does to both groups does not blur their difference. Else it
    is Welch's, which does not ask for equal variances.

    Values of the larger group without a partner are left out of a paired test, and the contrast says
    so: its difference is not that of the groups' means. Welch's test on all of them would use more
    values, but take what is peculiar to a seed, or to a learning rate, that one group alone was
    trained with for a difference between the groups.

    Args:
        first: values of the one group by what pairs them, such as the seed.
        second: values of the other.
        pairing: what the pairs share, as a word in the plural.
    """
    a, b = _finite(first), _finite(second)
    scale = _scale(np.concatenate([*a.values(), *b.values(), []]))
    shared = sorted(a.keys() & b.keys(), key=repr)
    alone = all(len(values) == 1 for values in (*first.values(), *second.values()))
    if alone and len(shared) >= 2 and len(shared) == min(len(a), len(b)):
        found = _paired(
            np.array([a[key][0] for key in shared]) / scale,
            np.array([b[key][0] for key in shared]) / scale,
        )
        if unpaired := len(a) + len(b) - 2 * len(shared):
            over = f"over the {len(shared)} shared {pairing}; left out: {unpaired}"
            found = replace(found, left_out=unpaired, reason=_joined(found.reason, over))
    else:
        found = _unpaired(np.sort(np.concatenate([*a.values(), []])) / scale,
                          np.sort(np.concatenate([*b.values(), []])) / scale)  # fmt: skip
    sizes = (found.difference, found.low, found.high)
    difference, low, high = (None if size is None else size * scale for size in sizes)
    return replace(found, difference=difference, low=low, high=high)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number by Holm's method; None stays None and does not count."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[place] = largest
    return corrected


def _paired(a: Values, b: Values) -> Contrast:
    differences = a - b
    mean = float(differences.mean())
    found = Contrast(n=(len(differences),), test="paired t", effect_kind="d_z", difference=mean)
    if _no_spread(differences, scale=np.concatenate([a, b])):
        reason = (
            "every pair is equal"
            if abs(mean) <= _EQUAL * float(np.abs(a).max())
            else "every difference is the same, so that the test has no spread to go by"
        )
        return replace(found, reason=reason)
    return _tested(found, stats.ttest_rel(a, b), mean / float(differences.std(ddof=1)))


def _unpaired(a: Values, b: Values) -> Contrast:
    found = Contrast(n=(len(a), len(b)), test="Welch t", effect_kind="Hedges g")
    if not len(a) or not len(b):
        return replace(found, reason="a group has no values")
    found = replace(found, difference=float(a.mean() - b.mean()))
    if min(len(a), len(b)) < 2:
        return replace(found, reason="a group of one value has no spread to test against")
    equal = _no_spread(a), _no_spread(b)
    if all(equal):
        return replace(found, reason="neither group has any spread")
    effect = _hedges_g(a, b)
    if not any(equal):
        return _tested(found, stats.ttest_ind(a, b, equal_var=False), effect)
    which, other = ("first", len(b)) if equal[0] else ("second", len(a))
    found = replace(
        found,
        reason=f"the {which} group has no spread; that of the other {other} decides",
    )
    # What Welch's test comes to where one variance is zero; scipy's loses its precision there.
    if equal[0]:
        return _tested(
            found, stats.ttest_1samp(b, a.mean()), effect, known=float(a.mean()), sign=-1
        )
    return _tested(found, stats.ttest_1samp(a, b.mean()), effect, known=float(b.mean()))


def _tested(
    found: Contrast, result: Any, effect: float, *, known: float = 0.0, sign: int = 1
) -> Contrast:
    """Add what scipy found, of a group against a ``known`` mean with the sign turned if need be."""
    interval = result.confidence_interval(LEVEL)
    low, high = sorted(sign * (float(end) - known) for end in (interval.low, interval.high))
    return replace(
        found, low=low, high=high, effect=effect, statistic=sign * float(result.statistic),
        df=float(result.df), p=float(result.pvalue),
    )  # fmt: skip


def _hedges_g(a: Values, b: Values) -> float:
    """The difference in units of the pooled standard deviation, corrected for small samples."""
    df = len(a) + len(b) - 2
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / df
    return float((a.mean() - b.mean()) / np.sqrt(pooled) * (1 - 3 / (4 * df - 1)))


def _students(values: Values) -> tuple[float, float]:
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)


def _bootstrapped(values: Values) -> tuple[float, float]:
    """The BCa interval; the same numbers give the same interval each time."""
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=_RESAMPLES, batch=500,
        method="BCa", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _finite(groups: Mapping[Hashable, Sequence[float]]) -> dict[Hashable, Values]:
    arrays = {key: np.asarray(values, dtype=np.float64) for key, values in groups.items()}
    kept = {key: values[np.isfinite(values)] for key, values in arrays.items()}
    return {key: values for key, values in kept.items() if len(values)}


def _scale(values: Values) -> float:
    """Return the power of two by which the values come to lie around one: no square overflows then.

    Being a power of two, it changes no digit of a result.
    """
    largest = float(np.abs(values).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def _no_spread(values: Values, scale: Values | None = None) -> bool:
    """Whether the values differ by no more than rounding."""
    size = float(np.abs(values if scale is None else scale).max())
    return float(np.ptp(values)) <= _EQUAL * size


def _joined(*notes: str | None) -> str:
    return "; ".join(note for note in notes if note)
