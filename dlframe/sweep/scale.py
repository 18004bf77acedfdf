"""Scales on which good values can be told apart, however bad the worst are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dlframe.analysis.drawing import INK

__all__ = ["Scale", "log_marks", "mark_logarithms", "scale_of"]

_FAR_APART, _TOO_FAR = 8, 1e30
_MARGIN = 0.05


@dataclass(frozen=True)
class Scale:
    """How values of a goal are drawn.

    Args:
        logarithmic: whether by their logarithms.
        low: the smallest that is shown.
        high: the largest that is shown.
        sign: 1 where small values are better, -1 where large are.
        beyond: how many values are too bad to be shown.
    """

    logarithmic: bool
    low: float
    high: float
    sign: int
    beyond: int

    def apply(self, axes: Axes) -> None:
        """Set the upright axis up."""
        if self.logarithmic:
            axes.set_yscale("log")
            room = (self.high / self.low) ** _MARGIN
            axes.set_ylim(self.low / room, self.high * room)
            mark_logarithms(axes.yaxis, self.low, self.high)
            return
        room = (self.high - self.low) * _MARGIN or abs(self.high) * _MARGIN or 1.0
        axes.set_ylim(self.low - room, self.high + room)
        if self.beyond:
            up = self.sign > 0
            axes.annotate(
                f"{self.beyond} further {'up' if up else 'down'}", (1.0, 1.0 if up else 0.0),
                (-2, -16 if up else 12), xycoords="axes fraction", textcoords="offset points",
                ha="right", fontsize=8, color=INK,
            )  # fmt: skip

    def norm(self) -> Normalize:
        """Return how values become colours."""
        if self.logarithmic:
            return LogNorm(self.low, self.high, clip=True)
        return Normalize(self.low, self.high, clip=True)


def scale_of(values: Iterable[float], sign: int) -> Scale:
    """Choose a scale.

    Small values that are far apart are shown by their logarithms; else what is much worse than nine
    of ten is left out of sight.

    Args:
        values: at least one that is finite.
        sign: 1 where small values are better, -1 where large are.
    """
    finite = np.array([value for value in values if math.isfinite(value)])
    least, most = float(finite.min()), float(finite.max())
    if sign > 0 and least > 0 and _FAR_APART < most / least < _TOO_FAR:
        return Scale(True, least, most, sign, 0)
    losses = sign * finite
    best, low, high = (float(each) for each in np.quantile(losses, [0.0, 0.1, 0.9]))
    far = high + (high - low)
    if not losses.max() > high + 2 * (high - low) > high:
        return Scale(False, least, most, sign, 0)
    edges = sorted((sign * best, sign * far))
    return Scale(False, edges[0], edges[1], sign, int((losses > far).sum()))


def mark_logarithms(axis: Axis, low: float, high: float) -> None:
    """Write plain numbers beside a logarithmic axis, a handful of them."""
    axis.set_major_locator(LogLocator(subs=log_marks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def log_marks(low: float, high: float) -> tuple[float, ...]:
    """Return what powers of ten are multiplied by for a handful of marks in between."""
    ratio = high / low
    return (1.0, 2.0, 5.0) if ratio < 30 else (1.0, 3.0) if ratio < 300 else (1.0,)
