"""A SQLite store that is deleted, while a run goes there or later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_support import until
from tracking_support import sql

from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import MARKER

pytest_plugins = ["tracking_fixtures"]


def delete(store: Path) -> None:
    for name in (store.name, f"{store.name}-wal", f"{store.name}-shm"):
        (store.parent / name).unlink(missing_ok=True)


@pytest.mark.parametrize("given", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_store_that_is_deleted_gets_everything_again(
    root: Path, tmp_path: Path, given: bool
) -> None:
    store = tmp_path / "given.db" if given else root / "mlflow.db"
    uri = f"sqlite:///{store}" if given else None
    recorder = Recorder(root, uri=uri, experiment="e", run_name="r")
    (recorder.folder / "a.txt").write_text("x")
    recorder.params({"lr": 0.1})
    recorder.artifact(recorder.folder / "a.txt")
    recorder.metrics({"a": 0.0}, 0)
    assert recorder.wait(120).complete
    first = recorder.wait(0).mlflow_run_id
    for number in (1, 2):
        delete(store)
        recorder.metrics({"a": float(number)}, number)
        until(store.exists)
        assert recorder.wait(120).complete
    recorder.finish("FINISHED")
    assert recorder.wait(120).complete
    assert recorder.wait(0).mlflow_run_id != first
    whole = [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert sorted(sql(store, "SELECT step, value FROM metrics")) == whole
    assert sql(store, "SELECT key, value FROM params") == [("lr", "0.1")]
    assert sql(store, "SELECT status FROM runs") == [("FINISHED",)]
    # What was delivered and then deleted, sync delivers again.
    until(lambda: not (recorder.folder / MARKER).exists())
    delete(store)
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(root), "--json"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run["complete"] for run in json.loads(done.stdout)["runs"]] == [True]
    assert sorted(sql(store, "SELECT step, value FROM metrics")) == whole
