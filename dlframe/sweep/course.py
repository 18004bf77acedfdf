"""Figures of how a study went: its values, its learning curves, what its workers were busy with."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial

from dlframe.analysis.drawing import INK, PALETTE, one_legend, plain
from dlframe.analysis.labels import plain_text, shown
from dlframe.sweep.definition import Definition
from dlframe.sweep.goals import feasible, sign_of, value_of
from dlframe.sweep.pace import Command, commands, seconds, utilisation
from dlframe.sweep.scale import scale_of
from dlframe.sweep.snapshot import Snapshot
from dlframe.sweep.tally import Standing

__all__ = ["COLOURS", "history_figure", "learning_figure", "timeline_figure"]

COLOURS: dict[Standing, str] = {
    "complete": PALETTE[0],
    "pruned": "#a6a6a6",
    "failed": PALETTE[1],
    "retried": PALETTE[4],
    "running": PALETTE[2],
}
"""What each standing is drawn in."""
_MOST_LANES = 40
_BREAK = 0.03


def history_figure(found: Snapshot) -> Figure | None:
    """Draw each trial's values in the order of the trials, and the best so far.

    Returns:
        The figure, with a panel for each goal; None where no trial has completed.
    """
    complete = found.of("complete")
    if not complete:
        return None
    goals = found.definition.goals
    figure = Figure(figsize=(7.4, 0.6 + 3.2 * len(goals)), layout="constrained")
    panels = figure.subplots(len(goals), 1, squeeze=False)[:, 0]
    for place, (axes, goal) in enumerate(zip(panels, goals, strict=True)):
        _draw_values(axes, found, place)
        _mark(axes, [t.number for t in found.of("failed", "retried")], up=sign_of(goal) > 0)
        drawn = [value_of(each, place) for each in complete]
        drawn += _last_values(_ended_early(found)) if len(goals) == 1 else []
        scale_of(drawn, sign_of(goal)).apply(axes)
        axes.set_ylabel(plain_text(goal.metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axes, "y")
    panels[-1].set_xlabel("trial")
    one_legend(figure, panels[0])
    return figure


def _draw_values(axes: Axes, found: Snapshot, place: int) -> None:
    complete, goal = found.of("complete"), found.definition.goals[place]
    good = [trial for trial in complete if feasible(trial)]
    bad = [trial for trial in complete if not feasible(trial)]
    if pruned := _ended_early(found):
        axes.plot(
            [t.number for t in pruned], _last_values(pruned), "x", color=COLOURS["pruned"], ms=4.5,
            mew=1.2, label="pruned, last value",
        )  # fmt: skip
    for trials, face, label in (
        (good, COLOURS["complete"], "complete"),
        (bad, "white", "breaks a constraint"),
    ):
        if trials:
            axes.plot(
                [t.number for t in trials], [value_of(t, place) for t in trials], "o", ms=5,
                mfc=face, mec=COLOURS["complete"], alpha=0.85, label=label,
            )  # fmt: skip
    sign, best = sign_of(goal), math.inf
    steps: list[tuple[int, float]] = []
    for trial in good:
        best = min(best, sign * value_of(trial, place))
        steps.append((trial.number, sign * best))
    if steps:
        numbers, values = zip(*steps, (found.trials[-1].number, sign * best), strict=True)
        axes.step(numbers, values, where="post", color=INK, lw=1.4, label="best so far")


def _ended_early(found: Snapshot) -> list[FrozenTrial]:
    return [trial for trial in found.of("pruned") if trial.intermediate_values]


def _last_values(trials: Sequence[FrozenTrial]) -> list[float]:
    return [t.intermediate_values[max(t.intermediate_values)] for t in trials]


def _mark(axes: Axes, numbers: Sequence[int], *, up: bool) -> None:
    """Mark the trials that have no value, at the edge where bad values are."""
    if numbers:
        axes.plot(
            numbers, [0.975 if up else 0.025] * len(numbers), "|", color=COLOURS["failed"], ms=9,
            mew=1.8, transform=axes.get_xaxis_transform(), label="failed",
        )  # fmt: skip


def learning_figure(found: Snapshot) -> Figure | None:
    """Draw what each trial reported while it was trained, and where it was ended early.

    Returns:
        The figure; None where no trial reported anything, as with several goals.
    """
    drawn = [t for t in found.of("complete", "pruned", "running") if t.intermediate_values]
    if not drawn or len(found.definition.goals) > 1:
        return None
    best = found.best[0].number if found.best else -1
    figure = Figure(figsize=(7.4, 4.0), layout="constrained")
    axes = figure.subplots()
    order: tuple[Standing, ...] = ("pruned", "complete", "running")
    drawn.sort(key=lambda t: (t.number == best, order.index(found.standings[t.number])))
    for trial in drawn:
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        how = found.standings[trial.number]
        first = trial.number == best
        axes.plot(
            steps, values, color=INK if first else COLOURS[how], lw=2.2 if first else 1.0,
            alpha=1.0 if first else 0.6, marker="o" if len(steps) == 1 else None, ms=3,
            label=f"best: trial {best}" if first else how,
        )  # fmt: skip
        if how == "pruned":
            axes.plot(steps[-1], values[-1], "x", color="#7a7a7a", ms=5, mew=1.4)
    every = [value for trial in drawn for value in trial.intermediate_values.values()]
    if any(map(math.isfinite, every)):
        scale_of(every, sign_of(found.definition.goals[0])).apply(axes)
    axes.set_xlabel(_counted(found.definition))
    axes.set_ylabel(plain_text(found.definition.goals[0].metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes, "both")
    one_legend(figure, axes)
    return figure


def _counted(definition: Definition) -> str:
    """Return what the steps of a trial's reports are."""
    if definition.repeats == 1:
        return "epoch"
    if definition.repeats in (definition.seeds, definition.folds):
        return f"{'seeds' if definition.folds == 1 else 'folds'} so far"
    return "runs so far"


