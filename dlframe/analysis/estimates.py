"""What is said of a metric: of a group's values, and of the difference between two groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "Contrast",
    "Summary",
    "Values",
    "described",
    "has_no_spread",
    "joined",
    "paired",
    "rescaled",
    "scale_of",
]

LEVEL = 0.95
"""Confidence of all intervals."""
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
        interval: how it was found: ``t``, ``bootstrap``, ``corrected t`` or ``rough t`` over folds, or
            ``none``.
        minimum: smallest value.
        maximum: largest value.
        reason: why an entry is None, or what is odd about the values.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    interval: Literal["t", "bootstrap", "corrected t", "rough t", "none"] = "none"
    minimum: float | None = None
    maximum: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The difference of a metric's mean between two groups, ``first - second``.

    Args:
        n: number of pairs, of folds that are pairs, or the numbers of values in the two groups.
        left_out: number of values without a partner, which a paired test leaves out.
        test: ``paired t``, ``Welch t``, or ``corrected paired t`` and ``rough paired t`` over folds.
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
    test: Literal["paired t", "Welch t", "corrected paired t", "rough paired t"]
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


def described(values: Sequence[float], missing: int) -> tuple[Summary, Values]:
    """Return all of a summary but the interval, and the finite values in their order."""
    given = np.asarray(values, dtype=np.float64)
    # Sorted, because resampling and the last bit of a sum depend on the order.
    finite = np.sort(given[np.isfinite(given)])
    left_out = len(given) - len(finite)
    note = (
        joined(
            f"{left_out} not finite" if left_out else None,
            f"{missing} without a value" if missing else None,
        )
        or None
    )
    if not len(finite):
        return Summary(n=0, reason=note or "no values"), finite
    scale = scale_of(finite)
    scaled = finite / scale
    found = Summary(
        n=len(finite), mean=float(scaled.mean()) * scale, minimum=float(finite[0]),
        maximum=float(finite[-1]), reason=note,
    )  # fmt: skip
    if len(finite) == 1:
        return replace(found, reason=joined("one value has no spread", note)), finite
    if has_no_spread(finite):
        # An interval of no width would claim a certainty that equal values do not give.
        reason = joined("all values are equal, which gives no interval", note)
        return replace(found, std=0.0, reason=reason), finite
    return replace(found, std=float(scaled.std(ddof=1)) * scale), finite


def rescaled(found: Contrast, scale: float) -> Contrast:
    """Return a contrast of values that were divided by ``scale``."""
    sizes = (found.difference, found.low, found.high)
    difference, low, high = (None if size is None else size * scale for size in sizes)
    return replace(found, difference=difference, low=low, high=high)


def paired(
    a: Values,
    b: Values,
    test: Literal["paired t", "corrected paired t", "rough paired t"] = "paired t",
) -> tuple[Contrast, float | None]:
    """Return the difference of pairs, and its standard deviation; None where it has no spread."""
    differences = a - b
    mean = float(differences.mean())
    found = Contrast(n=(len(differences),), test=test, effect_kind="d_z", difference=mean)
    if not has_no_spread(differences, scale=np.concatenate([a, b])):
        return found, float(differences.std(ddof=1))
    reason = (
        "every pair is equal"
        if abs(mean) <= _EQUAL * float(np.abs(a).max())
        else "every difference is the same, so that the test has no spread to go by"
    )
    return replace(found, reason=reason), None


def scale_of(values: Values) -> float:
    """Return the power of two by which the values come to lie around one: no square overflows then.

    Being a power of two, it changes no digit of a result.
    """
    largest = float(np.abs(values).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def has_no_spread(values: Values, scale: Values | None = None) -> bool:
    """Whether the values differ by no more than rounding."""
    size = float(np.abs(values if scale is None else scale).max())
    return float(np.ptp(values)) <= _EQUAL * size


def joined(*notes: str | None) -> str:
    """Return notes as one."""
    return "; ".join(note for note in notes if note)
