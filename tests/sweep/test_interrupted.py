"""A search that is stopped before its first trial and after its last: nothing is lost by either."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
import trouble_support
from cli_support import end_delivery, environment

from dlframe.sweep.storage import find_study

_SEARCH = (
    "train", "sweep=random", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=2", "data=iris",
    "trainer.max_epochs=2", "optimizer.lr=interval(0.001,0.1)", "tracking.figures=false",
    "tracking.log_model=false", "tracking.sample_every=null", "architecture.hidden=[4]",
)  # fmt: skip
_COMMAND = [*trouble_support.COMMAND[:-1], *_SEARCH]


def _begun(place: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        _COMMAND, cwd=place, env=environment(), text=True, process_group=0,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_before_its_first_trial(tmp_path: Path, number: signal.Signals) -> None:
    process = _begun(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():  # the process that imports torch, which takes seconds
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "dlframe: stopped\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_after_its_last_trial(tmp_path: Path) -> None:
    process = _begun(tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "[2/2" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "2 of 2 trials done: 2 complete" in out
    drawn = (tmp_path / "runs" / "studies" / "s" / "report.html").is_file()
    assert drawn or "stopped before all figures were drawn and recorded; `dlframe study exp" in out
    done = subprocess.run(
        _COMMAND, cwd=tmp_path, env=environment(), text=True, check=False, capture_output=True
    )
    assert (done.returncode, "all 2 trials are done" in done.stdout) == (0, True), done.stderr
    assert len(find_study("s", tmp_path / "runs", None).trials) == 2
    assert (tmp_path / "runs" / "studies" / "s" / "report.html").is_file()
    end_delivery(tmp_path / "runs")


def test_by_a_terminal_that_is_closed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*_COMMAND, "trainer.max_epochs=100000"], cwd=tmp_path, env=environment(),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(theirs)
        os.set_blocking(ours, False)
        end = time.monotonic() + 100
        while not list(tmp_path.glob("runs/*/checkpoints/best.ckpt")):
            assert process.poll() is None
            assert time.monotonic() < end
            try:
                os.read(ours, 100_000)
            except BlockingIOError:
                time.sleep(0.02)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert all(
        trial.state.is_finished() for trial in find_study("s", tmp_path / "runs", None).trials
    )
    end_delivery(tmp_path / "runs")
