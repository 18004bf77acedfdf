"""``dlframe runs show``: one recorded run in full."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser
from dlframe.cli.recorded import add_run_arguments
from dlframe.errors import RunNotFoundError
from dlframe.tracking.where import root_option

if TYPE_CHECKING:
    from dlframe.analysis.runs import RunData

__all__ = ["run"]

_DIAGNOSIS = "dlframe.diagnosis"
_SUMMARIES = ("test/", "best/", "final/", "cost/")


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A run with what only its folder, or only MLflow, says of it."""

    run: "RunData"
    differs: list[tuple[str, str, str]]
    uri: str
    experiment_id: str | None
    note: str | None
    error: str | None = None
    folder: Path | None = None
    gone: bool = False


def run(argv: list[str]) -> int:
    """Print what is known of the run."""
    parser = command_parser(
        "runs show",
        "Show a recorded run: how it stands, what differs from the defaults, its metrics, its folder, "
        "and where it is in MLflow. `last` is the latest run. With --uri, an MLflow store is read "
        "instead of the folder.",
        "last",
        "20261121-093412-k3x9 --json",
    )
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    found = _remote(arguments) if arguments.uri is not None else _local(arguments)
    if arguments.json:
        print(json.dumps(_plain(found), indent=1))
    else:
        _print(found, Path(arguments.root))
    return 0


def _local(arguments: argparse.Namespace) -> _Found:
    from contextlib import closing

    from dlframe.analysis.runs import read_local
    from dlframe.tracking.launch import resolve_uri
    from dlframe.tracking.note import Facts, render
    from dlframe.tracking.runs import find_folder
    from dlframe.tracking.spool import FILE, Spool, is_claimed

    root = Path(arguments.root).absolute()
    folder = find_folder(arguments.run, root)
    if not (folder / FILE).is_file():
        raise RunNotFoundError(
            f"run {folder.name!r} was trained without being recorded (tracking.enabled=false); its "
            f"config is {str(folder / 'config.yaml')!r}"
        )
    read = read_local(folder)
    with closing(Spool(folder)) as spool:
        uri = resolve_uri(spool.info().uri, root)
        state = spool.cursor("mlflow", uri).state
        last = spool.latest("finish")
    facts = Facts.read(folder)
    error = last.body["error"] if last is not None and read.status != "RUNNING" else None
    note = None
    if facts is not None:
        note = render(facts, status=read.status, error=error, metrics=read.metrics)
    return _Found(
        run=read,
        differs=list(facts.differences) if facts else _typed(folder),
        uri=uri,
        experiment_id=state.get("experiment_id"),
        note=note,
        error=error,
        folder=folder,
        gone=read.status == "RUNNING" and not is_claimed(folder),
    )


def _typed(folder: Path) -> list[tuple[str, str, str]]:
    from dlframe.analysis.overview import recorded_differences

    return [(option, value, "") for option, value in recorded_differences(folder)]


def _remote(arguments: argparse.Namespace) -> _Found:
    from dlframe.analysis.overview import differing
    from dlframe.analysis.remote import read_store
    from dlframe.analysis.select import LAST, named
    from dlframe.tracking.launch import resolve_uri
    from dlframe.tracking.note import TAG

    uri = resolve_uri(arguments.uri, Path(arguments.root))
    runs = read_store(uri, None)
    if arguments.run == LAST and runs:
        run = max(runs, key=lambda each: each.created)
    else:
        run = named(arguments.run, runs)
    differs = next(each.differs for each in differing(runs) if each.run is run)
    return _Found(
        run=run,
        differs=[(option, value, "") for option, value in differs],
        uri=uri,
        experiment_id=run.experiment_id,
        note=run.tags.get(TAG),
        error=run.tags.get("dlframe.error"),
    )


def _plain(found: _Found) -> dict[str, Any]:
    from dlframe.tracking.redaction import without_credentials

    run = found.run
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "gone": found.gone,
        "error": found.error,
        "experiment": run.experiment,
        "started": run.created / 1000,
        "parent": run.parent,
        "multirun": run.group,
        "folder": None if found.folder is None else str(found.folder),
        "tracking_uri": without_credentials(found.uri),
        "mlflow_run_id": run.mlflow_run_id,
        "link": _link(found),
        "differs": {option: value for option, value, _ in found.differs},
        "params": dict(run.params),
        "metrics": dict(run.metrics),
        "tags": {key: value for key, value in run.tags.items() if key != "mlflow.note.content"},
        "note": found.note,
        "findings": (run.tags.get(_DIAGNOSIS) or "").splitlines(),
    }


def _link(found: _Found) -> str | None:
    """Return the address of the run's page, where its store is a server."""
    from dlframe.tracking.redaction import without_credentials
    from dlframe.tracking.stores import Store, pages

    uri = without_credentials(found.uri).rstrip("/")
    if not uri.startswith(("http://", "https://")):
        return None
    return pages(uri, Store(uri, found.run.mlflow_run_id, found.experiment_id))[1]


def _print(found: _Found, root: Path) -> None:
    run = found.run
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created / 1000))
    status = run.status.lower() + (
        "; its process is gone (`dlframe runs reap`)" if found.gone else ""
    )
    where = f"dlframe ui{root_option(root)}" if found.folder is not None else None
    lines = {
        "run": run.id,
        "name": run.name,
        "status": status,
        "error": found.error.strip().splitlines()[-1] if found.error else None,
        "experiment": run.experiment,
        "started": started,
        "multirun": run.parent,
        "folder": found.folder,
        "MLflow run": run.mlflow_run_id or "not delivered yet",
        "MLflow UI": _link(found) or where,
        "command": run.tags.get("dlframe.command"),
    }
    for name, value in lines.items():
        if value is not None:
            print(f"{name:<11} {value}")
    print("\ndiffers from the defaults")
    width = max((len(option) for option, _, _ in found.differs), default=0)
    for option, value, default in found.differs:
        print(f"  {option:<{width}}  {value}" + (f"  (default {default})" if default else ""))
    if not found.differs:
        print("  in nothing")
    if ailments := run.tags.get(_DIAGNOSIS):
        print("\ndiagnosis")
        for line in ailments.splitlines():
            print(f"  {line}")
    summaries = {k: v for k, v in run.metrics.items() if k.startswith(_SUMMARIES)}
    shown = summaries or run.metrics
    if shown:
        print("\nmetrics")
    width = max(map(len, shown), default=0)
    for metric, measured in sorted(shown.items()):
        print(f"  {metric:<{width}}  {measured:.6g}")
