"""Figures of a whole training: how losses and the watched metric went."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlframe.interfaces import Task

__all__ = ["learning_curves", "save"]

Epochs = Sequence[Mapping[str, float]]
_MANY = 40
_COLOURS = {"train": "tab:blue", "val": "tab:orange"}


def learning_curves(epochs: Epochs, task: Task) -> Figure | None:
    """Draw training and validation loss, and the metric that picks the best weights, over the steps.

    Args:
        epochs: the metrics of each epoch, with the optimizer steps so far as ``step``.
        task: says which metric is watched.

    Returns:
        The figure; None where nothing was measured.
    """
    name = task.monitor.partition("/")[2]
    panels = [panel for panel in dict.fromkeys(("loss", name)) if _measured(epochs, panel)]
    if not panels:
        return None
    figure = Figure(figsize=(5.2 * len(panels), 3.6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key, colour in _coloured(_measured(epochs, panel)):
            _draw(axes, epochs, key, colour)
        if panel == name:
            _mark_best(axes, epochs, task)
        axes.set(xlabel="optimizer step", ylabel=panel.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def _measured(epochs: Epochs, panel: str) -> list[str]:
    """Return the names of the curves in a panel; the losses of several players go together."""
    seen = sorted({key for values in epochs for key in values})
    wanted = (f"train/{panel}", f"val/{panel}", f"train/{panel}_")
    own = [key for key in seen if key in wanted or (panel == "loss" and key.startswith(wanted[2]))]
    return [key for key in own if any(map(math.isfinite, _points(epochs, key)[1]))]


def _points(epochs: Epochs, key: str) -> tuple[list[float], list[float]]:
    found = {values["step"]: values[key] for values in epochs if key in values}
    return list(found), list(found.values())


def _coloured(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Give each curve a colour: in all figures the same for the parts of the data."""
    others = iter(("tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:gray") * 9)
    return [(key, next(others) if "loss_" in key else _COLOURS[key.split("/")[0]]) for key in keys]


def _draw(axes: Axes, epochs: Epochs, key: str, colour: str) -> None:
    steps, values = _points(epochs, key)
    stage, _, name = key.partition("/")
    players = "loss_" in name
    axes.plot(
        steps,
        values,
        color=colour,
        marker="o" if len(steps) <= _MANY else None,
        markersize=3,
        linewidth=1.5,
        label=f"{stage} {name.removeprefix('loss_')}" if players else stage,
    )


def _mark_best(axes: Axes, epochs: Epochs, task: Task) -> None:
    steps, values = _points(epochs, task.monitor)
    sign = 1.0 if task.mode == "min" else -1.0
    finite = [(sign * value, step, value) for step, value in zip(steps, values, strict=True)
              if math.isfinite(value)]  # fmt: skip
    if finite:
        _, step, value = min(finite)
        axes.plot(step, value, "*", color="black", markersize=10, label=f"best: {value:.4g}")


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures as PNG files into the folder; return their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120, bbox_inches="tight")
        paths.append(path)
    return paths
