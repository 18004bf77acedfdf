"""What can be said of the folds of a cross-validation, whose trainings share examples.

The values of folds are not independent, so that the usual interval of their mean is too narrow. Nadeau
and Bengio (2003, doi:10.1023/A:1024068626366) take the variance of the mean of ``n`` such values to be
``(1 / n + n_test / n_train)`` times theirs. The ratio is called ``overlap`` here; it is ``1 / (k - 1)``
for ``k`` folds.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from scipy import stats

from dlframe.analysis.estimates import (
    LEVEL,
    Contrast,
    Summary,
    described,
    has_no_spread,
    joined,
    paired,
    rescaled,
    scale_of,
)

__all__ = ["ROUGH", "Folds", "contrast_folds", "half_width", "summarize_folds"]

ROUGH = 0.0
"""The overlap of folds for which no correction is known; their intervals are rough ones."""

Folds = Mapping[Hashable, Mapping[Hashable, Sequence[float]]]
"""Values by their fold, and by what else tells them apart, such as the seed."""


def summarize_folds(folds: Folds, overlap: float, *, missing: int = 0) -> Summary:
    """Summarize a metric over the folds of a cross-validation.

    The values of each fold are averaged first: runs of one fold with other seeds say nothing more of
    other examples. Mean and interval are those of the folds, the standard deviation is of all values.

    Args:
        folds: the values.
        overlap: ``n_test / n_train``; ``ROUGH`` where no correction is known.
        missing: number of runs without a value.
    """
    every = [v for fold in folds.values() for values in fold.values() for v in values]
    found, finite = described(every, missing)
    if found.n < 2:
        return found
    scale = scale_of(finite)
    means = np.sort(list(_means(folds).values())) / scale
    found = replace(found, mean=float(means.mean()) * scale)
    if len(means) == 1:
        return replace(found, reason=joined("one fold has no spread", found.reason))
    if has_no_spread(means):
        equal = "all folds are equal, which gives no interval"
        return replace(found, reason=found.reason if found.std == 0.0 else equal)
    half = half_width(float(means.std(ddof=1)), len(means), overlap)
    low, high = (float(means.mean() + sign * half) * scale for sign in (-1, 1))
    interval: Literal["corrected t", "rough t"] = "corrected t" if overlap > ROUGH else "rough t"
    return replace(found, low=low, high=high, interval=interval)


def contrast_folds(first: Folds, second: Folds, overlap: float) -> Contrast:
    """Test whether a metric's mean over folds differs between two groups that share folds.

    Within a fold the values are paired too, such as by the seed, if every value of the smaller group
    has its partner; else each group's are averaged.

    Args:
        first: values of the one group.
        second: values of the other.
        overlap: ``n_test / n_train``; ``ROUGH`` where no correction is known.
    """
    total = sum(len(_finite(fold)) for of in (first, second) for fold in of.values())
    a, b = _single(first), _single(second)
    if a and b and (a.keys() <= b.keys() or b.keys() <= a.keys()):
        first, second = _kept(first, b), _kept(second, a)
    means = _means(first), _means(second)
    shared = sorted(means[0].keys() & means[1].keys(), key=repr)
    test: Literal["corrected paired t", "rough paired t"] = (
        "corrected paired t" if overlap > ROUGH else "rough paired t"
    )
    if len(shared) < 2:
        every = [np.array(list(found.values())) for found in means]
        return Contrast(
            n=tuple(map(len, every)),
            test=test,
            difference=float(every[0].mean() - every[1].mean()) if all(map(len, every)) else None,
            reason="groups that share fewer than two folds cannot be tested against each other",
        )
    one, other = (np.array([found[fold] for fold in shared]) for found in means)
    scale = scale_of(np.concatenate([one, other]))
    found, std = paired(one / scale, other / scale, test)
    if std is not None:
        found = _tested(found, std, overlap)
    used = sum(len(_finite(of[fold])) for of in (first, second) for fold in shared)
    if left_out := total - used:
        over = f"over the {len(shared)} shared folds; left out: {left_out}"
        found = replace(found, left_out=left_out, reason=joined(found.reason, over))
    return rescaled(found, scale)


def half_width(std: float, count: int, overlap: float) -> float:
    """Return half the width of the 95 % interval of a mean over folds.

    Args:
        std: standard deviation of the folds.
        count: number of folds, at least 2.
        overlap: ``n_test / n_train``.
    """
    return float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * std * math.sqrt(1 / count + overlap))


def _tested(found: Contrast, std: float, overlap: float) -> Contrast:
    """Add the corrected test of differences that have this standard deviation."""
    assert found.difference is not None
    [count] = found.n
    half = half_width(std, count, overlap)
    statistic = found.difference / (std * math.sqrt(1 / count + overlap))
    return replace(
        found, low=found.difference - half, high=found.difference + half,
        effect=found.difference / std, statistic=statistic, df=float(count - 1),
        p=2 * float(stats.t.sf(abs(statistic), count - 1)),
    )  # fmt: skip


def _finite(fold: Mapping[Hashable, Sequence[float]]) -> list[float]:
    return [value for values in fold.values() for value in values if math.isfinite(value)]


def _means(folds: Folds) -> dict[Hashable, float]:
    """Return the mean of the finite values of each fold that has any."""
    kept = {fold: np.sort(_finite(of)) for fold, of in folds.items()}
    return {
        fold: float((values / scale_of(values)).mean()) * scale_of(values)
        for fold, values in kept.items()
        if len(values)
    }


def _single(folds: Folds) -> dict[tuple[Hashable, Hashable], float]:
    """Return the values by fold and partner; none where one has several."""
    found = {(fold, partner): v for fold, of in folds.items() for partner, v in of.items()}
    if any(len(values) > 1 for values in found.values()):
        return {}
    return {key: v[0] for key, v in found.items() if v and math.isfinite(v[0])}


def _kept(folds: Folds, partners: Mapping[tuple[Hashable, Hashable], float]) -> Folds:
    """Return the values that have a partner."""
    return {
        fold: {partner: v for partner, v in of.items() if (fold, partner) in partners}
        for fold, of in folds.items()
    }
