"""``dlframe study``: studies as a list; how one stands, its files, its failures begun again."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser
from dlframe.cli.study_best import best, trials
from dlframe.cli.study_parts import add_place, of_one, read, study_of, where
from dlframe.cli.table import Cells, print_facts, print_table
from dlframe.errors import ConfigError, DlframeError, did_you_mean

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from dlframe.sweep.snapshot import Snapshot

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """List studies, or do what the first word says of one."""
    if not argv or argv[0].startswith("-"):
        return _list(argv)
    name, *rest = argv
    if name not in _ACTIONS:
        raise ConfigError(
            f"there is no `dlframe study {name}`; {did_you_mean(name, _ACTIONS)}there are "
            f"{', '.join(_ACTIONS)}"
        )
    return _ACTIONS[name](rest)


# --- all studies ----------------------------------------------------------------------------------


def _list(argv: list[str]) -> int:
    parser = command_parser(
        "study",
        "List studies: how many of their trials are done, how they stand, and their best values. "
        "`dlframe study status NAME` says more of one (the beginning of its name will do), `best` "
        "shows its best trial and how to train that again, `trials` all trials, `importance` what "
        "mattered; `export` writes tables, figures and a page, `retry` begins failed trials again. "
        "`dlframe train sweep=tpe ...` makes a study.",
        "",
        "status mlp-digits",
        "best mlp-digits --command",
        "trials mlp-digits --state failed",
        "importance mlp-digits",
        "export mlp-digits --out figures",
        "retry mlp-digits --trial 7 9",
    )
    add_place(parser)
    arguments = parser.parse_args(argv)
    from dlframe.sweep.snapshot import snapshot
    from dlframe.sweep.storage import find_study, study_names

    root = Path(arguments.root)
    found: list[Snapshot] = []
    notes: list[str] = []
    for name in study_names(root, arguments.storage):
        try:
            found.append(snapshot(find_study(name, root, arguments.storage)))
        except DlframeError as error:  # it says nothing of the others
            notes.append(f"{name}: {error}")
    if arguments.json:
        print(json.dumps([_listed(each) for each in found], indent=1))
    elif found:
        header = ["study", "trials", "state", "best", "goal"]
        print_table(header, [_line(each) for each in found])
    for note in notes:
        print(f"dlframe: {note}", file=sys.stderr)
    if not found and not notes:
        place = repr(arguments.storage or arguments.root)
        print(
            f"dlframe: there are no studies in {place}; begin one with `dlframe train "
            "sweep=tpe ...`, or say where they are with --root or --storage",
            file=sys.stderr,
        )
    return 0


def _listed(found: "Snapshot") -> dict[str, Any]:
    from dlframe.sweep.rows import named_values

    return {
        "study": found.name,
        "state": _state(found),
        **found.numbers.plain(),
        "goals": {goal.metric: goal.direction for goal in found.definition.goals},
        "best": [{"trial": t.number, "values": named_values(found, t)} for t in found.best],
        "folder": str(found.folder),
    }


def _line(found: "Snapshot") -> Cells:
    numbers = found.numbers
    trials = f"{numbers.done}" if numbers.total is None else f"{numbers.done}/{numbers.total}"
    goals = found.definition.goals
    if len(goals) > 1:
        best = f"{len(found.best)} on the front" if found.best else ""
    else:
        values = found.best[0].values if found.best else None
        best = f"{values[0]:.4g} (trial {found.best[0].number})" if values else ""
    told = ", ".join(f"{goal.direction} {goal.metric}" for goal in goals)
    return [found.name, trials, _state(found), best, told]


def _state(found: "Snapshot") -> str:
    if found.numbers.running:
        from dlframe.sweep.workers import is_gone

        return "interrupted" if all(is_gone(found, t) for t in found.of("running")) else "running"
    return "done" if found.numbers.left == 0 else "unfinished"


# --- one study ------------------------------------------------------------------------------------


def _status(argv: list[str]) -> int:
    arguments = of_one(
        "status",
        "Say how a study stands: its trials, the best one, those at work with their workers, how long "
        "the rest will take, and why trials failed.",
    ).parse_args(argv)
    found = read(arguments)
    from dlframe.sweep.pace import busy_seconds, pace, told, utilisation
    from dlframe.sweep.rows import best_lines, row, short
    from dlframe.sweep.workers import is_gone

    speed, used = pace(found), utilisation(found)
    running = [
        {**row(found, trial), "gone": is_gone(found, trial), "latest": _latest(trial)}
        for trial in found.of("running")
    ]
    if arguments.json:
        best = [row(found, trial) for trial in found.best]
        more = {"per_hour": speed.per_hour, "seconds_left": speed.left, "utilisation": used,
                "busy_seconds": busy_seconds(found)}  # fmt: skip
        print(json.dumps({**_listed(found), "best": best, "running_trials": running, **more}))
        return 0
    facts = [("study", found.name), ("trials", found.numbers.line())]
    facts += [("goal", f"{goal.direction} {goal.metric}") for goal in found.definition.goals]
    facts += [("best", text) for text in best_lines(found)]
    rate = f"{speed.per_hour:.3g} trials an hour" if speed.per_hour is not None else ""
    coming = speed.left is not None and _state(found) == "running"
    left = f"about {told(speed.left or 0.0)} left" if coming else ""
    busy = f"workers busy {used:.0%} of their time" if used is not None else ""
    if pieces := ", ".join(filter(None, (rate, left, busy))):
        facts.append(("pace", pieces))
    facts += list(_reasons(found))
    facts.append(("folder", str(found.folder)))
    if found.best:
        again = f"dlframe study best {shlex.quote(found.name)}{where(arguments)}"
        facts.append(("more", again))
    print_facts(facts)
    if running:
        print()
        header = ["running", "for", "latest", "worker", "params"]
        cells = [
            [*_running(own, told), short(found, trial)]
            for own, trial in zip(running, found.of("running"), strict=True)
        ]
        print_table(header, cells)
    return 0


def _running(own: dict[str, Any], told: Callable[[float], str]) -> Cells:
    worker = f"{own['worker'] or 'unknown'}{' (gone)' if own['gone'] else ''}"
    since = "" if own["seconds"] is None else told(own["seconds"])
    return [str(own["trial"]), since, own["latest"], worker]


def _latest(trial: "FrozenTrial") -> str:
    if not trial.intermediate_values:
        return ""
    step = max(trial.intermediate_values)
    return f"{trial.intermediate_values[step]:.4g} at {step}"


def _reasons(found: "Snapshot") -> Iterator[tuple[str, str]]:
    from dlframe.sweep.marks import SAID, reason

    for why, count in found.numbers.reasons.items():
        of = [t for t in found.of("failed") if (reason(t) or "unknown") == why]
        said = next((str(t.user_attrs[SAID]) for t in reversed(of) if t.user_attrs.get(SAID)), "")
        last = f"trial {of[-1].number}" + (f": {' '.join(said.split())}" if said else "")
        yield "failed", f"{count} {why}, such as {last}"


def _importance(argv: list[str]) -> int:
    arguments = of_one(
        "importance",
        "Say which dimensions of the search decided how good a trial was (PED-ANOVA, over the "
        "completed trials).",
    ).parse_args(argv)
    found = read(arguments)
    from dlframe.sweep.importance import LEAST, importances

    shares = importances(found)
    if shares is None:
        raise ConfigError(
            f"importances need {LEAST} completed trials; the study {found.name!r} has "
            f"{found.numbers.complete}; give it a larger hydra.sweeper.n_trials"
        )
    if arguments.json:
        print(json.dumps({"study": found.name, **shares.plain()}, indent=1))
        return 0
    print_table(
        ["dimension", "importance"], [[name, f"{v:.1%}"] for name, v in shares.shares.items()]
    )
    for note in shares.notes:
        print(f"dlframe: {note}", file=sys.stderr)
    return 0


def _export(argv: list[str]) -> int:
    parser = of_one(
        "export",
        "Write what came out of a study: best.yaml (or pareto.yaml), trials.csv, importances.json, "
        "failures.md, figures as PNG files, and report.html, a page with all of it.",
        "mlp-digits --out figures",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to (default: the study's folder)")
    arguments = parser.parse_args(argv)
    found = read(arguments)
    from dlframe.sweep.plots import export

    paths = export(found, Path(arguments.out) if arguments.out else found.folder)
    if arguments.json:
        print(json.dumps([str(path) for path in paths], indent=1))
    else:
        print("\n".join(map(str, paths)))
    return 0


def _retry(argv: list[str]) -> int:
    parser = of_one(
        "retry",
        "Have failed trials of a study begun again, those included whose training raised an error: "
        "first mend that. They wait for the next worker; where none is at work, the command that began "
        "the study goes on with them.",
        "mlp-digits --trial 7 9",
    )
    parser.add_argument("--trial", type=int, nargs="+", metavar="N", help="these only")
    arguments = parser.parse_args(argv)
    study = study_of(arguments)
    from dlframe.sweep.again import begin_again
    from dlframe.sweep.snapshot import snapshot

    begun = begin_again(study, arguments.trial)
    if arguments.json:
        told = [{"trial": old, "begun_again_as": new} for old, new in begun.items()]
        print(json.dumps({"study": study.study_name, "retried": told}))
        return 0
    for old, new in begun.items():
        print(f"trial {old} is begun again as trial {new}")
    if not begun:
        print(f"no trial of the study {study.study_name} is to be begun again")
    elif not snapshot(study).numbers.running:
        print("no worker is at work; the command that began the study goes on with them")
    return 0


# --- parts ----------------------------------------------------------------------------------------

_ACTIONS: dict[str, Callable[[list[str]], int]] = {
    "status": _status,
    "best": best,
    "trials": trials,
    "importance": _importance,
    "export": _export,
    "retry": _retry,
}
