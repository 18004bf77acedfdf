"""Figures of test predictions, by matplotlib's object interface: no window, no global state."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = [
    "by_place",
    "confusion_matrix",
    "forecasts",
    "histograms",
    "image_grid",
    "image_rows",
    "label_counts",
    "residuals",
]

_MOST_NUMBERS = 20  # with more rows the counts would be too small to read
_MOST_TICKS = 40
_MOST_POINTS = 5000
_MOST_TARGETS = 6
_MOST_HISTOGRAMS = 12
_MOST_IMAGES = 64


def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Draw how often each class was taken for which.

    Args:
        counts: examples ``[actual, predicted]``.
        names: names of the classes.
    """
    figure = _heat_map(counts, names, names)
    right, total = int(np.trace(counts)), int(counts.sum())
    figure.axes[0].set(xlabel="predicted", ylabel="actual", title=f"{right} of {total} right")
    return figure


def label_counts(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Draw how often each label was found, missed, invented and rightly left out.

    Args:
        counts: examples ``[label, outcome]``.
        names: names of the labels.
    """
    outcomes = ("found", "missed", "invented", "absent")
    figure = _heat_map(counts, names, outcomes)
    figure.axes[0].set(ylabel="label", title=f"{int(counts[0].sum())} examples")
    return figure


def _heat_map(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw counts as numbers over colours that show each row's shares."""
    height, width = (3.2 + 0.38 * min(len(names), 24) for names in (rows, columns))
    figure = Figure(figsize=(width + 0.8, height), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    figure.colorbar(image, ax=axes, label="share of the row")
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        places = range(0, len(names), math.ceil(len(names) / _MOST_TICKS))
        axis.set_ticks(list(places), [_short(names[i]) for i in places])
    if max(len(_short(name)) for name in columns) > 2:
        axes.tick_params("x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    if len(rows) <= _MOST_NUMBERS:
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, size=8)
    return figure


def _short(name: str) -> str:
    """Cut the middle out of long names, as they tend to differ at an end."""
    return name if len(name) <= 18 else f"{name[:9]}…{name[-8:]}"


def residuals(
    predicted: NDArray[np.floating], actual: NDArray[np.floating], names: Sequence[str]
) -> Figure:
    """Draw predicted against actual values with the diagonal, and the residuals' histogram.

    Args:
        predicted: predictions ``[N, T]``.
        actual: targets ``[N, T]``.
        names: names of the ``T`` columns, of which the first six are drawn.
    """
    drawn = list(names)[:_MOST_TARGETS]
    figure = Figure(figsize=(8.4, 3.8 * len(drawn)), layout="constrained")
    for row, name in zip(figure.subplots(len(drawn), 2, squeeze=False), drawn, strict=True):
        column = names.index(name)
        _residual_row(row[0], row[1], predicted[:, column], actual[:, column], name)
    if len(drawn) < len(names):
        figure.suptitle(f"the first {len(drawn)} of {len(names)} targets")
    return figure


def _residual_row(
    left: Axes,
    right: Axes,
    predicted: NDArray[np.floating],
    actual: NDArray[np.floating],
    name: str,
) -> None:
    some = slice(None, None, math.ceil(len(actual) / _MOST_POINTS))
    left.scatter(actual[some], predicted[some], s=14, alpha=0.5, linewidths=0)
    ends = [float(np.min([actual, predicted])), float(np.max([actual, predicted]))]
    left.plot(ends, ends, color="black", linewidth=1, label="predicted = actual")
    left.set(xlabel=f"actual {name}", ylabel=f"predicted {name}")
    left.legend(frameon=False)
    errors = predicted - actual
    # In double precision: the automatic width of a bin may be too small for single.
    right.hist(errors.astype(np.float64), bins="sqrt" if np.ptp(errors) > 0 else 1)
    right.axvline(0.0, color="black", linewidth=1)
    right.set(
        xlabel=f"predicted - actual {name}",
        ylabel="examples",
        title=f"mean {errors.mean():.3g}, standard deviation {errors.std():.3g}",
    )


def forecasts(
    predicted: NDArray[np.floating], actual: NDArray[np.floating], names: Sequence[str]
) -> Figure:
    """Draw three forecasts beside what came, and the mean absolute error by steps ahead.

    Args:
        predicted: predictions ``[N, C, H]``.
        actual: targets ``[N, C, H]``.
        names: names of the ``C`` channels, of which the first six are drawn.
    """
    drawn = list(names)[:_MOST_TARGETS]
    figure = Figure(figsize=(11.2, 2.8 * len(drawn)), layout="constrained")
    steps = np.arange(1, actual.shape[2] + 1)
    shown = np.unique(np.linspace(0, len(actual) - 1, 3).astype(int))  # the first, middle and last
    mark = "o" if len(steps) == 1 else None
    for channel, row in enumerate(figure.subplots(len(drawn), 4, squeeze=False)):
        for axes, example in zip(row, shown, strict=False):
            axes.plot(steps, actual[example, channel], color="black", marker=mark, label="actual")
            axes.plot(steps, predicted[example, channel], marker=mark, label="forecast")
            axes.set(xlabel="steps ahead", title=f"forecast {example + 1} of {len(actual)}")
        for axes in row[len(shown) : 3]:
            axes.set_axis_off()
        errors = np.abs(predicted[:, channel] - actual[:, channel]).mean(0)
        row[3].plot(steps, errors, marker=mark)
        row[3].set(xlabel="steps ahead", title="mean absolute error", ylim=(0.0, None))
        row[0].set_ylabel(drawn[channel])
        row[0].legend(frameon=False)
    if len(drawn) < len(names):
        figure.suptitle(f"the first {len(drawn)} of {len(names)} channels")
    return figure


def image_rows(
    originals: NDArray[np.floating], reconstructions: NDArray[np.floating], most: int = 10
) -> Figure:
    """Draw originals above their reconstructions, both on the originals' scale of brightness.

    Args:
        originals: images ``[N, C, H, W]``.
        reconstructions: images ``[N, C, H, W]``.
        most: number of pairs drawn.
    """
    count = min(most, len(originals))
    figure = Figure(figsize=(1.1 * count + 0.6, 2.6), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    for row, images, name in (
        (grid[0], originals, "original"),
        (grid[1], reconstructions, "reconstruction"),
    ):
        for axes, image in zip(row, images[:count], strict=True):
            _show(axes, image, originals)
        row[0].set_title(name, loc="left", fontsize=9)
    return figure


def image_grid(images: NDArray[np.floating], like: NDArray[np.floating]) -> Figure:
    """Draw up to 64 images in a square.

    Args:
        images: images ``[N, C, H, W]``.
        like: images of the data, which give the scale of brightness.
    """
    count = min(_MOST_IMAGES, len(images))
    side = math.ceil(math.sqrt(count))
    rows = math.ceil(count / side)
    figure = Figure(figsize=(0.8 * side, 0.8 * rows), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, side, squeeze=False).flat):
        if i < count:
            _show(axes, images[i], like)
        else:
            axes.set_axis_off()
    return figure


def _show(axes: Axes, image: NDArray[np.floating], like: NDArray[np.floating]) -> None:
    """Draw one image ``[C, H, W]``, grey unless it has three channels."""
    low, high = float(like.min()), float(like.max())
    bright = np.clip((image - low) / max(high - low, 1e-12), 0.0, 1.0)
    if len(bright) == 3:
        axes.imshow(bright.transpose(1, 2, 0))
    else:
        axes.imshow(bright.mean(0), cmap="gray", vmin=0.0, vmax=1.0)
    axes.set_xticks([])
    axes.set_yticks([])


def histograms(
    samples: NDArray[np.floating], real: NDArray[np.floating], names: Sequence[str]
) -> Figure:
    """Draw the distribution of each of the first twelve values, generated and real.

    Args:
        samples: generated examples ``[N, F]``.
        real: the data's examples ``[N, F]``.
        names: names of the ``F`` values; may be empty.
    """
    count = min(_MOST_HISTOGRAMS, real.shape[1])
    across = min(4, count)
    rows = math.ceil(count / across)
    figure = Figure(figsize=(2.6 * across, 2.2 * rows + 0.5), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, across, squeeze=False).flat):
        if i >= count:
            axes.set_axis_off()
            continue
        edges = np.histogram_bin_edges(np.concatenate([samples[:, i], real[:, i]]), bins=24)
        axes.hist(real[:, i], edges, alpha=0.6, label="real")
        axes.hist(samples[:, i], edges, alpha=0.6, label="generated")
        axes.set_title(names[i] if len(names) == real.shape[1] else f"value {i}", fontsize=9)
        axes.set_yticks([])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def by_place(
    bits: NDArray[np.floating], hits: NDArray[np.floating], counts: NDArray[np.int64]
) -> Figure:
    """Draw bits per token and accuracy by the number of tokens before.

    Args:
        bits: sum over the tokens at each place ``[T]``.
        hits: how many of them were the likeliest ``[T]``.
        counts: how many there are ``[T]``; places without any are left out.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    places = np.flatnonzero(counts)
    for axes, sums, name in zip(
        figure.subplots(1, 2), (bits, hits), ("bits per token", "accuracy"), strict=True
    ):
        axes.plot(places + 1, sums[places] / counts[places])
        axes.set(xlabel="tokens seen before", ylabel=name, ylim=(0.0, None))
    return figure
