"""Delivery to MLflow: real processes, real stores, compared by SQL with what was recorded."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from tracking_support import Delivered, end_delivery, sql

from dlframe.errors import StorageError
from dlframe.tracking.launch import LOCK
from dlframe.tracking.mlflow_sink import MlflowSink
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import MARKER, Spool

pytest_plugins = ["tracking_fixtures"]

TRAINER = """
import sys, time
from pathlib import Path
from dlframe.tracking.recorder import Recorder
root, uid, steps, end = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
recorder = Recorder(root, uri=None, experiment="e", run_name=None, uid=uid)
for step in range(steps):
    recorder.metrics({f"train/m{i}": step + i / 20 for i in range(20)}, step)
    time.sleep(0.001)
if end == "hang":
    recorder.wait(0)
    print("flushed", flush=True)
    time.sleep(600)
recorder.finish("FINISHED")
print(recorder.wait(240).complete, flush=True)
"""


def trainer(root: Path, uid: str, steps: int, end: str = "finish") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(root), uid, str(steps), end],
        stdout=subprocess.PIPE,
        text=True,
    )


def ledger(steps: int) -> list[tuple[str, int, float]]:
    return sorted((f"train/m{i}", s, s + i / 20) for s in range(steps) for i in range(20))


def metrics(store: Path, uid: str) -> list[tuple[str, int, float]]:
    """All metric rows of a run, so that a row that came twice is seen twice."""
    return sorted(
        sql(
            store,
            "SELECT m.key, m.step, m.value FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
            f"WHERE t.key = 'dlframe.run_uid' AND t.value = '{uid}'",
        )
    )


def statuses(store: Path) -> dict[str, str]:
    rows = sql(
        store,
        "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'dlframe.run_uid'",
    )
    assert len(rows) == len(dict(rows)), "a run was made twice"
    return dict(rows)


def until(condition: Callable[[], Any], pause: float = 0.05) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)


def test_everything_arrives(delivered: Delivered) -> None:
    assert delivered.delivery.complete
    assert delivered.delivery.error is None
    assert delivered.delivery.tracking_uri == f"sqlite:///{delivered.root / 'mlflow.db'}"
    until(lambda: not (delivered.folder / MARKER).exists())


def test_metrics_equal_the_ledger_row_by_row(delivered: Delivered) -> None:
    rows = delivered.sql("SELECT key, step, value FROM metrics WHERE key LIKE 'train/%'")
    assert len(rows) == 6000
    assert set(rows) == delivered.ledger


def test_odd_metrics_are_kept_as_mlflow_keeps_them(delivered: Delivered) -> None:
    rows = delivered.sql("SELECT key, value, is_nan FROM metrics WHERE key NOT LIKE 'train/%'")
    assert sorted(rows) == [
        (f"acc_5-{hashlib.sha256(b'acc@5').hexdigest()[:6]}", 0.5, 0),
        ("val/inf", 1.7976931348623157e308, 0),
        ("val/nan", 0.0, 1),
    ]


def test_parameters_arrive_whole(delivered: Delivered) -> None:
    params = dict(delivered.sql("SELECT key, value FROM params"))
    assert {k: params[k] for k in ("lr", "sizes", "on", "none", "late")} == {
        "lr": "0.1",
        "sizes": "[64, 10]",
        "on": "True",
        "none": "None",
        "late": "1",
    }
    assert [params[f"many/p{i}"] for i in range(250)] == [str(i) for i in range(250)]
    assert params["text"] == (
        "(7000 characters: the whole value is in the artifact params/long.json)"
    )
    long = json.loads((artifacts(delivered) / "params/long.json").read_text())
    assert long == {"text": "x" * 7000}


def test_tags_and_run_identity(delivered: Delivered) -> None:
    tags = dict(delivered.sql("SELECT key, value FROM tags"))
    assert tags["dlframe.run_uid"] == delivered.uid
    assert tags["dlframe.seed"] == "1"
    assert tags["note"].startswith("(9000 characters")
    assert delivered.sql("SELECT name, status FROM runs") == [("mlp-digits", "FINISHED")]


def test_start_and_end_are_when_it_was_trained_not_when_it_was_delivered(
    delivered: Delivered,
) -> None:
    ((start, end),) = delivered.sql("SELECT start_time, end_time FROM runs")
    assert delivered.times[0] <= start <= end <= delivered.times[1]


def test_what_mlflow_refuses_is_put_aside_and_blocks_nothing(delivered: Delivered) -> None:
    lines = (delivered.folder / "rejected.jsonl").read_text().splitlines()
    rejected = [json.loads(line) for line in lines]
    assert [(r["kind"], r["content"]) for r in rejected] == [
        ("params", {"key": "lr", "value": "0.2"}),
        ("artifact", {"path": "missing.png", "folder": ""}),
    ]
    assert "Changing param values is not allowed" in rejected[0]["error"]
    assert delivered.delivery.rejected == 2
    assert delivered.sql("SELECT value FROM tags WHERE key = 'dlframe.rejected'") == [("2",)]


def test_the_dataset_is_an_input_of_the_run(delivered: Delivered) -> None:
    rows = delivered.sql("SELECT name, digest, dataset_profile FROM datasets")
    assert sorted(rows) == [
        ("digits", "ab" * 15 + "-train", '{"rows": 1000}'),
        ("digits", "ab" * 16 + "-val", '{"rows": 10}'),
    ]
    assert sorted(delivered.sql("SELECT name, value FROM input_tags")) == [
        ("mlflow.data.context", "train"),
        ("mlflow.data.context", "val"),
    ]


def test_artifacts_lie_in_the_root(delivered: Delivered) -> None:
    config = artifacts(delivered) / "config" / "config.yaml"
    assert config.read_text() == (delivered.folder / "config.yaml").read_text()


def artifacts(delivered: Delivered) -> Path:
    return delivered.root / "artifacts" / str(delivered.delivery.mlflow_run_id) / "artifacts"


def test_the_logged_model_loads_and_predicts_in_a_fresh_process(delivered: Delivered) -> None:
    ((model,),) = delivered.sql("SELECT model_id FROM logged_models")
    # The predictor rebuilds a real network; here one stands in that proves which files came along.
    code = f"""
