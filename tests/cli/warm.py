"""A process that has imported what commands import, which takes seconds, and forks one for each.

``python warm.py DESCRIPTOR``: the descriptor of a socket over which the orders come. What is forked
runs ``dlframe`` and ends as if it had been started so; but modules and the seed of hashes are given.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Forked", "Warm"]

_NEEDED = (
    "dlframe.analysis.chosen",
    "dlframe.analysis.multirun",
    "dlframe.analysis.report",
    "dlframe.cli.compare",
    "dlframe.cli.predict",
    "dlframe.cli.replay",
    "dlframe.cli.resume",
    "dlframe.cli.runs",
    "dlframe.cli.sync",
    "dlframe.cli.test",
    "dlframe.cli.train",
    "dlframe.config.compose",
    "dlframe.tracking.recorder",
    "dlframe.training.evaluate",
    "dlframe.training.predictor",
    "dlframe.training.replay",
    "dlframe.training.run",
    "fsspec.implementations.chained",
    "hydra",
    "importlib.resources.readers",
    "matplotlib.backends.backend_agg",
    "mlflow.tracking",
    "pyarrow.pandas_compat",
    "sklearn.datasets",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.preprocessing",
    "torch.utils.serialization.config",
)
"""What the commands import, in the end."""
_NUMBER = struct.Struct("i")
_READY = b"!"
_FIT = {"jemalloc_bg_thd"}
"""A thread of pyarrow's, which itself sees to forks."""


class Forked:
    """A command in a process that was forked, to be treated as if ``subprocess.Popen`` had started it.

    Args:
        words: the command's.
        told: a socket over which the process's keeper tells its number and, later, its exit code.
        descriptors: the ends to read from of its standard output and its standard error.
    """

    def __init__(
        self, words: Sequence[str], told: socket.socket, descriptors: Sequence[int]
    ) -> None:
        self._words, self._told = list(words), told
        self._said = {descriptor: bytearray() for descriptor in descriptors}
        self._open = set(descriptors)
        self.returncode: int | Any = None
        self.pid = self._number()

    def _number(self) -> int:
        told = self._told.recv(_NUMBER.size, socket.MSG_WAITALL)
        return int(_NUMBER.unpack(told)[0])

    def poll(self) -> int | None:
        """Return its exit code, minus the signal where one has ended it, or None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._number()
            self._told.close()
        return self.returncode

    def communicate(self, timeout: float = 600.0) -> tuple[str, str]:
        """Read what it prints until nobody can print there any more, and wait for its end."""
        end = time.monotonic() + timeout
        while self._open or self.returncode is None:
            waited: list[Any] = [*self._open, *([self._told] if self.returncode is None else [])]
            ready = select.select(waited, [], [], max(0.0, end - time.monotonic()))[0]
            if not ready:
                raise subprocess.TimeoutExpired(self._words, timeout)
            self.poll()
            for descriptor in self._open.intersection(ready):
                some = os.read(descriptor, 65536)
                self._said[descriptor] += some
                if not some:
                    os.close(descriptor)
                    self._open.remove(descriptor)
        out, err = (said.decode() for said in self._said.values())
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that forks.

    Args:
        environment: of it and of all that it forks.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._orders, orders = socket.socketpair()
        with tempfile.TemporaryFile() as said, orders:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(orders.fileno())], pass_fds=[orders.fileno()],
                env=self.environment, stdout=said, stderr=said,
            )  # fmt: skip
            orders.close()
            ready = self._orders.recv(1)
            said.seek(0)
            assert (ready, said.read().decode()) == (_READY, ""), "imports say nothing"

    def start(self, *words: str, cwd: Path, group: bool = False) -> Forked:
        """Start ``dlframe`` with these words, as the leader of a process group if asked to."""
        told, tell = socket.socketpair()
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        order = {"words": words, "cwd": str(cwd), "group": group}
        given = [to_out, to_err, tell.fileno()]
        socket.send_fds(self._orders, [json.dumps(order).encode()], given)
        tell.close()
        os.close(to_out)
        os.close(to_err)
        return Forked(words, told, [out, err])

    def close(self) -> None:
        """End it; what it has forked stays."""
        self._orders.close()
        self._process.wait()


def _serve(orders: socket.socket) -> list[str]:
    """Fork for each order; return, in the process that was forked, what its command is."""
    with orders:
        while True:
            text, given, _, _ = socket.recv_fds(orders, 1 << 16, 3)
            if not text:
                os._exit(0)
            if os.fork() == 0:
                break
            for descriptor in given:
                os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, tell = given
    order = json.loads(text)
    if pid := os.fork():
        os.close(out)
        os.close(err)
        os.write(tell, _NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        os.write(tell, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.close(tell)
    if order["group"]:
        os.setpgid(0, 0)
    for descriptor, target in ((out, 1), (err, 2)):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(order["cwd"])
    sys.path[0] = order["cwd"]  # as `python -m` has it
    words: list[str] = order["words"]
    return words


def _main(descriptor: int) -> None:
    for name in _NEEDED:
        import_module(name)
    import numpy as np

    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")} - _FIT
    assert len(threads) == 1, f"only what has one thread may be forked: {threads}"
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    orders = socket.socket(fileno=descriptor)
    orders.sendall(_READY)
    sys.argv[1:] = _serve(orders)
    np.random.seed()  # as a process of its own begins
    runpy.run_module("dlframe", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
