"""Copies of runs that are trained meanwhile, and what is left of an attempt that failed."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fault_support import until
from tracking_support import end_delivery, sql

from dlframe.tracking.reap import close_if_dead
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import MARKER, RunInfo, Spool, entry

pytest_plugins = ["tracking_fixtures"]


def errors(store: Path) -> list[Any]:
    return sql(store, "SELECT value FROM tags WHERE key = 'dlframe.error'")


def test_the_error_of_an_attempt_goes_with_the_next_one(root: Path) -> None:
    store = root / "mlflow.db"
    recorder = Recorder(root, uri=None, experiment="e", run_name=None)
    recorder.finish("FAILED", "the data is gone")
    assert recorder.wait(120).complete
    assert errors(store) == [("the data is gone",)]
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, uid=recorder.uid)
    until(lambda: sql(store, "SELECT status FROM runs") == [("RUNNING",)])
    until(lambda: errors(store) == [])
    recorder.finish("FINISHED")
    assert recorder.wait(120).complete
    assert (errors(store), sql(store, "SELECT status FROM runs")) == ([], [("FINISHED",)])


TRAINER = """
import sys, time
from pathlib import Path
from dlframe.tracking.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), uri=None, experiment="e", run_name=None, uid="run")
recorder.metrics({"a": 1.0}, 1)
recorder.wait(240)
print("ready", flush=True)
sys.stdin.readline()
recorder.metrics({"a": 2.0}, 2)
recorder.wait(240)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_copy_of_a_run_that_is_trained_is_not_dead(root: Path, tmp_path: Path) -> None:
    store, copy = root / "mlflow.db", tmp_path / "copy"
    with subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as trainer:  # fmt: skip
        try:
            assert trainer.stdin is not None
            assert trainer.stdout is not None
            assert trainer.stdout.readline() == "ready\n"
            shutil.copytree(root / "run", copy / "run", ignore=shutil.ignore_patterns("*.part"))
            command = [sys.executable, "-m", "dlframe", "sync", str(copy), "--json"]
            done = subprocess.run(
                [*command, "--uri", f"sqlite:///{store}"],
                capture_output=True, text=True, timeout=280, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["runs"][0]["complete"]
            assert sql(store, "SELECT status FROM runs") == [("RUNNING",)]
            trainer.stdin.write("go on\n")
            trainer.stdin.flush()
            assert trainer.stdout.readline() == "ready\n"
        finally:
            trainer.kill()
    try:
        # Now both are over, and the copy knows less of it than the original.
        until(lambda: not (root / "run" / MARKER).exists())
        until(lambda: not (copy / "run" / MARKER).exists())
    finally:
        end_delivery(copy)
    assert sql(store, "SELECT status, count(*) FROM runs") == [("KILLED", 1)]
    assert sql(store, "SELECT step, value FROM metrics ORDER BY step") == [(1, 1.0), (2, 2.0)]


def test_a_copys_presumption_changes_no_end_that_is_known(root: Path, tmp_path: Path) -> None:
    recorder = Recorder(root, uri=None, experiment="e", run_name=None)
    recorder.metrics({"a": 1.0}, 1)
    until(lambda: recorder.wait(0).mlflow_run_id)
    copy = tmp_path / "copy" / recorder.uid
    shutil.copytree(recorder.folder, copy, ignore=shutil.ignore_patterns("*.part"))
    recorder.finish("FINISHED")
    assert recorder.wait(120).complete
    uri = f"sqlite:///{root / 'mlflow.db'}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", CLOSE, str(copy), uri],
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
        assert sql(root / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]
        assert errors(root / "mlflow.db") == []
    finally:
        end_delivery(copy.parent)


CLOSE = """
import os, sys, time
from contextlib import closing
from pathlib import Path
from dlframe.tracking import sync
from dlframe.tracking.spool import Spool, entry
folder, uri = Path(sys.argv[1]), sys.argv[2]
with closing(Spool(folder)) as spool:
    # What a delivery process writes when the training process is gone.
    last = spool.last()
    body = {"status": "KILLED", "error": "ended without a word", "presumed": True}
    spool.append([entry("finish", last[2], body)])
sync.release([folder], uri)
print(sync.wait([folder], 120, lambda *_: None)[folder].complete)
"""


@pytest.mark.parametrize(
    ("host", "age", "dead"), [("", 0, True), ("elsewhere", 0, False), ("elsewhere", 3600, True)]
)
def test_who_is_dead(root: Path, host: str, age: int, dead: bool) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = root / "run"
    folder.mkdir()
    info = RunInfo(uid="run", experiment="e", run_name=None, uri=None, user="me", created=1)
    body = {"pid": gone.pid, "host": host or os.uname().nodename}
    with closing(Spool.create(folder, info)) as spool:
        spool.append([entry("start", 1, body)])
        (folder / MARKER).touch()
        when = (folder / MARKER).stat().st_mtime - age
        os.utime(folder / MARKER, (when, when))
        assert close_if_dead(folder, spool) is dead