import sys, types
import numpy as np, pandas as pd
stand_in = types.ModuleType("dlframe.training.predictor")
class Predictor:
    @classmethod
    def from_folder(cls, folder):
        names = sorted(p.name for p in folder.rglob("*") if p.is_file())
        assert names == ["best.ckpt", "config.yaml"], names
        return cls()
    def predict_frame(self, x):
        return pd.DataFrame({{"sum": x.sum(1)}})
stand_in.Predictor = Predictor
sys.modules["dlframe.training.predictor"] = stand_in
import mlflow
mlflow.set_tracking_uri({delivered.delivery.tracking_uri!r})
model = mlflow.pyfunc.load_model("models:/{model}")
print(model.metadata.signature.inputs.to_dict()[0]["tensor-spec"])
print(model.metadata.signature.outputs.input_names(), model.input_example.shape)
print(list(model.predict(np.ones((4, 3), dtype=np.float32))["sum"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "{'dtype': 'float32', 'shape': (-1, 3)}",
        "['sum'] (2, 3)",
        "[3.0, 3.0, 3.0, 3.0]",
    ]
    packed = list((delivered.root / "artifacts" / "models").rglob("*.pkl"))
    assert packed == []


def test_the_delivery_process_is_silent_and_ends_when_nothing_is_left(
    delivered: Delivered,
) -> None:
    pid = int((delivered.root / LOCK).read_text())
    until(lambda: not running(pid))
    log = (delivered.root / "delivery.log").read_text()
    assert "alembic" not in log
    assert "Traceback" not in log
    assert f"{delivered.uid}: delivered" in log


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Processes that die.


def test_a_killed_trainer_leaves_all_its_rows_and_the_status_killed(root: Path) -> None:
    began = time.time_ns() // 1_000_000
    with trainer(root, "20261121-000000-dead", 200, end="hang") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "flushed\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    killed = time.time_ns() // 1_000_000
    folder, store = root / "20261121-000000-dead", root / "mlflow.db"
    until(lambda: not (folder / MARKER).exists())
    assert statuses(store) == {"20261121-000000-dead": "KILLED"}
    assert metrics(store, "20261121-000000-dead") == ledger(200)
    ((end,),) = sql(store, "SELECT end_time FROM runs")
    assert began < end <= killed
    resume_and_delete(root)


def resume_and_delete(root: Path) -> None:
    """Go on with the killed run, then delete it under the trainer: the store is there already."""
    store = root / "mlflow.db"
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, uid="20261121-000000-dead")
    until(lambda: statuses(store) == {"20261121-000000-dead": "RUNNING"})
    recorder.metrics({"train/m0": 200.0}, 200)
    until(lambda: len(metrics(store, "20261121-000000-dead")) == 4001)
    with closing(sqlite3.connect(store, timeout=20)) as connection, connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    recorder.metrics({"train/m0": 201.0}, 201)
    recorder.finish("FINISHED")
    delivery = recorder.wait(120)
    assert delivery.complete
    assert delivery.error is not None
    assert "was deleted in MLflow while it was being recorded" in delivery.error


@pytest.mark.slow
def test_two_trainers_and_a_delivery_process_that_keeps_dying(root: Path) -> None:
    uids = ["20261121-000000-aaaa", "20261121-000000-bbbb"]
    store = root / "mlflow.db"
    processes = [trainer(root, uid, 800) for uid in uids]
    until((root / "mlflow.making").exists, 0.002)
    killed = {end_delivery(root)}
    assert (root / "mlflow.making").exists(), "the store was made before it could be cut short"
    assert not store.exists()
    until(lambda: store.exists() and count(store) >= 5_000)
    killed.add(end_delivery(root))
    for process in processes:
        out, _ = process.communicate(timeout=280)
        assert out == "True\n"
    assert len(killed - {None}) == 2
    assert statuses(store) == dict.fromkeys(uids, "FINISHED")
    for uid in uids:
        assert metrics(store, uid) == ledger(800)


def count(store: Path) -> int:
    return int(sql(store, "SELECT count(*) FROM metrics")[0][0])


# The sink by itself, in this process: what a crash at the worst moment leaves.
# SQLAlchemy deprecates something that MLflow still uses; elsewhere MLflow runs in other processes.


@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType")  # MLflow's own classes
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_delivering_everything_again_changes_nothing(delivered: Delivered) -> None:
    tables = (
        "runs", "metrics", "latest_metrics", "params", "tags", "datasets", "inputs", "input_tags",
        "logged_models", "logged_model_tags",
    )  # fmt: skip
    before = [sorted(delivered.sql(f"SELECT * FROM {table}"), key=str) for table in tables]
    rejected = (delivered.folder / "rejected.jsonl").read_text()
    spool = Spool(delivered.folder)
    run = PendingRun(delivered.folder, spool.info(), delivered.delivery.tracking_uri)
    records, state = spool.read(0, 10_000), spool.cursor("mlflow").state
    spool.close()
    # As if it had died before it could remember the run's id.
    again: dict[str, Any] = {"to": state["to"]}
    assert list(MlflowSink().deliver(run, records, again))[-1] == records[-1].seq
    assert again == state
    after = [sorted(delivered.sql(f"SELECT * FROM {table}"), key=str) for table in tables]
    assert after == before
    assert (delivered.folder / "rejected.jsonl").read_text() == rejected


def copy_of_store(delivered: Delivered, folder: Path) -> str:
    """The address of a store of one's own: other tests look at the shared one, in any order."""
    with (
        closing(sqlite3.connect(delivered.root / "mlflow.db")) as shared,
        closing(sqlite3.connect(folder / "own.db")) as own,
    ):
        shared.backup(own)
    return f"sqlite:///{folder / 'own.db'}"


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_deleted_experiment_is_one_sentence(delivered: Delivered, tmp_path: Path) -> None:
    uri = copy_of_store(delivered, tmp_path)
    MlflowClient(uri).delete_experiment(MlflowClient(uri).create_experiment("gone"))
    recorder = Recorder(tmp_path, uri=uri, experiment="gone", run_name=None, deliver=False)
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    run = PendingRun(recorder.folder, spool.info(), recorder.uri)
    with pytest.raises(StorageError, match="'gone' was deleted in MLflow; restore it with"):
        list(MlflowSink().deliver(run, spool.read(0, 99), {}))
    spool.close()


@pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_second_run_that_a_slow_server_made_late_is_removed(
    delivered: Delivered, tmp_path: Path
) -> None:
    recorder = Recorder(
        tmp_path,
        uri=copy_of_store(delivered, tmp_path),
        experiment="late",
        run_name=None,
        deliver=False,
    )
    recorder.metrics({"a": 1.0}, 1)
    recorder.finish("FINISHED")
    with closing(Spool(recorder.folder)) as spool:
        run, records = PendingRun(tmp_path, spool.info(), recorder.uri), spool.read(0, 9)
    sink, state = MlflowSink(), dict[str, Any]()
    list(sink.deliver(run, records[:2], state))
    # The first request to create the run is carried out after the look-up of the second attempt.
    client = MlflowClient(recorder.uri)
    client.create_run(state["experiment_id"], tags={"dlframe.run_uid": recorder.uid})
    list(sink.deliver(run, records[2:], state))
    found = client.search_runs([state["experiment_id"]])
    assert [(run.info.run_id, run.info.status) for run in found] == [(state["run_id"], "FINISHED")]
