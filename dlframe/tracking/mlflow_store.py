"""Runs and experiments in an MLflow store: looked up, and made where they are missing."""
# ruff: noqa: TID253  (imported by the delivery process only)

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlflow.entities import Experiment, LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from dlframe.errors import StorageError
from dlframe.tracking.names import title
from dlframe.tracking.sinks import PendingRun, UnreachableError
from dlframe.tracking.stores import check_database, file_of

__all__ = [
    "PARENT_TAG",
    "UID_TAG",
    "close_store",
    "experiment_of",
    "identity",
    "open_store",
    "runs_of",
    "search_all",
    "weight",
]

UID_TAG = "dlframe.run_uid"
PARENT_TAG = "dlframe.parent_uid"
_EXPERIMENT_LIMIT = 500
_making = threading.Lock()  # what makes the tables is not for several threads at once
_numbers = itertools.count()


def open_store(uri: str) -> MlflowClient:
    """Return a client of a store; a SQLite store is made where it is missing.

    Raises:
        UnreachableError: a database does not take the connection, or its driver is not installed.
    """
    if "://" not in uri or uri.startswith(("http://", "https://", "file:")):
        return MlflowClient(uri)
    with _making:
        file = file_of(uri)
        if file is not None and not file.exists() and file.parent.is_dir():
            make_store(file)
        try:
            check_database(uri)
        except StorageError as error:
            raise UnreachableError(str(error)) from error
        return MlflowClient(uri)


def close_store(client: MlflowClient) -> None:
    """Close the connections to a database: MLflow keeps them, also to a file that is deleted."""
    client._tracking_client.store.engine.dispose()


def identity(uri: str) -> tuple[int, int] | None:
    """Return what tells the file of a SQLite store from another of that name; None for other stores."""
    file = file_of(uri)
    try:
        found = None if file is None else file.stat()
    except FileNotFoundError:
        return (0, 0)
    return None if found is None else (found.st_dev, found.st_ino)


def make_store(path: Path) -> None:
    """Make a SQLite store.

    It is made under another name and then renamed: MLflow cannot go on with a store whose making
    was cut short.
    """
    for leftover in path.parent.glob(f"{path.stem}.making*"):
        leftover.unlink()
    # MLflow takes a store that it has made once for made, so a second one has another name.
    number = next(_numbers)
    making = path.with_suffix(f".making{number or ''}")
    client = MlflowClient(f"sqlite:///{making}")
    client.search_experiments()
    close_store(client)
    with closing(sqlite3.connect(making)) as store:
        # Readers such as the UI then do not block the one writer, nor it them.
        store.execute("PRAGMA journal_mode=WAL")
    for leftover in path.parent.glob(f"{path.name}-*"):  # of one that was deleted
        leftover.unlink()
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
