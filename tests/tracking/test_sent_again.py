"""Records of which it is unknown whether they arrived are sent again, and change nothing."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from dlframe.tracking.launch import ensure_delivery
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import MARKER
from dlframe.tracking.system_metrics import SAMPLES

pytest_plugins = ["tracking_fixtures"]
TABLES = (
    "runs", "metrics", "latest_metrics", "params", "tags", "experiment_tags", "datasets", "inputs",
    "logged_models", "logged_model_metrics", "logged_model_tags",
)  # fmt: skip
# These say when a row was written.
_TIMES = ("last_update_time", "last_updated_timestamp_ms")


def content(root: Path) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    with closing(sqlite3.connect(root / "mlflow.db")) as store:
        for table in TABLES:
            listed = store.execute(f"PRAGMA table_info({table})").fetchall()
            columns = ", ".join(f'"{row[1]}"' for row in listed if row[1] not in _TIMES)
            found[table] = sorted(
                store.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr
            )
    return found


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own
def test_all_kinds_of_records_may_come_twice(root: Path) -> None:
    recorder = Recorder(root, uri=None, experiment="twice", run_name=None)
    folder = recorder.folder
    recorder.experiment({"mlflow.note.content": "first"})
    recorder.process(60.0)
    recorder.dataset("digits", "ab" * 32, "val", "here", schema={"mlflow_colspec": []})
    for step in (1, 2):
        recorder.metrics(
            {"val/loss": 1 / step, "val/odd name?": 2.0, "val/nan": float("nan")}, step
        )
    for name in ("a.ckpt", "b.ckpt"):
        (folder / name).write_bytes(name.encode())
    measured = ["val/loss", "val/odd name?", "val/nan", "val/never"]
    recorder.checkpoint("best", folder / "a.ckpt", step=1, metrics=measured)
    recorder.checkpoint("last", folder / "b.ckpt", step=2, metrics=measured)
    sample = {"time": 1_700_000_000_000, "step": 1, "values": {"system/cpu_percent": 3.5}}
    (folder / SAMPLES).write_text(json.dumps(sample) + "\n")
    recorder.finish("FINISHED")
    assert recorder.wait(240.0).complete
    before = content(root)
    assert len(before["runs"]) == 1
    assert len(before["logged_models"]) == 2
    linked = [row for row in before["logged_model_metrics"] if "val/loss" in row]
    assert len(linked) == 2
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("twice")
    assert experiment is not None
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "the user's own")
    before = content(root)
    assert any("system/cpu_percent" in row for row in before["metrics"])

    pause = threading.Event()
    for _ in range(600):  # the delivery process forgets a run that it has delivered
        if not (folder / MARKER).exists():
            break
        pause.wait(0.1)
    (folder / "delivered-mlflow.json").unlink()
    (folder / MARKER).touch()
    ensure_delivery(root)
    for _ in range(1200):
        if not (folder / MARKER).exists():
            break
        pause.wait(0.1)
    assert not (folder / MARKER).exists()
    after = content(root)
    for table in TABLES:
        assert after[table] == before[table], table
