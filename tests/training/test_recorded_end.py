"""What is recorded of runs that fail and of runs that are killed, on a terminal and without one."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from dlframe.tracking.launch import default_uri
from dlframe.tracking.progress import progress
from dlframe.tracking.recorder import Delivery
from dlframe.tracking.spool import Spool

# MLflow's own store uses what SQLAlchemy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

SECRET = "said-aloud-secret-3"
_SCRIPT = f"""
import logging, sys, time, warnings
import lightning as L
import dlframe
from dlframe.interfaces import Regularizer
from dlframe.plugin import Component, hookimpl, registry

class Talk(L.Callback):
    def on_train_start(self, trainer, module):
        print("training begins, password={SECRET}")
        logging.getLogger("idea").warning("a logged remark")
        warnings.warn("a warning of the user's code")

    def on_train_epoch_end(self, trainer, module):
        print(f"epoch {{trainer.current_epoch}} is over")
        if trainer.current_epoch == 2:
            if sys.argv[1] == "fail":
                raise RuntimeError("the idea does not work")
            print("waiting", flush=True)
            time.sleep(300)

class Loud(Regularizer):
    def callbacks(self):
        return [Talk()]

class Ideas:
    @hookimpl
    def dlframe_regularizers(self):
        return [Component(name="loud", target="__main__:Loud", summary="Talks.")]

if __name__ == "__main__":
    registry().add(Ideas(), "idea")
    dlframe.train("regularizer=[loud]", "trainer.max_epochs=20", "tracking.sample_every=0.3",
                  "trainer.progress=auto", "trainer.checkpoint_every=0")
"""


def start(folder: Path, how: str, stdout: int, stderr: int) -> "subprocess.Popen[bytes]":
    (folder / "study.py").write_text(_SCRIPT)
    command = [sys.executable, "-W", "default", "study.py", how]
    return subprocess.Popen(command, cwd=folder, stdout=stdout, stderr=stderr)


def delivered(folder: Path) -> tuple[Path, MlflowRun, MlflowClient]:
    """Wait until all of the only run is in MLflow."""
    (spool,) = (folder / "runs").glob("*/spool.db")
    uri = default_uri(folder / "runs")
    opened, pause = Spool(spool.parent), threading.Event()
    try:
        standing: Delivery = progress(opened, uri)
        for _ in range(1200):
            last = opened.last()
            if standing.complete and last is not None and last[1] == "finish":
                break
            pause.wait(0.1)
            standing = progress(opened, uri)
    finally:
        opened.close()
    assert standing.complete
    assert standing.mlflow_run_id is not None
    client = MlflowClient(uri)
    return spool.parent, client.get_run(standing.mlflow_run_id), client


def console(run: MlflowRun, client: MlflowClient, place: Path) -> list[str]:
    fetched = client.download_artifacts(run.info.run_id, "console.log", str(place))
    return Path(fetched).read_text().splitlines()


def reader(descriptor: int, until: str) -> tuple[Callable[[], str], threading.Event]:
    """Read a terminal in a thread; the event tells of the word, or of the end."""
    found, seen = bytearray(), threading.Event()

    def read() -> None:
        try:
            while chunk := os.read(descriptor, 65536):
                found.extend(chunk)
                if until.encode() in found:
                    seen.set()
        except OSError:  # how a terminal says that the other side has closed it
            pass
        finally:
            seen.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def text() -> str:
        thread.join(10.0)
        return found.decode(errors="replace")

    return text, seen


def test_a_run_that_fails_on_a_terminal(tmp_path: Path) -> None:
    """The terminal shows all as ever; the record has it too, the traceback, and what there was."""
    ours, theirs = pty.openpty()
    process = start(tmp_path, "fail", stdout=theirs, stderr=theirs)
    os.close(theirs)
    text, _ = reader(ours, "never said")
    assert process.wait(240) == 1
    shown = text()
    os.close(ours)
    assert "RuntimeError: the idea does not work" in shown
    assert f"password={SECRET}" in shown  # the user's own screen is the user's
    assert "\x1b[" in shown  # the progress bar took it for a terminal
    folder, run, client = delivered(tmp_path)
    assert run.info.status == "FAILED"
    lines = console(run, client, tmp_path)
    assert [line for line in lines if "is over" in line] == [f"epoch {i} is over" for i in range(3)]
    assert "training begins, password=[redacted]" in lines
    assert "a logged remark" in lines
    assert any("UserWarning: a warning of the user's code" in line for line in lines)
    assert lines[-1] == "RuntimeError: the idea does not work"
    assert any(line.startswith("Traceback") for line in lines)
    assert sum("epoch 3/20" in line for line in lines) == 1, "a bar drawn anew is one line"
    assert not any("\x1b" in line or "\r" in line for line in lines)
    tags = run.data.tags
    assert tags["dlframe.error"].rstrip().endswith("the idea does not work")
    note = tags["mlflow.note.content"]
    assert note.startswith("**Failed** with accuracy")
    assert "RuntimeError: the idea does not work" in note.splitlines()[0]
    assert f"dlframe resume {folder.name}" in note
    assert "| regularizer.loud | loud |  |" in note
    (last,) = client.search_logged_models([run.info.experiment_id])
    assert last.name == "last"
    names = {a.path for a in client.list_artifacts(run.info.run_id, "figures")}
    assert names == {"figures/learning_curves.png"}
    assert SECRET.encode() not in (folder / "console.log").read_bytes()


def test_a_run_that_is_killed(tmp_path: Path) -> None:
    """No part of dlframe could say anything in the training process any more."""
    ours, theirs = os.pipe()
    process = start(tmp_path, "wait", stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    text, waiting = reader(ours, "waiting\n")
    assert waiting.wait(240)
    assert process.poll() is None
    system = next((tmp_path / "runs").glob("*/spool.db")).with_name("system.jsonl")
    pause = threading.Event()
    for _ in range(600):
        if system.is_file() and system.read_text().count("\n") >= 2:
            break
        pause.wait(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    text()
    os.close(ours)
    _, run, client = delivered(tmp_path)
    assert run.info.status == "KILLED"
    lines = console(run, client, tmp_path)
    assert lines[-1] == "waiting"
    assert "a logged remark" in lines
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**Stopped** with accuracy")
    assert "ended without a word" in note.splitlines()[0]
    assert "dlframe resume" in note
    for key in ("cpu_percent", "memory_percent", "process_cpu_percent", "process_memory_mib"):
        points = client.get_metric_history(run.info.run_id, f"system/{key}")
        assert len(points) >= 2, key
        assert len({point.timestamp for point in points}) == len(points)
    memory = [
        p.value for p in client.get_metric_history(run.info.run_id, "system/process_memory_mib")
    ]
    assert all(100 < value < 10_000 for value in memory)
    steps = [p.step for p in client.get_metric_history(run.info.run_id, "system/cpu_percent")]
    assert steps == sorted(steps)
