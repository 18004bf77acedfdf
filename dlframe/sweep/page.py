"""A study as one HTML page that needs nothing else; it looks like that of a comparison."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.metadata import version
from typing import NamedTuple

from matplotlib.figure import Figure
from optuna.trial import FrozenTrial

import dlframe
from dlframe.analysis.page import html_image, html_list, html_page, html_table
from dlframe.analysis.tables import NONE, Table, number
from dlframe.sweep.definition import Chosen, Goal
from dlframe.sweep.goals import title_of
from dlframe.sweep.importance import Importances
from dlframe.sweep.marks import SAID, UID, reason
from dlframe.sweep.pace import busy_seconds, told, utilisation
from dlframe.sweep.repetitions import words
from dlframe.sweep.rows import command, params, row
from dlframe.sweep.snapshot import Snapshot
from dlframe.sweep.space_words import describe
from dlframe.tracking.provenance import command_line
from dlframe.tracking.redaction import redacted_values

__all__ = ["Drawn", "best_table", "page"]

_MOST_ROWS = 1000
_MOST_BEST = 50


class Drawn(NamedTuple):
    """A figure of the page.

    Args:
        name: of its file.
        title: its heading.
        said: what is to be known of it.
        figure: the figure.
    """

    name: str
    title: str
    said: str
    figure: Figure


def page(found: Snapshot, drawn: Sequence[Drawn], shares: Importances | None) -> str:
    """Return the page of a study.

    Args:
        found: the study.
        drawn: its figures.
        shares: the importances, if there are any.
    """
    heading = f"Study {found.name}"
    parts = [f"<h1>{escape(heading)}</h1>", f'<p class="line">{escape(_line(found))}</p>']
    parts += _best(found)
    for each in drawn:
        parts.append(f"<h2>{escape(each.title)}</h2>")
        parts += [f"<p>{escape(each.said)}</p>"] if each.said else []
        parts.append(html_image(each.figure, each.title))
        if each.name == "importances" and shares is not None and shares.notes:
            parts.append(html_list(shares.notes))
    if found.of("failed", "retried"):
        parts += ["<h2>Failures</h2>", html_table(_failures(found))]
    parts += ["<h2>What was searched</h2>", html_table(_space(found))]
    parts += ["<h2>Trials</h2>", html_table(_trials(found), narrow=True)]
    if len(found.trials) > _MOST_ROWS:
        parts.append(f"<p>The first {_MOST_ROWS} trials; all are in <code>trials.csv</code>.</p>")
    parts += ["<h2>How this was made</h2>", html_list(_made(found))]
    return html_page(heading, parts)


def best_table(found: Snapshot, most: int = _MOST_BEST) -> Table:
    """Return the best trial, one thing a row; of several goals the Pareto front, one trial a row.

    Args:
        found: the study.
        most: how many trials of a front.
    """
    if len(found.definition.goals) == 1:
        [trial] = found.best
        rows = [
            *([title_of(goal), f"{value:.6g}"] for goal, value in _results(found, trial)),
            *([name, text] for name, text in params(found, trial).items()),
            ["run", trial.user_attrs.get(UID, NONE)],
        ]
        return Table("", ["", f"trial {trial.number}"], rows, words=2)
    best = found.best[:most]
    chosen = [params(found, trial) for trial in best]
    names = [own.name for own in found.definition.space if any(own.name in each for each in chosen)]
    rows = [
        [
            str(trial.number), *(number(value) for _, value in _results(found, trial)),
            *(each.get(name, NONE) for name in names), trial.user_attrs.get(UID, NONE),
        ]
        for trial, each in zip(best, chosen, strict=True)
    ]  # fmt: skip
    columns = ["trial", *map(title_of, found.definition.goals), *names, "run"]
    return Table("", columns, rows, words=len(columns))


def _results(found: Snapshot, trial: FrozenTrial) -> list[tuple[Goal, float]]:
    return list(zip(found.definition.goals, trial.values or (), strict=False))


def _line(found: Snapshot) -> str:
    return f"{found.numbers.line()}; {told(busy_seconds(found))} of training"


def _best(found: Snapshot) -> Iterator[str]:
    several = len(found.definition.goals) > 1
    yield f"<h2>{'Best trials' if several else 'Best trial'}</h2>"
    if not found.best:
        kept = " that keeps to all constraints" if found.of("complete") else ""
        yield f"<p>No trial{kept} has completed yet.</p>"
        return
    if several:
        yield "<p>No other trial beats one of these in all goals.</p>"
    yield html_table(best_table(found), narrow=True)
    if len(found.best) > _MOST_BEST:
        yield f"<p>The first {_MOST_BEST}; all are in <code>pareto.yaml</code>.</p>"
    if several:
        yield "<p>To train one again, this prints the command:</p>"
        yield f"<pre>dlframe study best {escape(found.name)} --trial N --command</pre>"
    else:
        yield "<p>To train it again:</p>"
        yield f"<pre>{escape(command_line(command(found, found.best[0])))}</pre>"


def _failures(found: Snapshot) -> Table:
    failed = found.of("failed", "retried")
    why = Counter(str(reason(trial) or "unknown") for trial in failed)
    rows = []
    for name, count in why.most_common():
        of = [trial for trial in failed if (reason(trial) or "unknown") == name]
        again = sum(found.standings[trial.number] == "retried" for trial in of)
        said = next((t.user_attrs[SAID] for t in of if t.user_attrs.get(SAID)), "")
        rows.append([name, redacted_values(str(said)), str(count), str(again)])
    return Table("", ["reason", "for example", "trials", "begun again"], rows, words=2)


def _space(found: Snapshot) -> Table:
    rows = [list(line) for line in describe(found.definition.space)]
    return Table("", ["dimension", "values", "where"], rows, words=3)


def _trials(found: Snapshot) -> Table:
    """Return all trials, those with the best values marked by their state."""
    goals = [goal.metric for goal in found.definition.goals]
    names = [own.name for own in found.definition.space]
    best = {trial.number for trial in found.best}
    rows = []
    for trial in found.trials[:_MOST_ROWS]:
        own, chosen = row(found, trial), params(found, trial)
        state = "best" if trial.number in best else own["state"]
        why = own["reason"] if own["state"] in ("failed", "retried") else None
        if own["broken"]:
            state = "breaks a constraint"
        rows.append(
            [
                str(trial.number), f"{state}: {why}" if why else state,
                *(number(own["values"].get(goal)) for goal in goals),
                *(chosen.get(name, NONE) for name in names), _cell(own["epochs"]),
                NONE if own["seconds"] is None else told(own["seconds"]), own["run"] or NONE,
            ]
        )  # fmt: skip
    columns = ["trial", "state", *goals, *names, "epochs", "time", "run"]
    return Table("", columns, rows, words=len(columns))


def _cell(value: int | None) -> str:
    return NONE if value is None else str(value)


def _made(found: Snapshot) -> Iterator[str]:
    definition = found.definition
    for goal in definition.goals:
        yield f"goal: {goal.direction} {goal.metric}"
    for text in definition.constraints:
        yield f"constraint: {text}"
    seed = "drawn" if definition.seed is None else str(definition.seed)
    yield f"sampler: {_chosen(definition.sampler)}, seed {seed}"
    yield f"pruner: {_chosen(definition.pruner) if definition.pruner else 'none'}"
    if definition.repeats > 1:
        yield f"each trial is the mean of {definition.repeats} runs: {words(definition)}"
    if definition.fixed:
        yield f"shared by all trials: {' '.join(redacted_values(list(definition.fixed)))}"
    used = utilisation(found)
    if used is not None:
        yield f"workers were busy {used:.0%} of their time"
    versions = ", ".join(f"{name} {version(name)}" for name in ("optuna", "matplotlib"))
    yield f"dlframe {dlframe.__version__}, {versions}; {time.strftime('%Y-%m-%d %H:%M %Z')}"


def _chosen(part: Chosen) -> str:
    options: Mapping[str, object] = part.options
    told_options = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{part.component} ({told_options})" if told_options else part.component
