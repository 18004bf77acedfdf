"""Figures of a comparison, by matplotlib's object interface: no window, no global state."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from dlframe.analysis.comparison import Comparison, MetricComparison
from dlframe.analysis.drawing import (
    INK,
    PALETTE,
    one_legend,
    perhaps_logarithmic,
    plain,
    tall_figure,
)
from dlframe.analysis.estimates import LEVEL
from dlframe.analysis.folds import overlap_of, split_of
from dlframe.analysis.goals import watched
from dlframe.analysis.groups import Group
from dlframe.analysis.labels import plain_text, shown
from dlframe.analysis.runs import Curve
from dlframe.analysis.tables import short_labels

__all__ = ["curves_figure", "differences_figure", "strips_figure"]

_LINES = ("-", "--", ":", "-.")
_MOST_CURVES = 7
_MOST_POINTS = 300

Values = NDArray[np.float64]
_Curves = list[tuple[Hashable, Curve]]
"""Curves of runs, each with what tells the run's fold from others."""


def curves_figure(comparison: Comparison) -> Figure | None:
    """Draw the groups' learning curves: the mean over runs, and its 95 % interval as a band.

    The best groups, as many as the eye can tell apart. None where no run has a curve.
    """
    runs = [run for run in comparison.runs if run.status == "FINISHED"]
    groups = _drawn(comparison)
    found: dict[str, dict[str, _Curves]] = {}
    for name in dict.fromkeys(("train/loss", "val/loss", watched(runs) or "val/loss")):
        of_groups = {group.label: _curves(group, name) for group in groups}
        if any(len(curve) > 1 for curves in of_groups.values() for _, curve in curves):
            found[name] = of_groups
    if not found:
        return None
    figure = Figure(figsize=(4.4 * len(found) + 0.4, 3.9), layout="constrained")
    for axes, (name, of_groups) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        overlaps = [overlap_of(comparison.grouping, group.runs, name) for group in groups]
        means = [
            _draw_band(axes, curves, overlaps[i], i) for i, curves in enumerate(of_groups.values())
        ]
        plain(axes, "both")
        axes.set(xlabel="optimizer step", title=name)
        if name.endswith("loss"):
            every = np.concatenate(means)
            perhaps_logarithmic(axes, float(every.min()), float(every.max()))
    names = _names(comparison)
    labels = [_legend(names[g.label], len(_curves(g, "train/loss"))) for g in groups]
    handles = figure.axes[0].get_lines()[: len(groups)]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=_legend_columns(labels), frameon=False
    )
    return figure


def strips_figure(comparison: Comparison, metric: MetricComparison) -> Figure:
    """Draw each run's value, and the mean of each group with its 95 % interval."""
    short = _names(comparison)
    groups = [group for group in comparison.grouping.groups if metric.summaries[group.label].n]
    names = [short[group.label] for group in groups]
    figure, axes = tall_figure(names, row=0.42)
    for place, group in enumerate(groups):
        colour = PALETTE[0]
        values = [v for v in metric.values[group.label].values() if math.isfinite(v)]
        summary = metric.summaries[group.label]
        assert summary.mean is not None
        # Spread by rank, so that equal values can be counted and the picture is always the same.
        offsets = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else [0.0]
        axes.scatter(
            sorted(values), place + 0.16 + np.asarray(offsets), s=20, color=PALETTE[1], alpha=0.65,
            linewidths=0, label="one run",
        )  # fmt: skip
        if summary.low is not None and summary.high is not None:
            axes.plot(
                [summary.low, summary.high], [place - 0.2] * 2, color=colour, lw=2.2,
                solid_capstyle="butt", label="95 % interval of the mean",
            )  # fmt: skip
        axes.plot([summary.mean], [place - 0.2], "D", color=colour, ms=6, label="mean")
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlabel(plain_text(metric.metric))
    axes.set_ylabel(plain_text(", ".join(comparison.grouping.by)))
    plain(axes, "x")
    one_legend(figure, axes)
    return figure


