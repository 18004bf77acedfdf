"""``dlframe runs``: recorded runs as a list, one of them in full, and closing those that are gone."""

import argparse
import json
import math
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser
from dlframe.errors import ConfigError, RunNotFoundError, StorageError, did_you_mean

if TYPE_CHECKING:
    from dlframe.analysis.overview import Listed
    from dlframe.tracking.reap import Left

__all__ = ["run"]

_STATES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_SHOWN = 20
_ENDLESS, _WIDE = 100_000, 120


def run(argv: list[str]) -> int:
    """List runs, or do what the first word says: ``show`` or ``reap``."""
    if argv[:1] == ["show"]:
        from dlframe.cli.runs_show import run as show

        return show(argv[1:])
    if argv[:1] == ["reap"]:
        return _reap(argv[1:])
    arguments = _parser().parse_intermixed_args(argv)
    listed, notes = _read(arguments)
    metric = None
    chosen, why = _filtered(listed, arguments)
    notes += [] if why is None else [f"no run is selected; {why}"]
    if arguments.sort:
        metric, chosen = _sorted(chosen, arguments.sort)
    limit = arguments.limit if arguments.limit is not None else 0 if arguments.json else _SHOWN
    shown = chosen[:limit] if limit > 0 else chosen
    if arguments.json:
        print(json.dumps([_plain(each, metric) for each in shown], indent=1))
    else:
        members = Counter(each.run.parent for each in listed)
        if shown:
            _print(shown, metric, members, by_default=arguments.uri is None)
        if len(shown) < len(chosen):
            notes.append(f"{len(shown)} of {len(chosen)} runs; --limit 0 shows all")
        if gone := sum(each.gone for each in chosen):
            notes.append(f"the process of {gone} runs is gone; `dlframe runs reap` closes them")
    for note in notes:
        print(f"dlframe: {note}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "runs",
        "List recorded runs, newest first: id, status, start, the metric that says most, name, and "
        "what was chosen otherwise than by default. A filter is a key, one of = != < <= > >= and a "
        "value; keys are config options, status, experiment, and metrics as metrics.NAME; all "
        "filters must hold. `dlframe runs show RUN` shows one run in full, `dlframe runs reap` "
        "closes runs whose process is gone.",
        "",
        "optimizer=adam 'optimizer.lr>1e-3' 'metrics.best/val_accuracy>0.9'",
        "--status failed --limit 5",
        "--sort test/accuracy --json",
        "show last",
        "reap",
    )
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="such as 'optimizer.lr>1e-3'")
    parser.add_argument("--experiment", help="only runs of this experiment")
    parser.add_argument(
        "--status", type=str.upper, choices=_STATES, help="only runs that stand like this"
    )
    parser.add_argument(
        "--sort", metavar="METRIC", help="best first by this metric; METRIC:min or METRIC:max where "
        "its name does not tell which is better",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"the first N; 0 is all (default: {_SHOWN}, with "
        "--json all)",
    )  # fmt: skip
    _add_place(parser)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--uri", help="read this MLflow store instead of the folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _read(arguments: argparse.Namespace) -> "tuple[list[Listed], list[str]]":
    """Return all runs, newest first, and what is to be said of the reading."""
    from dlframe.analysis.overview import differing, list_root
    from dlframe.analysis.select import metrics_in

    root = Path(arguments.root)
    if arguments.uri is not None:
        from dlframe.analysis.remote import read_store
        from dlframe.tracking.launch import resolve_uri

        found = read_store(resolve_uri(arguments.uri, root), arguments.experiment)
        listed = differing(sorted(found, key=lambda run: -run.created))
        notes: list[str] = []
    else:
        wanted = [*metrics_in(arguments.filters), *_without_goal(arguments.sort)]
        listed, notes = list_root(root, wanted)
    if not listed and not notes:
        place = repr(arguments.uri or arguments.root)
        raise RunNotFoundError(
            f"there are no runs in {place}; train one with `dlframe train`, or say where they are with "
            "--root or --uri"
        )
    return listed, notes


def _without_goal(metric: str | None) -> list[str]:
    """Return the name of the metric to sort by, if any."""
    if metric is None:
        return []
    name, _, goal = metric.rpartition(":")
    return [name if goal in ("min", "max") else metric]


def _filtered(
    listed: "list[Listed]", arguments: argparse.Namespace
) -> "tuple[list[Listed], str | None]":
    """Return the runs that were asked for; where there are none, also why."""
    from dlframe.analysis.select import nothing_passes, passing

    if arguments.experiment is not None:
        known = {each.run.experiment for each in listed}
        if arguments.experiment not in known:
            raise ConfigError(
                f"no run here is of experiment {arguments.experiment!r}; "
                f"{did_you_mean(arguments.experiment, known)}there are {', '.join(sorted(known))}"
            )
        listed = [each for each in listed if each.run.experiment == arguments.experiment]
    status = [] if arguments.status is None else [f"status={arguments.status}"]
    runs, filters = [each.run for each in listed], [*status, *arguments.filters]
    left = {run.id for run in passing(runs, filters)}
    why = None if left else nothing_passes(runs, filters)
    return [each for each in listed if each.run.id in left], why


