"""Stores that cannot or will not take a run: one sentence each, and training goes on."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fault_proxy import Proxy
from fault_support import free_port, until
from tracking_support import Delivered, sql

from dlframe.tracking.mlflow_sink import MlflowSink
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.sinks import PendingRun, UnreachableError
from dlframe.tracking.spool import Spool

pytest_plugins = ["tracking_fixtures"]


def deliver(root: Path, uri: str) -> str:
    """Deliver a run to ``uri`` in this process; return what stands in the way."""
    recorder = Recorder(root, uri=uri, experiment="e", run_name=None, deliver=False)
    recorder.metrics({"train/loss": 0.5}, 1)
    recorder.finish("FINISHED")
    with closing(Spool(recorder.folder)) as spool:
        run = PendingRun(recorder.folder, spool.info(), recorder.uri)
        with pytest.raises(UnreachableError) as said:
            list(MlflowSink().deliver(run, spool.read(0, 99), {}))
    assert "\n" not in str(said.value)
    return str(said.value)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


@contextmanager
def answering(status: int) -> Iterator[str]:
    proxy = Proxy(free_port())
    proxy.set("status", status)
    try:
        yield f"http://me:hunter2@127.0.0.1:{proxy.port}"
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "it answers with status 401; set MLFLOW_TRACKING_USERNAME and"),
        (403, "it answers with status 403; set MLFLOW_TRACKING_USERNAME and"),
        (404, "it answers with status 404; mend tracking.uri"),
        (429, "it answers with status 429"),
        (500, "it answers with status 500"),
        (503, "it answers with status 503"),
    ],
)
def test_a_server_that_refuses(status: int, said: str, root: Path) -> None:
    with answering(status) as uri:
        sentence = deliver(root, uri)
    assert said in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("htp://127.0.0.1:5000", "htp://127.0.0.1:5000 cannot be opened: "),
        ("http://127.0.0.1:1", "no connection; start the server, or mend tracking.uri"),
        ("http://no.such.host.invalid", "no connection; start the server, or mend tracking.uri"),
        ("mysql://127.0.0.1/mlflow", "the driver 'MySQLdb' of such a database is missing"),
    ],
)
def test_a_wrong_address(uri: str, said: str, root: Path) -> None:
    assert said in deliver(root, uri)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_store_of_a_newer_mlflow(delivered: Delivered, root: Path, tmp_path: Path) -> None:
    store = copy(delivered, tmp_path)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fffffffffff0'")
    assert "it was made by a newer MLflow than the installed" in deliver(root, f"sqlite:///{store}")


@pytest.mark.slow  # MLflow waits 20 s for a lock
def test_a_store_that_is_locked_gets_everything_when_it_is_free(
    delivered: Delivered, root: Path, tmp_path: Path
) -> None:
    store = copy(delivered, tmp_path)
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        recorder = Recorder(root, uri=f"sqlite:///{store}", experiment="e", run_name="late")
        recorder.metrics({"train/loss": 0.5}, 1)
        recorder.finish("FINISHED")
        until(lambda: recorder.wait(0).error, 120)
        assert "it is locked; end the other program that uses it" in str(recorder.wait(0).error)
        connection.rollback()
        state = recorder.wait(90)
    assert (state.complete, state.error) == (True, None)
    assert sql(store, "SELECT status FROM runs WHERE name = 'late'") == [("FINISHED",)]


def copy(delivered: Delivered, folder: Path) -> Path:
    shutil.copy(delivered.root / "mlflow.db", folder / "store.db")
    return folder / "store.db"