def differences_figure(comparison: Comparison, metric: MetricComparison) -> Figure | None:
    """Draw the differences between groups with their 95 % intervals; None where there are no tests."""
    pairs = [pair for pair in metric.pairs if pair.contrast.low is not None]
    if not pairs:
        return None
    short = _names(comparison)
    names = [f"{short[pair.first]}  minus  {short[pair.second]}" for pair in pairs]
    figure, axes = tall_figure(names, row=0.3)
    axes.axvline(0.0, color=INK, lw=1)
    for place, pair in enumerate(pairs):
        sure = pair.corrected is not None and pair.corrected < 1 - LEVEL
        colour = PALETTE[1] if sure else PALETTE[0]
        label = "p (Holm) < 0.05" if sure else "p (Holm) ≥ 0.05"
        found = pair.contrast
        assert found.difference is not None
        assert found.low is not None
        assert found.high is not None
        axes.plot([found.low, found.high], [place] * 2, color=colour, lw=2.2)
        axes.plot(
            [found.difference], [place], "D" if sure else "o", color=colour, ms=6, label=label
        )
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel(f"difference of {metric.metric}, with its 95 % interval (uncorrected)")
    plain(axes, "x")
    one_legend(figure, axes)
    return figure


def _drawn(comparison: Comparison) -> list[Group]:
    """The best groups, and the baseline with them."""
    groups = list(comparison.grouping.groups)
    first = groups[:_MOST_CURVES]
    base = [g for g in groups[_MOST_CURVES:] if g.label == comparison.baseline]
    return first[: _MOST_CURVES - len(base)] + base


def _curves(group: Group, metric: str) -> _Curves:
    """Return the runs' curves, each with the fold of its run."""
    runs = [run for run in group.runs if run.status == "FINISHED"]
    curves = [(split_of(run), run.curve(metric)) for run in runs]
    return [
        (split, finite)
        for split, curve in curves
        if (finite := [point for point in curve if math.isfinite(point[1])])
    ]


def _legend_columns(labels: Sequence[str]) -> int:
    return max(1, min(4, len(labels), 150 // max(map(len, labels))))


def _names(comparison: Comparison) -> dict[str, str]:
    """Return what figures call each group, by its label."""
    short = short_labels(comparison)
    return dict(zip(short, shown(list(short.values())), strict=True))


def _legend(name: str, runs: int) -> str:
    return f"{name} ({runs} run{'' if runs == 1 else 's'})"


def _draw_band(axes: Axes, curves: _Curves, overlap: float | str | None, place: int) -> Values:
    """Draw a group's mean and band; return the mean."""
    colour, line = PALETTE[place % len(PALETTE)], _LINES[place % len(_LINES)]
    steps, mean, low, high = _band(curves, overlap) if curves else [np.array([])] * 4
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, mean, line, color=colour, lw=1.8, marker=marker)
    axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)
    return mean


def _band(curves: _Curves, overlap: float | str | None) -> tuple[Values, Values, Values, Values]:
    """Return steps, mean and 95 % interval, where at least half of the curves go on.

    Between its own steps a curve is straight; beyond its last it ends, as a stopped training does.
    """
    steps = np.unique([step for _, curve in curves for step, _ in curve]).astype(np.float64)
    if len(steps) > _MOST_POINTS:
        steps = np.linspace(steps[0], steps[-1], _MOST_POINTS)
    table = np.array([_at(curve, steps) for _, curve in curves])
    if isinstance(overlap, float):  # the seeds of a fold are averaged first
        table = _by_fold([split for split, _ in curves], table)
    count = np.isfinite(table).sum(0)
    kept = count >= max(1, len(table) / 2)
    steps, table, count = steps[kept], table[:, kept], count[kept]
    mean = np.nanmean(table, axis=0)
    low, high = mean.copy(), mean.copy()
    several = count > 1
    if several.any() and not isinstance(overlap, str):
        error = np.nanstd(table[:, several], axis=0, ddof=1) * np.sqrt(
            1 / count[several] + (overlap or 0.0)
        )
        half = stats.t.ppf((1 + LEVEL) / 2, count[several] - 1) * error
        low[several] -= half
        high[several] += half
    return steps, mean, low, high


def _by_fold(splits: Sequence[Hashable], table: Values) -> Values:
    """Return a row for each fold: the mean of its rows that go on."""
    rows = []
    for split in dict.fromkeys(splits):
        own = table[[place for place, each in enumerate(splits) if each == split]]
        count = np.isfinite(own).sum(0)
        rows.append(np.where(count > 0, np.nansum(own, axis=0) / np.maximum(count, 1), np.nan))
    return np.array(rows)


def _at(curve: Curve, steps: Values) -> Values:
    own, values = np.array(curve, dtype=np.float64).T
    found: Values = np.interp(steps, own, values, left=np.nan, right=np.nan)
    return found
