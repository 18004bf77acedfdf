"""What all figures have in common: colours, quiet axes, one legend for all."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "GRID",
    "INK",
    "PALETTE",
    "one_legend",
    "perhaps_logarithmic",
    "plain",
    "tall_figure",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which the colour-blind tell apart; their yellow is too pale for lines."""
INK, GRID = "#333333", "#e4e4e4"
_FAR_APART, _TOO_FAR = 30, 1e30


def tall_figure(names: Sequence[str], *, row: float) -> tuple[Figure, Axes]:
    """Return a figure with a row of so many inches for each name, and its axes."""
    width = 5.6 + 0.08 * max(map(len, names), default=0)
    figure = Figure(figsize=(width, 1.3 + row * max(2, len(names))), layout="constrained")
    return figure, figure.subplots()


def perhaps_logarithmic(axes: Axes, least: float, most: float) -> None:
    """Use a logarithmic axis where values differ so much that a linear one would hide the small.

    Args:
        axes: whose values go up.
        least: the smallest value.
        most: the largest.
    """
    if least > 0 and _FAR_APART < most / least < _TOO_FAR:
        axes.set_yscale("log")
        axes.set_ylim(least / 3, most * 3)  # a band may reach below zero, which has no logarithm


def plain(axes: Axes, grid: str) -> None:
    """Draw no frame, and grid lines across the given axis."""
    axes.grid(axis=grid, color=GRID, lw=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def one_legend(figure: Figure, *panels: Axes) -> None:
    """Name each label of the panels once, above them."""
    once: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        once |= dict(zip(labels, handles, strict=True))
    if once:
        figure.legend(
            list(once.values()), list(once), loc="outside upper right", ncols=len(once),
            frameon=False,
        )  # fmt: skip
