"""What can be said of a few numbers, and of two groups of them; where nothing can, why.

The statistics are scipy's. What scipy leaves as NaN, warns of or refuses (one value, no spread) is
answered here with None and a reason, so that no table holds a number that means nothing.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from dlframe.analysis.estimates import (
    LEVEL,
    Contrast,
    Summary,
    Values,
    described,
    has_no_spread,
    joined,
    paired,
    rescaled,
    scale_of,
)

__all__ = ["BOOTSTRAP_FROM", "contrast", "holm", "summarize"]

BOOTSTRAP_FROM = 20
"""Number of values from which an interval is bootstrapped; with fewer, bootstrap intervals come out
too narrow, and Student's t is used."""
_RESAMPLES = 9999


def summarize(values: Sequence[float], *, missing: int = 0) -> Summary:
    """Summarize a metric over runs; the order of the values does not matter.

    Args:
        values: one per run; those that are NaN or infinite are left out, and said to be.
        missing: number of runs without a value, which is said too.
    """
    found, finite = described(values, missing)
    if found.std in (None, 0.0):
        return found
    scale = scale_of(finite)
    finite = finite / scale
    interval: Literal["t", "bootstrap"] = "bootstrap" if len(finite) >= BOOTSTRAP_FROM else "t"
    low, high = _bootstrapped(finite) if interval == "bootstrap" else _students(finite)
    return replace(found, low=low * scale, high=high * scale, interval=interval)


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
    scale = scale_of(np.concatenate([*a.values(), *b.values(), []]))
    shared = sorted(a.keys() & b.keys(), key=repr)
    alone = all(len(values) == 1 for values in (*first.values(), *second.values()))
    if alone and len(shared) >= 2 and len(shared) == min(len(a), len(b)):
        found = _paired(
            np.array([a[key][0] for key in shared]) / scale,
            np.array([b[key][0] for key in shared]) / scale,
        )
        if unpaired := len(a) + len(b) - 2 * len(shared):
            over = f"over the {len(shared)} shared {pairing}; left out: {unpaired}"
            found = replace(found, left_out=unpaired, reason=joined(found.reason, over))
    else:
        found = _unpaired(np.sort(np.concatenate([*a.values(), []])) / scale,
                          np.sort(np.concatenate([*b.values(), []])) / scale)  # fmt: skip
    return rescaled(found, scale)


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
    found, std = paired(a, b)
    if std is None or found.difference is None:
        return found
    return _tested(found, stats.ttest_rel(a, b), found.difference / std)


def _unpaired(a: Values, b: Values) -> Contrast:
    found = Contrast(n=(len(a), len(b)), test="Welch t", effect_kind="Hedges g")
    if not len(a) or not len(b):
        return replace(found, reason="a group has no values")
    found = replace(found, difference=float(a.mean() - b.mean()))
    if min(len(a), len(b)) < 2:
        return replace(found, reason="a group of one value has no spread to test against")
    equal = has_no_spread(a), has_no_spread(b)
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
