"""``dlframe study best`` and ``trials``: trials of a study, and how to train one again."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.cli.study_parts import of_one, read, where
from dlframe.cli.table import print_facts, print_table
from dlframe.errors import ConfigError
from dlframe.tracking.where import root_option

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from dlframe.sweep.snapshot import Snapshot

__all__ = ["best", "trials"]

_SHOWN = 50


def best(argv: list[str]) -> int:
    """Show the best trial, or print what trains it."""
    parser = of_one(
        "best",
        "Show a study's best trial, its run, and how to train it again; of several goals the trials "
        "that no other one beats in all. --command prints nothing but the command that trains it: "
        'eval "$(dlframe study best NAME --command)" runs it.',
        "mlp-digits --command",
        "mlp-digits --trial 17",
    )
    parser.add_argument("--command", action="store_true", help="print one command line only")
    parser.add_argument("--trial", type=int, metavar="N", help="this trial instead of the best")
    arguments = parser.parse_args(argv)
    found = read(arguments)
    from dlframe.sweep.rows import command, overrides, row

    chosen = _chosen(found, arguments.trial)
    if arguments.command:
        if len(chosen) > 1:
            raise ConfigError(
                f"{len(chosen)} trials of the study {found.name!r} are on its Pareto front; choose one "
                f"with --trial: {', '.join(str(trial.number) for trial in chosen)}"
            )
        print(shlex.join(command(found, chosen[0])))
    elif arguments.json:
        rows = [
            {**row(found, t), "overrides": overrides(found, t),
             "command": shlex.join(command(found, t))}
            for t in chosen
        ]  # fmt: skip
        print(json.dumps({"study": found.name, "trials": rows}, indent=1))
    elif len(chosen) > 1:
        _print_trials(found, chosen)
        again = f"dlframe study best {shlex.quote(found.name)} --trial N --command"
        print_facts([("train one", f"{again}{where(arguments)}")])
    else:
        print_facts(_one(found, chosen[0], arguments))
    return 0


def _chosen(found: "Snapshot", number: int | None) -> "list[FrozenTrial]":
    if number is not None:
        chosen = [trial for trial in found.trials if trial.number == number]
        if not chosen:
            raise ConfigError(
                f"the study {found.name!r} has no trial {number}; `dlframe study trials {found.name}` "
                "lists them"
            )
        return chosen
    if not found.best:
        name, complete = found.name, found.numbers.complete
        if complete:
            raise ConfigError(
                f"none of the {complete} trials of the study {name!r} that completed keeps to its "
                f"constraints; `dlframe study trials {name}` lists them"
            )
        raise ConfigError(
            f"no trial of the study {name!r} has completed; `dlframe study status {name}` says how it "
            "stands"
        )
    return found.best


def _one(
    found: "Snapshot", trial: "FrozenTrial", arguments: argparse.Namespace
) -> Iterator[tuple[str, str]]:
    from dlframe.sweep.hints import train_best
    from dlframe.sweep.marks import UID
    from dlframe.sweep.rows import command, named_values, params

    yield "study", found.name
    yield "trial", f"{trial.number} ({found.standings[trial.number]})"
    for metric, value in named_values(found, trial).items():
        yield metric, f"{value:.6g}"
    yield from params(found, trial).items()
    uid, place = trial.user_attrs.get(UID), root_option(Path(found.definition.root))
    if uid is not None:
        yield "run", uid
        yield "look", f"dlframe runs show {uid}{place}"
        yield "predict", f"dlframe predict {uid} FILE{place}"
    label = "train it"
    if found.best == [trial]:
        yield label, train_best(found.definition, arguments.storage)
        label = "or"
    yield label, shlex.join(command(found, trial))


def trials(argv: list[str]) -> int:
    """List trials."""
    parser = of_one(
        "trials",
        "List the trials of a study with their values, in their order. Those that were asked for in "
        "vain are left out.",
        "mlp-digits --state failed",
        "mlp-digits --json",
    )
    states = ("complete", "pruned", "failed", "retried", "running", "waiting")
    parser.add_argument("--state", choices=states, help="only trials that stand like this")
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"the last N; 0 is all (default: {_SHOWN}, with --json "
        "all)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    found = read(arguments)
    chosen = found.of(arguments.state) if arguments.state else list(found.trials)
    limit = arguments.limit if arguments.limit is not None else 0 if arguments.json else _SHOWN
    shown = chosen[-limit:] if limit > 0 else chosen
    if arguments.json:
        from dlframe.sweep.rows import row

        print(json.dumps([row(found, trial) for trial in shown], indent=1))
        return 0
    if shown:
        _print_trials(found, shown)
    if len(shown) < len(chosen):
        print(
            f"dlframe: {len(shown)} of {len(chosen)} trials; --limit 0 shows all", file=sys.stderr
        )
    return 0


def _print_trials(found: "Snapshot", chosen: "Sequence[FrozenTrial]") -> None:
    from dlframe.sweep.pace import told
    from dlframe.sweep.rows import row, short

    rows = []
    for trial in chosen:
        own = row(found, trial)
        state = (
            f"{own['state']} ({own['reason']})"
            if own["reason"] not in (None, "pruned")
            else own["state"]
        )
        values = [f"{v:.4g}" for v in own["values"].values()] or [""] * len(found.definition.goals)
        took = "" if own["seconds"] is None else told(own["seconds"])
        rows.append(
            [str(trial.number), state, *values, took, own["run"] or "", short(found, trial)]
        )
    goals = [goal.metric for goal in found.definition.goals]
    print_table(["trial", "state", *goals, "time", "run", "params"], rows)