def _sorted(listed: "list[Listed]", word: str) -> "tuple[str, list[Listed]]":
    from dlframe.analysis.goals import goal_of

    metric, goal = goal_of(word, [each.run for each in listed])
    measured = {each.run.id: each.run.metrics.get(metric, math.nan) for each in listed}
    if listed and all(map(math.isnan, measured.values())):
        known = {name for each in listed for name in each.run.metrics}
        raise ConfigError(
            f"no run has a value of {metric!r} to sort by; {did_you_mean(metric, known)}`dlframe runs "
            "show RUN` lists a run's metrics"
        )
    if goal is None:
        raise ConfigError(
            f"whether small or large values of {metric!r} are better is not known; write --sort "
            f"{metric}:min or {metric}:max"
        )
    sign = 1.0 if goal == "min" else -1.0

    def rank(each: "Listed") -> float:
        value = measured[each.run.id]
        return math.inf if math.isnan(value) else sign * value

    return metric, sorted(listed, key=rank)


def _headline(each: "Listed", metric: str | None) -> tuple[str, float] | None:
    from dlframe.analysis.overview import headline_of

    name = metric or headline_of(each.run)
    value = each.run.metrics.get(name) if name is not None else None
    return None if name is None or value is None else (name, value)


def _plain(each: "Listed", metric: str | None) -> dict[str, Any]:
    run, headline = each.run, _headline(each, metric)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "gone": each.gone,
        "experiment": run.experiment,
        "started": run.created / 1000,
        "metric": headline[0] if headline else None,
        "value": headline[1] if headline else None,
        "differs": dict(each.differs),
        "parent": run.parent,
        "multirun": run.group,
        "mlflow_run_id": run.mlflow_run_id,
    }


def _print(
    listed: "list[Listed]", metric: str | None, members: Counter[str | None], *, by_default: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe gets each run on a line of its own, however long.
    console = Console(width=None if sys.stdout.isatty() else _ENDLESS)
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("id", "status", "started", "metric", "", *(["name"] if wide else [])):
        table.add_column(title, no_wrap=True, justify="left" if title else "right")
    others = "the defaults" if by_default else "most runs"
    table.add_column(f"differs from {others}", overflow="fold")
    for each in listed:
        run, headline = each.run, _headline(each, metric)
        name, value = (headline[0], f"{headline[1]:.4g}") if headline else ("", "")
        date = "%Y-%m-%d %H:%M" if wide else "%m-%d %H:%M"
        started = time.strftime(date, time.localtime(run.created / 1000))
        status = "gone" if each.gone else run.status.lower()
        differs = " ".join(f"{key}={value}" for key, value in each.differs)
        if run.group:
            differs = f"multirun of {members[run.id]} runs"
        cells = (run.id, status, started, name, value, *([run.name] if wide else []), differs)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _reap(argv: list[str]) -> int:
    parser = command_parser(
        "runs reap",
        "Close runs whose process is gone: those in the folder, and those that say RUNNING in MLflow, "
        "were recorded by you on this host, and that no process records. They become KILLED.",
        "",
        "--uri http://localhost:5000 --json",
    )
    _add_place(parser)
    arguments = parser.parse_args(argv)
    from dlframe.tracking.reap import reap_root

    root = Path(arguments.root).absolute()
    closed = reap_root(root) if root.is_dir() else []
    problem: str | None = None
    left: list[Left] = []
    try:  # what was closed in the folder is to be said in any case
        left = _reap_store(root, arguments.uri)
    except StorageError as error:
        problem = str(error)
    if arguments.json:
        print(json.dumps({"closed": [*closed, *(each.id for each in left if each.closed)],
                          "left": {e.id: e.reason for e in left if not e.closed},
                          "error": problem}))  # fmt: skip
        return int(problem is not None)
    for uid in closed:
        print(f"{uid}  closed: its process is gone")
    for each in left:
        print(f"{each.id}  {'closed in MLflow' if each.closed else 'left alone'}: {each.reason}")
    if problem is not None:
        raise StorageError(problem)
    if not closed and not left:
        print("no run is without its process")
    return 0


def _reap_store(root: Path, uri: str | None) -> "list[Left]":
    from dlframe.tracking.reap import reap_store
    from dlframe.tracking.stores import file_of, store_of

    try:
        store = store_of(root, uri).uri
    except RunNotFoundError:  # nothing was ever recorded here
        return []
    path = file_of(store)
    if uri is None and path is not None and not path.is_file():  # nothing was delivered yet
        return []
    return reap_store(store, root)
