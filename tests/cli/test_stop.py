"""Runs that do not end well: diverging losses, full disks, Ctrl-C."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_support import (
    COMMAND,
    PATIENT,
    dlframe,
    end_delivery,
    environment,
    one_sentence,
    recorded,
    runs_in,
    started,
    status_of,
)
from warm import Forked

from dlframe.training.checkpoint import LAST
from dlframe.training.prepare import rebuild


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose ``runs`` all tests of this module record into."""
    folder = tmp_path_factory.mktemp("place")
    yield folder
    end_delivery(folder / "runs")


def new_runs(place: Path, before: list[str]) -> list[str]:
    return [uid for uid in runs_in(place / "runs") if uid not in before]


def loads(folder: Path) -> bool:
    """Whether the best checkpoint of a run's folder is whole: the network is built again from it."""
    return not rebuild(folder).network.training


# --- a loss that becomes infinite -----------------------------------------------------------------


def test_a_diverging_loss_stops_the_run_and_keeps_the_last_good_checkpoint(place: Path) -> None:
    before = runs_in(place / "runs")
    # A linear model far above the stable rate: the loss grows by about the same factor each step.
    done = dlframe(
        "train", "data=diabetes", "architecture.hidden=[]", "optimizer=sgd", "optimizer.lr=1",
        "trainer.max_epochs=200", "regularizer=[weight_averaging]", cwd=place,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    said = one_sentence(done.stderr)
    assert "the training loss became " in said
    assert "at optimizer step " in said
    assert "try a lower optimizer.lr" in said
    step = int(said.partition("optimizer step ")[2].split()[0])
    epoch = int(said.partition("(epoch ")[2].split(")")[0])
    assert epoch > 1, "nothing was validated before"
    assert 5 * (epoch - 1) < step <= 5 * epoch, "an epoch has five steps"
    [uid] = new_runs(place, before)
    assert status_of(place / "runs", uid) == "FAILED"
    folder = place / "runs" / uid
    assert loads(folder)
    assert not list(folder.glob("**/*.part"))
    rows = recorded(
        place / "runs", "SELECT t.value FROM tags t JOIN tags u ON t.run_uuid = u.run_uuid AND "
        f"u.key = 'dlframe.run_uid' AND u.value = '{uid}'",
    )  # fmt: skip
    assert any("the training loss became" in str(value) for (value,) in rows), "no error in MLflow"
    tested = dlframe("test", uid, "--json", cwd=place)
    assert tested.returncode == 0, tested.stderr
    assert "test/mae" in json.loads(tested.stdout)["metrics"]


# --- disks ----------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A real file system of a few megabytes; skips the test where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        end_delivery(folder)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("tracking", ["true", "false"])
def test_a_disk_that_is_full_at_the_start(tmp_path: Path, tracking: str) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk / "filling").write_bytes(b"0" * 2**21)
        done = dlframe(
            "train", f"tracking.root={disk}", "trainer.max_epochs=1", f"tracking.enabled={tracking}",
            cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert "choose another folder with tracking.root" in one_sentence(done.stderr)
        if tracking == "true":
            assert runs_in(disk) == []


def test_a_disk_that_fills_up_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    # Room for the first best.ckpt, but not for a better one beside it.
    with mounted(tmp_path / "disk", "size=5m") as disk:
        done = dlframe(
            "train", f"tracking.root={disk}", "trainer.max_epochs=3", "architecture.hidden=[512,512]",
            "tracking.enabled=false", cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        said = one_sentence(done.stderr)
        assert "best.ckpt' cannot be written (No space left on device); free space there" in said
        [uid] = runs_in(disk)
        names = {path.name for path in (disk / uid / "checkpoints").iterdir()}
        assert names == {"best.ckpt", "manifest.json"}, "a checkpoint is whole, or not there"
        assert loads(disk / uid)


def test_a_disk_that_fills_up_is_told_although_the_spool_fails_too(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=5m") as disk:
        done = dlframe(
            "train", f"tracking.root={disk}", "trainer.max_epochs=3", "architecture.hidden=[512,512]",
            "tracking.wait=0", cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        *notes, last = done.stderr.splitlines()
        assert "cannot be written (No space left on device); free space there" in last
        assert all(note.startswith("dlframe: the spool in ") for note in notes)


@pytest.mark.parametrize("overrides", [[], ["tracking.enabled=false"]])
def test_a_disk_that_cannot_be_written(tmp_path: Path, overrides: list[str]) -> None:
    with mounted(tmp_path / "disk", "size=1m,ro") as disk:
        done = dlframe(
            "train", f"tracking.root={disk}", "trainer.max_epochs=1", *overrides, cwd=tmp_path
        )
        assert (done.returncode, done.stdout) == (1, "")
        said = one_sentence(done.stderr)
        assert "Read-only file system" in said
        assert "with tracking.root" in said


STOPPED = """dlframe: stopping after this step; once more stops at once
dlframe: stopped; `dlframe resume {}` goes on
"""

# --- signals --------------------------------------------------------------------------------------


@contextmanager
def training(place: Path, *words: str) -> Iterator[tuple[Forked, str]]:
    """A training that would take hours, once its first checkpoint is written, and its run's id."""
    before = runs_in(place / "runs")
    order = ("train", "trainer.max_epochs=100000", PATIENT, *words)
    process = started(*order, cwd=place, group=True)
    try:
        end = time.monotonic() + 250
        found: list[str] = []
        while not found:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "no checkpoint was written"
            time.sleep(0.05)
            found = [
                uid
                for uid in new_runs(place, before)
                if (place / "runs" / uid / "checkpoints" / "best.ckpt").exists()
            ]
        yield process, found[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(place: Path, number: signal.Signals) -> None:
    with training(place) as (process, uid):
        os.killpg(process.pid, number)  # as a terminal does
        out, err = process.communicate(timeout=250)
    assert process.returncode == 128 + number
    assert (out, err) == ("", STOPPED.format(uid))
    assert status_of(place / "runs", uid) == "KILLED"
    assert loads(place / "runs" / uid)


def test_a_scheduler_that_tells_all_and_a_parent_that_passes_it_on_ask_once(place: Path) -> None:
    with training(place) as (process, uid):
        for _ in range(3):
            os.killpg(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=250)
    assert (process.returncode, out, err) == (128 + signal.SIGTERM, "", STOPPED.format(uid))
    assert (place / "runs" / uid / "checkpoints" / LAST).is_file()


def test_ctrl_c_ends_a_whole_multirun(place: Path) -> None:
    before = runs_in(place / "runs")
    with training(place, "-m", "seed=1,2,3", "tracking.experiment=stopped") as (process, uid):
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=250)
    assert process.returncode == 130
    assert err == STOPPED.format(uid)
    assert "runs without a result are left out: 1 killed" in out
    runs = new_runs(place, before)
    assert len(runs) == 2, "the multirun's own and that of its first job"
    assert [status_of(place / "runs", run) for run in runs] == ["KILLED", "KILLED"]


def opened_for(process: "subprocess.Popen[str]", fifo: Path) -> int:
    """Open a pipe for writing as soon as somebody reads it; fail if the process ends before."""
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # that nobody reads it yet
                raise
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_ctrl_c_while_data_is_read_leaves_no_run(tmp_path: Path) -> None:
    images = tmp_path / "train-images-idx3-ubyte.gz"
    os.mkfifo(images)  # reading it waits for a writer that writes nothing
    process = subprocess.Popen(
        [*COMMAND, "train", "data=mnist", f"data.root={tmp_path}"], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    try:
        writer = opened_for(process, images)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=250)
        os.close(writer)  # not before, since that would be the file's end
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (130, "")
    assert one_sentence(err) == "stopped"
    assert list(tmp_path.iterdir()) == [images]


NOTEBOOK = """
import os, signal, sys, threading, time
from pathlib import Path

import dlframe

root = Path(sys.argv[1])
before = set(root.glob("*/checkpoints/best.ckpt"))

def interrupt():
    while set(root.glob("*/checkpoints/best.ckpt")) == before:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    dlframe.train(f"tracking.root={root}", "trainer.max_epochs=100000", "tracking.wait=200")
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
run = dlframe.train(f"tracking.root={root}", "trainer.max_epochs=1", "tracking.wait=200")
print(run.status, dlframe.load(run.id, root=root).spec.task)
"""


@pytest.mark.slow
def test_a_notebook_trains_again_after_an_interruption(place: Path) -> None:
    root = place / "runs"
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(root)], cwd=place, env=environment(),
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, STOPPED.splitlines(keepends=True)[0])
    assert done.stdout.splitlines() == ["interrupted True", "FINISHED classification"]
    killed, finished = runs_in(root)[-2:]
    assert status_of(root, killed) == "KILLED"
    assert status_of(root, finished) == "FINISHED"
