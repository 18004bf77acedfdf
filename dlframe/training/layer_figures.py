"""Figures of a watched training: gradients, steps and activations, layer by layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

__all__ = ["layer_figures"]

Rows = Sequence[Mapping[str, Any]]
Values = NDArray[np.float64]

_FEW = 7
"""Layers up to which each is a line that the eye can follow."""
_COLOURS = "viridis"
_GOOD_RATIO = 1e-3
_LEAST = 1e-30


def layer_figures(rows: Rows) -> dict[str, Figure]:
    """Draw what was measured of the layers; keys are file names without suffix.

    Args:
        rows: the table of all measured steps and layers.
    """
    weighted = [row for row in rows if row["weighted"]]
    active = [row for row in rows if row["active"]]
    drawn = {}
    if weighted:
        drawn["layers_gradients"] = _course(weighted, "grad_norm", "gradient norm")
        label = "length of the step / length of the weights"
        drawn["layers_updates"] = _course(weighted, "update_ratio", label, mark=_GOOD_RATIO)
    if active:
        drawn["layers_activations"] = _profile(active)
    return drawn


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["layer"] for row in rows))


def _table(rows: Rows, quantity: str) -> tuple[list[str], list[int], Values]:
    """Return the layers, the steps and the values ``[layers, steps]``."""
    names, steps = _names(rows), list(dict.fromkeys(row["step"] for row in rows))
    values = np.full((len(names), len(steps)), math.nan)
    places = {name: i for i, name in enumerate(names)}, {step: i for i, step in enumerate(steps)}
    for row in rows:
        values[places[0][row["layer"]], places[1][row["step"]]] = row[quantity]
    return names, steps, values


def _course(rows: Rows, quantity: str, label: str, mark: float | None = None) -> Figure:
    """Draw a quantity of each layer over the steps: lines for a few layers, else a map.

    Args:
        rows: of the layers to draw.
        quantity: what to draw.
        label: what to call it.
        mark: a value to be marked, by a line or on the scale of colours.
    """
    names, steps, values = _table(rows, quantity)
    if len(names) <= _FEW:
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for name, colour, line in zip(names, _shades(len(names)), values, strict=True):
            known = np.where(line > _LEAST, line, math.nan)
            axes.plot(steps, known, color=colour, marker="o", ms=3, lw=1.5, label=name)
        if mark is not None:
            axes.axhline(mark, color="black", ls="--", lw=1, label=f"{mark:g}")
        if (values > _LEAST).any():
            axes.set_yscale("log")
        axes.set(xlabel="optimizer step", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
        return figure
    figure = Figure(figsize=(7.2, 1.6 + 0.17 * min(len(names), 60)), layout="constrained")
    axes = figure.subplots()
    known = np.ma.masked_less_equal(np.ma.masked_invalid(values), _LEAST)
    axes.set_facecolor("lightgray")  # where there is none
    scale, low, high = None, 0.0, 0.0
    if known.count():
        low, high = float(known.min()), float(known.max())
        high = high if high > low else low * 10
        scale = LogNorm(low, high)
    image = axes.imshow(known, aspect="auto", cmap=_COLOURS, norm=scale, interpolation="nearest")
    if scale is not None:
        bar = figure.colorbar(image, ax=axes, label=label)
        if mark is not None and low <= mark <= high:
            bar.ax.axhline(mark, color="red", lw=2)
            bar.ax.text(-0.25, mark, f"{mark:g}", color="red", fontsize=8, ha="right", va="center")
    _name_layers(axes, names)
    ticks = _some(len(steps), 8)
    axes.set_xticks(ticks, [str(steps[i]) for i in ticks])
    axes.set(xlabel="optimizer step", ylabel="layer, the first on top")
    return figure


def _profile(rows: Rows) -> Figure:
    """Draw activations by layer at the first and the last measured step, and what is silent."""
    names, _, deviations = _table(rows, "std")
    _, _, means = _table(rows, "mean")
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(names))
    shift = 0.012 * len(names)  # the same on paper for any number of layers
    for column, colour, label in ((0, "tab:gray", "first step"), (-1, "tab:blue", "last step")):
        offset = shift if column else -shift
        upper.errorbar(
            places + offset, means[:, column], yerr=deviations[:, column], fmt="o", ms=4,
            color=colour, capsize=2, lw=1.2, label=f"{label}: mean and standard deviation",
        )  # fmt: skip
    upper.set_ylabel("activation")
    upper.legend(frameon=False, fontsize=8)
    shares = (
        ("zeros", "tab:blue", "o", "values that are zero"),
        ("saturated", "tab:purple", "s", "values at their bounds"),
        ("dead", "tab:red", "x", "units that never fire"),
    )
    for quantity, colour, marker, label in shares:
        _, _, values = _table(rows, quantity)
        last = [next((v for v in line[::-1] if not math.isnan(v)), math.nan) for line in values]
        if not all(map(math.isnan, last)):
            lower.plot(places, last, marker=marker, color=colour, lw=1.2, label=label)
    lower.set(ylabel="share, at the end", ylim=(-0.03, 1.03), xlabel="activation, the first left")
    lower.legend(frameon=False, fontsize=8)
    ticks = _some(len(names), 20)
    slanted = max(map(len, names)) * len(ticks) > 60
    lower.set_xlim(-0.6, len(names) - 0.4)
    lower.set_xticks(
        ticks, [names[i] for i in ticks], rotation=60 if slanted else 0,
        ha="right" if slanted else "center", fontsize=8,
    )  # fmt: skip
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    return figure


def _name_layers(axes: Axes, names: Sequence[str]) -> None:
    ticks = _some(len(names), 40)
    axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=7)


def _some(count: int, most: int) -> list[int]:
    """Return at most so many of the places from 0 to ``count``, evenly."""
    stride = max(1, -(-count // most))
    return list(range(0, count, stride))


def _shades(count: int) -> list[Any]:
    """Return colours from the first layer's to the last one's."""
    from matplotlib import colormaps

    return [colormaps[_COLOURS](x) for x in np.linspace(0.05, 0.85, max(1, count))]
