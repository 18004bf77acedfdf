"""A terminal that is closed in the middle of a training."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from cli_support import COMMAND, end_delivery, environment, status_of

from dlframe.training.checkpoint import BEST, LAST, check


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("progress", ["on", "off"])
def test_the_run_is_saved_and_recorded_as_stopped(tmp_path: Path, progress: str) -> None:
    """With a progress bar there is always something on its way to the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "train", "trainer.max_epochs=100000", f"trainer.progress={progress}"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment(),
        preexec_fn=_own_terminal,
    )  # fmt: skip
    try:
        os.close(theirs)
        os.set_blocking(ours, False)
        end = time.monotonic() + 120
        while not list(tmp_path.glob(f"runs/*/checkpoints/{BEST}")):
            assert process.poll() is None
            assert time.monotonic() < end
            try:
                os.read(ours, 100_000)
            except BlockingIOError:
                time.sleep(0.02)
        os.close(ours)
        assert process.wait(timeout=120) == 128 + signal.SIGHUP
        (last,) = tmp_path.glob(f"runs/*/checkpoints/{LAST}")
        check(last)
        assert status_of(tmp_path / "runs", last.parent.parent.name) == "KILLED"
    finally:
        process.kill()  # nothing, unless the test has failed
    end_delivery(tmp_path / "runs")
