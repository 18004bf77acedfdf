"""Figures of a search space: where good trials lie in it, and which of its dimensions matter."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from dlframe.analysis.drawing import INK, PALETTE, one_legend, plain, tall_figure
from dlframe.analysis.labels import plain_text, shown
from dlframe.analysis.parallel import Axis, lines_figure, setting
from dlframe.sweep.course import COLOURS
from dlframe.sweep.definition import Parameter
from dlframe.sweep.goals import feasible, sign_of, title_of, value_of
from dlframe.sweep.importance import Importances
from dlframe.sweep.rows import word
from dlframe.sweep.scale import log_marks, mark_logarithms, scale_of
from dlframe.sweep.snapshot import Snapshot
from dlframe.sweep.space_trials import distribution_of

__all__ = ["front_figure", "importances_figure", "parallel_figure", "slices_figure"]

_MOST_AXES, _MOST_SLICES = 8, 24
_ACROSS = 3
_MANY = 800
"""Points from which on a figure holds a picture of them, as each would take room in the page."""
_ABSENT = "absent"
_ABSENT_AT, _LOWEST = 0.02, 0.12
_LONG = 14
_NAMED = 12


def importances_figure(found: Importances) -> Figure:
    """Draw which dimensions decided how good a trial was."""
    names = list(found.shares)[:_MOST_SLICES]
    figure, axes = tall_figure(names, row=0.3)
    values = [found.shares[name] for name in names]
    axes.barh(range(len(names)), values, height=0.62, color=PALETTE[0])
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.0%}", (value, place), (4, 0), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), shown(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(values))
    axes.set_xlabel(f"importance (PED-ANOVA, {found.trials} completed trials)")
    plain(axes, "x")
    return figure


def parallel_figure(found: Snapshot, order: Mapping[str, float]) -> Figure | None:
    """Draw each completed trial as a line across its values and its results.

    Args:
        found: the study.
        order: importance of dimensions; the least important are left out where there are many.

    Returns:
        The figure; None where fewer than two trials have completed.
    """
    complete = [t for t in found.of("complete") if all(map(math.isfinite, t.values or []))]
    if len(complete) < 2:
        return None
    chosen = sorted(_searched(found), key=lambda p: -order.get(p.name, 0.0))[:_MOST_AXES]
    goals = found.definition.goals
    crossed = [_axis(each, complete) for each in _searched(found) if each in chosen]
    scales = []
    for place, goal in enumerate(goals):
        values = [value_of(trial, place) for trial in complete]
        scales.append(scale := scale_of(values, sign_of(goal)))
        shown_values = [min(max(value, scale.low), scale.high) for value in values]
        crossed.append(_measured(goal.metric, shown_values, logarithmic=scale.logarithmic))
    return lines_figure(
        crossed,
        [value_of(trial) for trial in complete],
        label=title_of(goals[0]),
        smaller=sign_of(goals[0]) > 0,
        norm=scales[0].norm(),
    )


def slices_figure(found: Snapshot, goal: int = 0) -> Figure | None:
    """Draw a goal over each dimension; later trials are darker.

    Args:
        found: the study.
        goal: place of the goal.

    Returns:
        The figure; None where no trial has completed, or nothing was searched.
    """
    complete = found.of("complete")
    searched = [p for p in _searched(found) if any(p.name in t.params for t in complete)]
    if not complete or not searched:
        return None
    searched = searched[:_MOST_SLICES]
    across = min(_ACROSS, len(searched))
    down = math.ceil(len(searched) / across)
    figure = Figure(figsize=(3.3 * across + 1.0, 2.7 * down + 0.2), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    colours = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.3, 1.0, 256)))
    norm = Normalize(0, max(1, found.trials[-1].number))
    for place, axes in enumerate(panels.flat):
        if place >= len(searched):
            axes.set_axis_off()
            continue
        _draw_slice(axes, found, searched[place], goal, (colours, norm))
        if place % across == 0:
            axes.set_ylabel(plain_text(found.definition.goals[goal].metric))
    values = [value_of(trial, goal) for trial in complete]
    scale_of(values, sign_of(found.definition.goals[goal])).apply(panels[0, 0])
    figure.colorbar(
        mpl.cm.ScalarMappable(norm, colours), ax=panels, label="trial", fraction=0.03, pad=0.02
    )
    one_legend(figure, *panels.flat[: len(searched)])
    return figure


def front_figure(found: Snapshot) -> Figure | None:
    """Draw two goals against each other, and the trials that no other one beats in both.

    Returns:
        The figure; None where there are not two goals, or no trial has completed.
    """
    goals, complete = found.definition.goals, found.of("complete")
    if len(goals) != 2 or not complete:
        return None
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    front = found.best
    first = {trial.number for trial in front}
    for trials, face, label in (
        ([t for t in complete if t.number not in first and feasible(t)], "#b9cfe0", "complete"),
        ([t for t in complete if not feasible(t)], "white", "breaks a constraint"),
    ):
        if trials:
            axes.plot(
                *_points(trials), "o", ms=5, mfc=face, mec=COLOURS["complete"], mew=0.8,
                alpha=0.8, label=label, rasterized=len(trials) > _MANY,
            )  # fmt: skip
    if front:
        x, y = _points(front)
        where = "post" if sign_of(goals[0]) > 0 else "pre"
        axes.step(x, y, where=where, color=PALETTE[1], lw=1.2)  # type: ignore[arg-type]
        axes.plot(x, y, "o", ms=6.5, color=PALETTE[1], label="Pareto front")
        for trial in front if len(front) <= _NAMED else ():
            axes.annotate(
                f"{trial.number}", (value_of(trial, 0), value_of(trial, 1)), (5, 4),
                textcoords="offset points", fontsize=8, color=INK,
            )  # fmt: skip
    axes.set(xlabel=plain_text(title_of(goals[0])), ylabel=plain_text(title_of(goals[1])))
    plain(axes, "both")
    one_legend(figure, axes)
    return figure


def _points(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    return [value_of(t, 0) for t in trials], [value_of(t, 1) for t in trials]


def _searched(found: Snapshot) -> list[Parameter]:
    """Return the dimensions that some trial has."""
    names = {name for trial in found.trials for name in trial.params}
    return [each for each in found.definition.space if each.name in names]


def _broken(name: str) -> str:
    """Return a key in lines, where it is too long for one."""
    lines = [""]
    for part in name.replace(".", ".\n").splitlines():
        if lines[-1] and len(lines[-1] + part) > _LONG:
            lines.append(part)
        else:
            lines[-1] += part
    return "\n".join(lines)


# --- axes -----------------------------------------------------------------------------------------


def _words(own: Parameter, trials: Sequence[FrozenTrial]) -> list[str]:
    """Return what each trial chose, of a dimension of choices."""
    return [word(own, t.params[own.name]) if own.name in t.params else _ABSENT for t in trials]


def _is_logarithmic(own: Parameter) -> bool:
    kind = distribution_of(own)
    return isinstance(kind, FloatDistribution | IntDistribution) and kind.log


def _has_choices(own: Parameter) -> bool:
    return isinstance(distribution_of(own), CategoricalDistribution)


def _axis(own: Parameter, trials: Sequence[FrozenTrial]) -> Axis:
    """Place what trials have of a dimension on an upright axis; those without it at its foot."""
    if _has_choices(own):
        return setting(_broken(own.name), _words(own, trials))
    values = [trial.params.get(own.name) for trial in trials]
    return _measured(own.name, values, logarithmic=_is_logarithmic(own))


def _measured(name: str, values: Sequence[float | None], *, logarithmic: bool) -> Axis:
    """Place numbers by size, or by their logarithms; what is None at the foot."""
    there = [float(value) for value in values if value is not None]
    foot = [(_ABSENT_AT, _ABSENT)] if len(there) < len(values) else []
    if not there:
        return Axis(_broken(name), [_ABSENT_AT] * len(values), foot)
    least, most, lowest = min(there), max(there), _LOWEST if foot else 0.0

    def at(value: float) -> float:
        if most == least:
            return (1 + lowest) / 2
        low, high, own = (math.log(v) if logarithmic else v for v in (least, most, value))
        return lowest + (1 - lowest) * (own - low) / (high - low)

    locator = LogLocator(subs=log_marks(least, most)) if logarithmic else MaxNLocator(5)
    marks = [float(mark) for mark in locator.tick_values(least, most) if least <= mark <= most]
    ticks = [(at(mark), f"{mark:.3g}") for mark in marks or sorted({least, most})]
    places = [_ABSENT_AT if value is None else at(value) for value in values]
    return Axis(_broken(name), places, [*ticks, *foot])


# --- slices ---------------------------------------------------------------------------------------


def _draw_slice(
    axes: Axes, found: Snapshot, own: Parameter, goal: int, shades: tuple[ListedColormap, Normalize]
) -> None:
    every = [trial for trial in found.trials if own.name in trial.params]
    place = _places(axes, own, every)
    complete = [t for t in found.of("complete") if own.name in t.params]
    axes.scatter(
        [place[t.number] for t in complete], [value_of(t, goal) for t in complete], s=20,
        c=[t.number for t in complete], cmap=shades[0], norm=shades[1], linewidths=0.4,
        edgecolors="white", rasterized=len(complete) > _MANY,
    )  # fmt: skip
    first = [t for t in found.best if own.name in t.params] if len(found.best) == 1 else []
    if first:
        axes.plot(
            [place[t.number] for t in first], [value_of(t, goal) for t in first], "*", ms=12,
            color=PALETTE[1], mec="white", mew=0.6, label="best",
        )  # fmt: skip
    # At the edge where bad values are, out of the way of the good ones.
    bad = 1.0 if sign_of(found.definition.goals[goal]) > 0 else 0.0
    for how, colour, inward in (("pruned", "#8a8a8a", 0.04), ("failed", COLOURS["failed"], 0.1)):
        marked = [t for t in every if found.standings[t.number] == how]
        height = abs(bad - inward)
        if marked:
            axes.plot(
                [place[t.number] for t in marked], [height] * len(marked), "|", ms=6, mew=1.1,
                color=colour, transform=axes.get_xaxis_transform(), label=f"{how} (at the edge)",
            )  # fmt: skip
    axes.set_xlabel(shown([own.name])[0])
    plain(axes, "both")


def _places(axes: Axes, own: Parameter, trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """Return where each trial lies on the axis, which is set up for it."""
    if not _has_choices(own):
        if _is_logarithmic(own):
            values = [trial.params[own.name] for trial in trials]
            axes.set_xscale("log")
            mark_logarithms(axes.xaxis, min(values), max(values))
        elif all(isinstance(trial.params[own.name], int) for trial in trials):
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return {trial.number: float(trial.params[own.name]) for trial in trials}
    words = _words(own, trials)
    names = sorted(set(words), key=lambda each: own.texts.index(each) if each in own.texts else 0)
    long = max(map(len, names)) * len(names) > 40
    axes.set_xticks(
        range(len(names)), shown(names), rotation=25 if long else 0, ha="right" if long else "center",
        fontsize=8 if long else 9,
    )  # fmt: skip
    axes.set_xlim(-0.6, len(names) - 0.4)
    found: dict[int, float] = {}
    for place, name in enumerate(names):
        of = [
            trial.number for trial, own_word in zip(trials, words, strict=True) if own_word == name
        ]
        # Spread in the order of the trials, so that equal values can be counted.
        offsets = np.linspace(-0.28, 0.28, len(of)) if len(of) > 1 else [0.0]
        found |= {number: place + float(each) for number, each in zip(of, offsets, strict=True)}
    return found
