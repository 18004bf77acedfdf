"""Which MLflow store the runs of a folder are in, and what it means when a store refuses."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.errors import RunNotFoundError, StorageError
from dlframe.tracking.launch import resolve_uri
from dlframe.tracking.redaction import redacted, without_credentials
from dlframe.tracking.spool import FILE, Spool

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = [
    "Store",
    "asking",
    "check_database",
    "check_readable",
    "file_of",
    "meaning",
    "pages",
    "store_of",
]

_LONGEST = 300
_DATABASES = ("mssql", "mysql", "postgresql", "sqlite")
_TABLE = "experiments"
"""A table that each database of MLflow's has."""
_VIEW = "workflowType=machine_learning"
"""Without it MLflow shows its pages for language models, where training runs are a side matter."""
_SCHEMA = re.compile(r"found version (\w+), but expected")
_RAISED = re.compile(r"[\w.]*(?:Error|Exception|Interrupt): (.+)")
_DRIVER = re.compile(r"No module named '([\w.]+)'")
_DRIVER_ERROR = re.compile(r"^\([\w.]+\)\s*")


@dataclass(frozen=True)
class Store:
    """An MLflow store, and the latest run that was delivered there from here.

    Args:
        uri: MLflow's tracking URI.
        run_id: the run's id in MLflow; None if there is none yet.
        experiment_id: that of its experiment.
    """

    uri: str
    run_id: str | None = None
    experiment_id: str | None = None


def store_of(root: Path, uri: str | None) -> Store:
    """Return the store to look at: ``uri``, or else the one that the latest run was recorded for.

    Args:
        root: the tracking root.
        uri: MLflow's tracking URI; None leaves it to the runs.

    Raises:
        RunNotFoundError: no run has been recorded in ``root``.
    """
    wanted = None if uri is None else resolve_uri(uri, root)
    for path in sorted(root.glob(f"*/{FILE}"), reverse=True):
        try:
            with closing(Spool(path.parent)) as spool:
                store = resolve_uri(spool.info().uri, root)
                state = spool.cursor("mlflow", store).state
        except (sqlite3.Error, TypeError, KeyError):  # a broken spool; the next one may tell
            continue
        wanted = store if wanted is None else wanted
        if store == wanted and "run_id" in state:
            return Store(wanted, state["run_id"], state.get("experiment_id"))
    if wanted is None:
        raise RunNotFoundError(
            f"there are no runs in {str(root)!r}; train one with `dlframe train`, or say where they "
            "are with --root or --uri"
        )
    return Store(wanted)


def pages(url: str, store: Store) -> tuple[str | None, str | None]:
    """Return the addresses of the experiment's and the run's page in MLflow, as far as there are any.

    Args:
        url: where MLflow's server listens.
        store: with the ids.
    """
    if store.experiment_id is None or store.run_id is None:
        return None, None
    runs = f"{url}/#/experiments/{store.experiment_id}/runs"
    return f"{runs}?{_VIEW}", f"{runs}/{store.run_id}?{_VIEW}"


def file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for other stores."""
    scheme, separator, path = uri.partition(":///")
    return Path(path.partition("?")[0]) if separator and scheme.startswith("sqlite") else None


def check_database(uri: str) -> None:
    """Connect once, because MLflow itself tries for minutes before it says that it cannot.

    Raises:
        StorageError: the database does not take the connection, or its driver is not installed.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(uri).connect():
            return
    except (SQLAlchemyError, ImportError) as error:
        raise StorageError(
            f"{without_credentials(uri)} cannot be opened: {meaning(str(error))}"
        ) from error


def check_readable(uri: str) -> None:
    """Refuse what is no store yet: MLflow would make one, where somebody only wants to look.

    Args:
        uri: MLflow's tracking URI, as ``resolve_uri`` gives it.

    Raises:
        StorageError: the address names no store, or one that is not there or not MLflow's.
    """
    path, engine = file_of(uri), uri.partition(":")[0].partition("+")[0]
    named = "://" in uri or uri == "databricks"
    if not named or (engine == "sqlite" and path is None):  # SQLite would keep it in memory
        raise StorageError(
            f"--uri {without_credentials(uri)!r} is no database, such as sqlite:///runs/mlflow.db, and "
            "no server, such as http://localhost:5000; give one of these"
        )
    if path is not None and not path.is_file():
        raise StorageError(
            f"there is no store {str(path)!r}; give --uri one that exists, or deliver runs to it with "
            "`dlframe sync`"
        )
    if engine in _DATABASES and not (_is_store(path) if path else _is_stored(uri)):
        raise StorageError(
            f"{without_credentials(uri)} holds no runs of MLflow's; give --uri the store that they are "
            "in"
        )


def _is_store(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_TABLE,))
            return found.fetchone() is not None
    except sqlite3.Error:  # it is locked, or worse: MLflow says what, and makes nothing of it
        return True


def _is_stored(uri: str) -> bool:
    from sqlalchemy import create_engine, inspect

    check_database(uri)
    with create_engine(uri).connect() as connection:
        return inspect(connection).has_table(_TABLE)


@contextmanager
def asking(uri: str, wanted: str) -> "Iterator[MlflowClient]":
    """Give a client of the store; what goes wrong with it becomes one sentence.

    Args:
        uri: MLflow's tracking URI.
        wanted: what the store is searched for.

    Raises:
        StorageError: there is no such store, or it does not answer.
    """
    check_readable(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import requests
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield MlflowClient(uri)
    # A database without its driver is an ImportError.
    except (MlflowException, requests.RequestException, SQLAlchemyError, ImportError) as error:
        raise StorageError(
            f"{without_credentials(uri)} cannot be searched for {wanted}: {meaning(str(error))}"
        ) from error


def meaning(text: str) -> str:
    """Return what an error of MLflow's says, in one sentence without secrets, and the remedy if known.

    Args:
        text: the error, or all that a process wrote before it ended.
    """
    if found := _SCHEMA.search(text):
        installed = f"the installed {version('mlflow')}"
        if found[1] in _revisions():
            return (
                f"it was made by an older MLflow than {installed}; make a copy of it, then run "
                "`mlflow db upgrade` on it"
            )
        return f"it was made by a newer MLflow than {installed}; run `pip install --upgrade mlflow`"
    if "database is locked" in text:
        return "it is locked; end the other program that uses it, or wait for that"
    if "file is not a database" in text:
        return "it is no SQLite database; give the address of one"
    if found := _DRIVER.search(text):
        return (
            f"the driver {found[1]!r} of such a database is missing; install the package it is in"
        )
    raised = [each for line in text.splitlines() if (each := _RAISED.match(line.strip()))]
    words = raised[-1][1] if raised else " ".join(text.split()) or "it says nothing"
    return redacted(_DRIVER_ERROR.sub("", words))[:_LONGEST]


def _revisions() -> set[str]:
    """Return the versions of a store that the installed MLflow knows; imports none of it."""
    found = find_spec("mlflow")
    assert found is not None, "mlflow is a dependency"
    assert found.origin is not None, "mlflow is a regular package"
    folder = Path(found.origin).parent / "store" / "db_migrations" / "versions"
    return {
        revision
        for path in folder.glob("*.py")
        for revision in re.findall(r"^revision\s*=\s*[\"'](\w+)", path.read_text(), re.MULTILINE)
    }
