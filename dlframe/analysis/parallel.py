"""Parallel coordinates: each run a line across its settings and its metrics."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlframe.analysis.comparison import Comparison, MetricComparison
from dlframe.analysis.groups import ABSENT, SEED
from dlframe.analysis.labels import plain_text, shown
from dlframe.analysis.tables import title

__all__ = ["Axis", "lines_figure", "parallel_figure", "setting"]

_MOST_SETTINGS = 6
_MOST_NAMES = 12
_FAR_APART = 30
_COST = "cost/seconds"


@dataclass(frozen=True)
class Axis:
    """One upright axis.

    Args:
        name: what it shows.
        places: where each line crosses it, between 0 and 1.
        ticks: places, and what is said there.
    """

    name: str
    places: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def parallel_figure(comparison: Comparison, metric: MetricComparison) -> Figure | None:
    """Draw each finished run as a line across its settings, its cost and ``metric``.

    None where fewer than two runs have the metric.
    """
    runs = [
        run
        for run in comparison.runs
        if run.status == "FINISHED" and math.isfinite(run.metrics.get(metric.metric, math.nan))
    ]
    if len(runs) < 2:
        return None
    grouping = comparison.grouping
    keys = [key for key in (*grouping.by, *grouping.within) if key != SEED][:_MOST_SETTINGS]
    crossed = [setting(key, [run.params.get(key, ABSENT) for run in runs]) for key in keys]
    for name in (_COST, metric.metric):
        if all(math.isfinite(run.metrics.get(name, math.nan)) for run in runs):
            crossed.append(_measured(name, [run.metrics[name] for run in runs]))
    return lines_figure(
        crossed,
        [run.metrics[metric.metric] for run in runs],
        label=title(metric),
        smaller=metric.goal == "min",
    )


def lines_figure(
    crossed: Sequence[Axis],
    values: Sequence[float],
    *,
    label: str,
    smaller: bool,
    norm: Normalize | None = None,
) -> Figure:
    """Draw lines across upright axes, coloured by a value.

    Args:
        crossed: the axes, from left to right.
        values: each line's.
        label: what the values are.
        smaller: whether small values are better; the best are drawn last.
        norm: how values become colours; None spreads the colours evenly over them.
    """
    width = max(6.0, 1.7 * len(crossed) + 1.6)
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots()
    norm = norm or Normalize(min(values), max(values))
    # Without its last, yellow part, which is too pale for lines on white.
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.88, 256)))
    places = range(len(crossed))
    # The best on top, where it can be followed.
    order = sorted(range(len(values)), key=lambda i: -values[i] if smaller else values[i])
    for i in order:
        heights = [axis.places[i] for axis in crossed]
        axes.plot(places, heights, color=colours(norm(values[i])), lw=1.4, alpha=0.8)
    _draw_axes(axes, crossed)
    shade = mpl.cm.ScalarMappable(norm, colours)
    figure.colorbar(shade, ax=axes, label=plain_text(label), fraction=0.05, pad=0.48 / width)
    return figure


def setting(name: str, words: Sequence[str]) -> Axis:
    """Place numbers by size, by their logarithms where they are far apart, and words evenly.

    Args:
        name: of the axis.
        words: each line's.
    """
    names = sorted(set(words))
    try:
        values = np.array([float(name) for name in names])
        if values.min() > 0 and values.max() / values.min() >= _FAR_APART:
            values = np.log10(values)
        if not np.isfinite(values).all():
            raise ValueError("not finite")
    except ValueError:
        values = np.arange(len(names), dtype=np.float64)
    width = float(np.ptp(values)) or 1.0
    # Room at both ends, because the lines of one value are spread around it to be told apart.
    middle = dict(zip(names, 0.06 + 0.88 * (values - values.min()) / width, strict=True))
    spread = 0.1 / max(1, len(names) - 1) if len(names) <= _MOST_NAMES else 0.0
    seen: Counter[str] = Counter()
    places = []
    for word in words:
        count = words.count(word)
        places.append(middle[word] + spread * (seen[word] / max(1, count - 1) - 0.5) * (count > 1))
        seen[word] += 1
    told = names if len(names) <= _MOST_NAMES else _some(sorted(names, key=middle.__getitem__))
    return Axis(name, places, [(middle[word], word) for word in told])


def _some(names: Sequence[str]) -> list[str]:
    """A few names from the first to the last."""
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, 6)]


def _measured(name: str, values: Sequence[float]) -> Axis:
    least, width = min(values), max(values) - min(values)
    if not width:
        return Axis(name, [0.5] * len(values), [(0.5, f"{least:.3g}")])
    marks = MaxNLocator(5).tick_values(least, max(values))
    ticks = [((m - least) / width, f"{m:.3g}") for m in marks if least <= m <= max(values)]
    return Axis(name, [(value - least) / width for value in values], ticks)


def _draw_axes(axes: Axes, crossed: Sequence[Axis]) -> None:
    for place, axis in enumerate(crossed):
        axes.axvline(place, color="#333333", lw=1)
        texts = shown([tick for _, tick in axis.ticks])
        for (height, _), text in zip(axis.ticks, texts, strict=True):
            axes.annotate(
                text, (place, height), (4, 0), textcoords="offset points", va="center", fontsize=8,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
            )  # fmt: skip
    axes.set_xticks(range(len(crossed)), shown([axis.name for axis in crossed]))
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(crossed) - 0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
