"""Runs and experiments in an MLflow store: looked up, and made where they are missing."""
# ruff: noqa: TID253  (imported by the delivery process only)

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlflow.entities import Experiment, LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from dlframe.errors import StorageError
from dlframe.tracking.names import title
from dlframe.tracking.sinks import PendingRun

__all__ = [
    "PARENT_TAG",
    "UID_TAG",
    "experiment_of",
    "make_store",
    "runs_of",
    "search_all",
    "weight",
]

UID_TAG = "dlframe.run_uid"
PARENT_TAG = "dlframe.parent_uid"
_EXPERIMENT_LIMIT = 500


def make_store(path: Path) -> None:
    """Make the SQLite store of a tracking root where it is missing.

    It is made under another name and then renamed: MLflow cannot go on with a store whose making
    was cut short.
    """
    if path.exists():
        return
    making = path.with_suffix(".making")
    for leftover in path.parent.glob(f"{making.name}*"):
        leftover.unlink()
    MlflowClient(f"sqlite:///{making}").search_experiments()
    with closing(sqlite3.connect(making)) as store:
        # Readers such as the UI then do not block the one writer, nor it them.
        store.execute("PRAGMA journal_mode=WAL")
    making.rename(path)


def runs_of(
    client: MlflowClient, experiment: str, uid: str, view: int = ViewType.ACTIVE_ONLY
) -> list[Run]:
    """Return the runs of an experiment, by its id, that bear a uid: one, but for mishaps."""
    found: list[Run] = client.search_runs([experiment], f"tags.`{UID_TAG}` = '{uid}'", view)
    return found


def search_all(client: MlflowClient, experiment: str, tag: str, value: str) -> Iterator[Run]:
    """Yield all runs of an experiment, by its id, whose tag has that value, however many."""
    token: str | None = None
    while True:
        found = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def weight(run: Run) -> tuple[bool, bool]:
    """Order runs of one uid: those that are not deleted first, then those with content."""
    deleted = run.info.lifecycle_stage == LifecycleStage.DELETED
    return deleted, not run.data.metrics | run.data.params


def experiment_of(client: MlflowClient, run: PendingRun) -> str:
    """Return the id of a run's experiment, which is made where it is missing.

    Raises:
        StorageError: it was deleted.
    """
    name = title(run.info.experiment, _EXPERIMENT_LIMIT)
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        location = None
        if run.info.uri is None:
            location = (run.folder.parent / "artifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:  # somebody else made it just now
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == LifecycleStage.DELETED:
        raise StorageError(
            f"the experiment {name!r} was deleted in MLflow; restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    return str(found.experiment_id)
