"""What a store refuses: for good, for a while, or because something is missing here."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy
from fault_proxy import Proxy
from fault_support import Server, free_port, postgres, until
from mlflow.tracking import MlflowClient
from tracking_support import sql

from dlframe.errors import StorageError
from dlframe.tracking.launch import LOCK, LOG, WANTING, ensure_delivery
from dlframe.tracking.mlflow_rejects import REJECTED
from dlframe.tracking.mlflow_sink import MlflowSink
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.sinks import PendingRun, UnreachableError
from dlframe.tracking.spool import Spool

pytest_plugins = ["tracking_fixtures"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType"),  # MLflow's own
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def record(root: Path, uri: str | None = None, **options: Any) -> Recorder:
    options = {"experiment": "e", "run_name": None, "deliver": False, **options}
    return Recorder(root, uri=uri, **options)


def deliver(recorder: Recorder, state: dict[str, Any], sink: MlflowSink | None = None) -> int:
    """Deliver all of a run in this process; return the number of records that are left."""
    with closing(Spool(recorder.folder)) as spool:
        run, records = PendingRun(recorder.folder, spool.info(), recorder.uri), spool.read(0, 9999)
    return len(records) - len(list((sink or MlflowSink()).deliver(run, records, state)))


def rejected(recorder: Recorder) -> list[dict[str, Any]]:
    path = recorder.folder / REJECTED
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def status(recorder: Recorder, state: dict[str, Any]) -> str:
    return str(MlflowClient(recorder.uri).get_run(state["run_id"]).info.status)


def test_values_that_mlflow_never_takes_hold_nothing_up(root: Path) -> None:
    recorder = record(root, run_name="n" * 300, experiment="e" * 600)
    recorder.metrics({"far": 1.0}, 2**70)
    recorder.metrics({"text": "none", "good": 2.0}, 3)  # type: ignore[dict-item]
    recorder.metrics({"last": 3.0}, 4)
    recorder.params({"path": "/tmp/caf\udce9.csv", "nul": "a\0b"})
    recorder.tags({"caf\udce9": "/tmp/caf\udce9.csv"})
    recorder.dataset("caf\udce9", "ab" * 32, "train", "/tmp/caf\udce9.csv")
    (recorder.folder / "a.txt").write_text("x")
    recorder.artifact(recorder.folder / "a.txt", "figures/../..")
    recorder.artifact(recorder.folder / "a.txt", "figures")
    recorder.finish("FAILED", "FileNotFoundError: /tmp/caf\udce9.csv")
    state: dict[str, Any] = {}
    deliver(recorder, state)
    assert status(recorder, state) == "FAILED"
    run = MlflowClient(recorder.uri).get_run(state["run_id"])
    assert run.data.metrics == {"good": 2.0, "last": 3.0}
    assert run.data.params == {"path": r"/tmp/caf\udce9.csv", "nul": r"a\x00b"}
    assert run.data.tags["dlframe.error"] == r"FileNotFoundError: /tmp/caf\udce9.csv"
    assert run.info.run_name.startswith("n" * 243 + "-")
    assert len(run.info.run_name) == 250
    said = [(each["kind"], each["error"]) for each in rejected(recorder)]
    assert said == [
        ("metrics", f"a metric's step must be a whole number of 64 bits, not {2**70}"),
        ("metrics", "a metric's value must be a number, and 'none' is none"),
        ("artifact", "a folder of artifacts must be a plain relative path, not 'figures/../..'"),
    ]
    assert len(list((root / "artifacts").rglob("figures/a.txt"))) == 1


@pytest.mark.skipif(find_spec("boto3") is not None, reason="the package is there")
def test_a_missing_package_is_said_and_the_status_gets_through(root: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    MlflowClient(uri).create_experiment("e", artifact_location="s3://bucket/x")
    for before_the_end in (True, False):
        recorder, state = record(root, uri), dict[str, Any]()
        (recorder.folder / "console.log").write_text("hello\n")
        if before_the_end:
            recorder.artifact(recorder.folder / "console.log")
        recorder.finish("KILLED")
        with pytest.raises(StorageError) as said:
            deliver(recorder, state)
        assert "the package 'boto3' is missing here; install it" in str(said.value)
        assert status(recorder, state) == "KILLED"
        assert rejected(recorder) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.close()


def test_a_log_that_is_too_large_for_the_server_is_all_that_is_refused(
    root: Path, server: Server
) -> None:
    server.proxy.set("small", 2**20)
    recorder = record(root, server.uri, run_name="large", deliver=True)
    (recorder.folder / "console.log").write_text("epoch\n" * 300_000)
    recorder.metrics({"a": 1.0}, 1)
    recorder.finish("FAILED", f"it went wrong{'!' * 2**21}")
    delivery = recorder.wait(90)
    assert (delivery.complete, delivery.rejected) == (True, 2)
    assert [each["content"] for each in rejected(recorder)] == [
        {"part": "error"}, {"part": "console"},
    ]  # fmt: skip
    store = Path(server.database.removeprefix("sqlite:///"))
    assert sql(store, "SELECT status FROM runs WHERE name = 'large'") == [("FAILED",)]
    [(error,)] = sql(store, "SELECT value FROM tags WHERE key = 'dlframe.error'")
    assert error.startswith(f"({13 + 2**21} characters: ")


def test_a_gateway_that_refuses_everything_for_a_while_costs_nothing(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server.proxy.set("pass")
    recorder, sink, state = record(root, server.uri), MlflowSink(), dict[str, Any]()
    deliver(recorder, state, sink)
    for step in range(300):
        recorder.metrics({f"m{i}": float(step) for i in range(5)}, step)
    recorder.params({"lr": 0.1})
    recorder.finish("FINISHED")
    server.proxy.set("status", 400)
    with pytest.raises(UnreachableError, match="answers with status 400"):
        deliver(recorder, state, sink)
    server.proxy.set("pass")
    deliver(recorder, state, sink)
    assert rejected(recorder) == []
    run = MlflowClient(server.uri).get_run(state["run_id"])
    assert "dlframe.rejected" not in run.data.tags
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    for i in range(5):
        history = MlflowClient(server.uri).get_metric_history(state["run_id"], f"m{i}")
        assert sorted(metric.step for metric in history) == list(range(300))


def test_credentials_that_are_set_later_reach_the_delivery(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sentence tells to do, helps: the process that lacks them makes way for another."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    server.proxy.set("login", f"Basic {b64encode(b'me:sesame').decode()}")
    recorder = record(root, server.uri, deliver=True)
    until(lambda: "answers with status 401; set MLFLOW_TR" in str(recorder.wait(0).error))
    until((root / WANTING).exists)
    first = (root / LOCK).read_text()
    recorder.finish("FINISHED")
    given = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "sesame"}
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(root)],
        env={**os.environ, **given}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    server.proxy.set("pass")
    assert done.returncode == 0, done.stdout + (root / LOG).read_text()
    assert (root / LOCK).read_text() != first
    until(lambda: not (root / WANTING).exists())
    assert not any(b"sesame" in each.read_bytes() for each in root.glob("delivery*"))


def test_a_webhooks_address_reaches_a_delivery_that_runs_already(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = record(root, "http://127.0.0.1:1", deliver=True)
    until(lambda: stuck.wait(0).error)
    first = (root / LOCK).read_text()
    proxy = Proxy(free_port())
    proxy.set("status", 200)
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{proxy.port}/hook")
    alert = {"command": None, "webhook": "$HOOK", "stalled_after": 600.0, "on": ["finished"]}
    try:
        recorder = record(root, deliver=True, alert=alert, sinks=())
        recorder.finish("FINISHED")
        delivery = recorder.wait(60)
        assert (delivery.complete, delivery.error) == (True, None)
        assert proxy.asked == ["/hook"]
        assert (root / LOCK).read_text() != first
    finally:
        proxy.close()
    stuck.finish("FINISHED")


def test_processes_with_the_wrong_credentials_replace_each_other_once(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.proxy.set("status", 403)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "one")
    recorder = record(root, server.uri, deliver=True)
    until((root / WANTING).exists)
    first = (root / LOCK).read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "two")
    until(lambda: (ensure_delivery(root), (root / LOCK).read_text() not in ("", first))[1])
    until((root / WANTING).exists)
    second = (root / LOCK).read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "three")
    for _ in range(20):
        assert not ensure_delivery(root)
    assert (root / LOCK).read_text() == second
    assert psutil.pid_exists(int(second))
    server.proxy.set("pass")
    recorder.finish("FINISHED")
    assert recorder.wait(60).complete


def test_a_database_that_is_read_only_for_a_while_is_said(root: Path) -> None:
    with postgres() as uri:
        recorder, sink, state = record(root, uri), MlflowSink(), dict[str, Any]()
        deliver(recorder, state, sink)
        recorder.metrics({"a": 1.0}, 1)
        recorder.params({"nul": "a\0b"})
        recorder.finish("FINISHED")
        switch(uri, "ALTER DATABASE mlflow SET default_transaction_read_only = on")
        with pytest.raises(UnreachableError, match=r"a read-only transaction\s*$"):
            deliver(recorder, state, sink)
        switch(uri, "ALTER DATABASE mlflow RESET default_transaction_read_only")
        deliver(recorder, state, sink)
        assert rejected(recorder) == []
        assert status(recorder, state) == "FINISHED"


def switch(uri: str, statement: str) -> None:
    """Change the database, and end its connections, so that the next ones are changed."""
    engine = sqlalchemy.create_engine(uri, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SET default_transaction_read_only = off"))
        connection.execute(sqlalchemy.text(statement))
        connection.execute(
            sqlalchemy.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = 'mlflow'"
            )
        )
    engine.dispose()
