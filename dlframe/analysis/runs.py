"""Recorded runs as analysis sees them: parameters, last values, curves; read from their spools."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dlframe.errors import StorageError
from dlframe.tracking import names
from dlframe.tracking.runs import BROKEN, unreadable
from dlframe.tracking.spool import FILE, Record, RunInfo, Spool

__all__ = [
    "Curve",
    "RunData",
    "gathered",
    "read_children",
    "read_each",
    "read_local",
    "without_copies",
]

Curve = list[tuple[int, float]]
"""Values of a metric with their optimizer steps, in the order of the steps."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One recorded run.

    Args:
        id: the run's own id.
        name: the name shown in MLflow.
        status: ``FINISHED``, ``FAILED``, ``KILLED`` or ``RUNNING``.
        experiment: name of its experiment.
        created: ms since 1970.
        parent: id of the multirun that it is a part of.
        group: whether it stands for other runs, whose parent it is.
        mlflow_run_id: its id in MLflow, if it is known there.
        params: the effective config as text, by key.
        tags: its tags as text.
        metrics: the last value of each metric.
        curve: gives a metric's values over the steps; empty if the run has no such metric.
        folder: where it is recorded; None where it was read from a store.
        experiment_id: that of its experiment in the store that it was read from.
    """

    id: str
    name: str
    status: str
    experiment: str
    created: int
    parent: str | None = None
    group: bool = False
    mlflow_run_id: str | None = None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curve: Callable[[str], Curve] = field(repr=False, compare=False)
    folder: Path | None = field(default=None, repr=False, compare=False)
    experiment_id: str | None = field(default=None, repr=False, compare=False)


def read_children(root: Path, parent: str) -> tuple[list[RunData], list[str]]:
    """Read a multirun's runs, oldest first.

    Args:
        root: the folder of the runs.
        parent: the multirun's id.

    Returns:
        The runs, and a sentence on each folder that cannot be read or holds a copy.
    """
    folders = [path.parent for path in sorted(root.glob(f"*/{FILE}"))]
    found, broken = read_each(folders, parent)
    runs, copies = without_copies(found)
    return runs, broken + copies


def read_each(
    folders: Sequence[Path], parent: str | None = None
) -> tuple[list[RunData], list[str]]:
    """Read the runs in several folders.

    Args:
        folders: the runs' folders.
        parent: id of the multirun that they are to be of; None reads all.

    Returns:
        The runs, and a sentence on each folder that cannot be read.
    """
    found: list[RunData] = []
    broken: list[str] = []
    for folder in folders:
        try:
            run = _read(folder, parent)
        except StorageError as error:
            broken.append(str(error))
            continue
        found += [] if run is None else [run]
    return found, broken


def read_local(folder: Path) -> RunData:
    """Read the run in ``folder`` from its spool.

    Raises:
        StorageError: the spool cannot be read.
    """
    run = _read(folder)
    assert run is not None
    return run


def without_copies(runs: Sequence[RunData]) -> tuple[list[RunData], list[str]]:
    """Keep one of the runs that bear the same id, as a copied folder does: the one that is named so.

    Returns:
        The runs in their order, and a sentence on each that is left out.
    """
    kept: dict[str, RunData] = {}
    for run in runs:
        known = kept.setdefault(run.id, run)
        if _home(run) and not _home(known):
            kept[run.id] = run
    notes = [
        f"{str(run.folder)!r} is a copy of run {run.id}, which is in {str(kept[run.id].folder)!r}, and "
        "does not count"
        for run in runs
        if kept[run.id] is not run
    ]
    return [run for run in runs if kept[run.id] is run], notes


def _home(run: RunData) -> bool:
    return run.folder is not None and run.folder.name == run.id


def _read(folder: Path, parent: str | None = None) -> RunData | None:
    """Read a run, if it is the parent's, where one is given."""
    try:
        with closing(Spool(folder)) as spool:
            info = spool.info()
            if parent not in (None, info.parent):
                return None
            run_id = spool.cursor("mlflow").state.get("run_id")
            return gathered(info, spool.records(), run_id, folder)
    except BROKEN as error:
        raise StorageError(unreadable(folder, error)) from error


def gathered(info: RunInfo, records: Iterable[Record], run_id: str | None, folder: Path) -> RunData:
    """Return what the records say of the run that they are of."""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: dict[str, float] = {}
    curves: dict[str, dict[int, float]] = {}
    status = "RUNNING"
    for record in records:
        match record.kind:
            case "params":
                fresh = {key: names.text(value) for key, value in record.body["values"].items()}
                params = fresh | params
            case "tags":
                tags |= {key: names.text(value) for key, value in record.body["values"].items()}
            case "metrics":
                metrics |= record.body["values"]
                for key, value in record.body["values"].items():
                    # A resumed run may have measured a step twice.
                    curves.setdefault(key, {})[record.body["step"]] = value
            case "start":
                status = "RUNNING"
            case "finish":
                status = record.body["status"]
    return RunData(
        id=info.uid,
        name=info.run_name or info.uid,
        status=status,
        experiment=info.experiment,
        created=info.created,
        parent=info.parent,
        group=info.group,
        mlflow_run_id=run_id,
        params=params,
        tags=tags,
        metrics=metrics,
        curve=lambda metric: sorted(curves.get(metric, {}).items()),
        folder=folder,
    )
