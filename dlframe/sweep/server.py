"""The process that trials are forked from, as the process that orders them sees it."""

import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlframe.errors import DlframeError

__all__ = ["Events", "Server"]

_PATIENCE = 10.0
"""Seconds in which a server that is not needed any more may come to its end after its trials have."""
_FIT_TO_BE_FORKED = {
    # No threads: not NumPy's, not those of pyarrow's memory.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Nor CUDA, which whoever looks for a GPU would otherwise initialize.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}

Events = queue.SimpleQueue[dict[str, Any]]
"""What becomes of a trial, one thing after another."""


class Server:
    """The process that forks, and the way to it.

    Args:
        threads: CPU threads of each trial; None leaves torch's default.
        grace: seconds in which a trial that is asked to stop may do so.
        folder: what it removes in the end.

    Attributes:
        ready: whether it has imported all and can begin trials.
        lost: whether it has ended.
    """

    def __init__(self, threads: int | None, grace: float, folder: Path) -> None:
        self._grace = grace
        environment = dict(os.environ)
        if threads is not None:
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        environment |= _FIT_TO_BE_FORKED
        self._control, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file called types.py in the user's folder must not become a module here.
                [sys.executable, "-P", "-m", "dlframe.sweep.forkserver", str(theirs.fileno()),
                 str(grace), str(folder), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # the terminal's Ctrl-C is for those who give the orders
            )  # fmt: skip
        self._waiting: dict[int, Events] = {}
        self._changing, self._sending = threading.Lock(), threading.Lock()
        self.lost = self.ready = False
        self._thread = threading.Thread(target=self._read, name="dlframe-pool", daemon=True)
        self._thread.start()

    def begin(self, number: int, events: Events, told: dict[str, Any]) -> bool:
        """Have an order carried out, of which ``events`` tells; return whether it was sent."""
        with self._changing:
            if self.lost:
                return False
            self._waiting[number] = events
        return self._send({"trial": number, **told})

    def signal(self, number: int, name: int) -> None:
        """Send a signal to a trial."""
        self._send({"trial": number, "signal": name})

    def forget(self, number: int) -> None:
        """Wait for a trial no more."""
        with self._changing:
            self._waiting.pop(number, None)

    def check(self) -> None:
        """Raise if the process ended before it could do anything.

        Raises:
            DlframeError: what it said.
        """
        if not self.ready:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").split("\n")
            words = next((line for line in reversed(lines) if line), "it said nothing")
            raise DlframeError(f"the process that trials begin from could not start: {words}")

    def end(self) -> None:
        """Have it stop its trials, and wait for its end."""
        if not self.ready:  # it has none, and would not hear of it before it has imported all
            self._process.kill()
        with suppress(OSError):  # it has ended already
            self._control.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(self._grace + _PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._control.close()
        self._said.close()

    def _send(self, told: dict[str, Any]) -> bool:
        try:
            with self._sending:
                self._control.sendall(f"{json.dumps(told)}\n".encode())
        except OSError:  # it has been killed, which the reading thread tells
            return False
        return True

    def _read(self) -> None:
        """Pass on what the process says, until it ends."""
        # One that dies with orders unread resets the connection instead of closing it.
        with self._control.makefile("rb") as said, suppress(ConnectionResetError):
            for line in said:
                self._take_in(json.loads(line))
        with self._changing:
            self.lost = True
            for events in self._waiting.values():
                events.put({"lost": True})

    def _take_in(self, told: dict[str, Any]) -> None:
        if "ready" in told:
            self.ready = True
            return
        with self._changing:
            events = self._waiting.get(told["trial"])
        if events is not None:
            events.put(told)