def timeline_figure(found: Snapshot) -> Figure | None:
    """Draw when each worker ran which trial, the commands one after the other.

    Returns:
        The figure; None where no worker ran anything, or too many for a figure did.
    """
    parts = commands(found)
    rows = max((len(part.lanes) for part in parts), default=0)
    width = sum((part.end - part.start).total_seconds() for part in parts)
    if not 0 < rows <= _MOST_LANES or width <= 0:
        return None
    unit, name = _unit(width)
    figure = Figure(figsize=(9.0, 1.4 + 0.3 * max(2, rows)), layout="constrained")
    axes = figure.subplots()
    starts: list[float] = []
    at = 0.0
    for part in parts:
        _draw_command(axes, found, part, at, unit)
        starts.append(at / unit)
        at += (part.end - part.start).total_seconds() + _BREAK * width
    for start in starts[1:]:
        axes.axvline(start - _BREAK * width / unit / 2, color=INK, lw=1, ls=":")
    axes.set_yticks(range(rows), _lane_names(parts, rows), fontsize=8)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(0, (at - _BREAK * width) / unit)
    gaps = ", pauses between commands left out (dotted)" if len(parts) > 1 else ""
    axes.set_xlabel(f"{name} since the first trial{gaps}")
    used = utilisation(found)
    axes.set_title("" if used is None else f"busy {used:.0%} of the time", loc="left", fontsize=10)
    plain(axes, "x")
    one_legend(figure, axes)
    return figure


def _draw_command(axes: Axes, found: Snapshot, part: Command, at: float, unit: float) -> None:
    for row, (_, lane) in enumerate(part.lanes):
        for trial in lane:
            assert trial.datetime_start is not None
            begins = at + (trial.datetime_start - part.start).total_seconds()
            how = found.standings[trial.number]
            axes.barh(
                row, (seconds(trial, found.taken) or 0.0) / unit, left=begins / unit, height=0.72,
                color=COLOURS[how], edgecolor="white", linewidth=0.5, label=how,
            )  # fmt: skip


def _lane_names(parts: Sequence[Command], rows: int) -> list[str]:
    """Name the rows by their workers where each is one's own, else by their places."""
    if len(parts) > 1:
        return [f"{row + 1}" for row in range(rows)]
    owners = [owner for owner, _ in parts[0].lanes]
    places = [owners[:row].count(owner) + 1 for row, owner in enumerate(owners)]
    several = {owner for owner in owners if owners.count(owner) > 1}
    return shown(
        [
            f"{owner} #{place}" if owner in several else owner
            for owner, place in zip(owners, places, strict=True)
        ]
    )


def _unit(width: float) -> tuple[float, str]:
    if width < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if width < 3 * 3600 else (3600.0, "hours")
