"""A training in processes of its own: how they are started, stopped, and what they report.

Lightning starts further processes by repeating the command of the first. Repeating the user's own would
compose anew, and in a multirun start the whole multirun again; so the first is one that sees a frozen
config and nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from dlframe import errors
from dlframe.errors import DlframeError, Stopped, sentence
from dlframe.training.interruption import signals

__all__ = ["lacked_memory", "read_order", "report_error", "report_result", "run_apart"]

_ORDER, _RESULT, _ERROR = "order.json", "result.json", "error-*.json"
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
"""Names of Python's error and of torch's, which is not imported to tell."""
_LEFT = ("Connection closed by peer", "Connection reset by peer", "ncclRemoteError")
"""What torch says where another process has gone; it has no class for that."""
_ALLOCATOR = "DefaultCPUAllocator: "
"""What torch begins its words with where it has an error of no name for that."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What one process said.

    Args:
        kind: name of the error's class.
        follows: whether it may follow from another process's, as a broken connection does.
        time: ns since 1970.
        said: one sentence.
        memory: whether it lacked memory.
        left: whether it lost the connection to another process.
    """

    kind: str
    follows: bool
    time: int
    said: str
    memory: bool
    left: bool

    def error(self) -> DlframeError:
        """Return the error as this process would have raised it."""
        if self.left:  # by one that could not say why, or that would have been the first to
            error = DlframeError(
                "one of the training processes ended and said nothing; it may have been killed for "
                "want of memory"
            )
            error.__cause__ = ChildProcessError(self.said)
            return error
        kind: type[DlframeError] = getattr(errors, self.kind, DlframeError)
        error = kind(self.said)
        if self.memory:
            error.__cause__ = MemoryError(self.said)
        return error


def run_apart(order: Mapping[str, Any]) -> dict[str, Any]:
    """Start a training, wait for it, and return what its first process reported.

    Ctrl-C and SIGTERM are passed on to that process, which stops the others.

    Args:
        order: what ``read_order`` gives to each process; plain values.

    Raises:
        DlframeError: a process failed; what the first of them to fail said.
        Stopped: the training was stopped.
    """
    with tempfile.TemporaryDirectory(prefix="dlframe-") as folder:
        place = Path(folder)
        (place / _ORDER).write_text(json.dumps(order))
        command = [sys.executable, "-m", "dlframe.training.rank", folder]
        # A process group of its own: the terminal's Ctrl-C must not reach it a second time.
        code, number = _wait(subprocess.Popen(command, process_group=0))
        if number is not None or code == 128 + signal.SIGINT:
            raise Stopped(number or signal.SIGINT)
        failures = [_Failure(**json.loads(p.read_text())) for p in place.glob(_ERROR)]
        if failures:
            raise min(failures, key=lambda failure: (failure.follows, failure.time)).error()
        if code != 0 or not (place / _RESULT).is_file():
            raise DlframeError(
                f"the first of the training processes ended with exit code {code} and said nothing; "
                "it may have been killed for want of memory"
            ) from ChildProcessError(code)
        result: dict[str, Any] = json.loads((place / _RESULT).read_text())
        return result


def _wait(process: "subprocess.Popen[bytes]") -> tuple[int, int | None]:
    """Wait for the process; return its exit code, and the signal that it was told to stop by."""
    stopped: int | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = number
        # Whatever the signal: Lightning's own way to end many processes on SIGTERM may never return.
        process.send_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        return process.wait(), None
    before = {number: signal.signal(number, pass_on) for number in signals()}
    try:
        return process.wait(), stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_order(place: Path) -> dict[str, Any]:
    """Return what ``run_apart`` was given."""
    order: dict[str, Any] = json.loads((place / _ORDER).read_text())
    return order


def report_result(place: Path, result: Mapping[str, Any]) -> None:
    """Report the outcome, as the first process does."""
    (place / _RESULT).write_text(json.dumps(result))


def report_error(place: Path, error: BaseException) -> None:
    """Report a failure, as each process does that fails."""
    path = place / _ERROR.replace("*", os.environ.get("LOCAL_RANK", "0"))
    follows = not isinstance(error, DlframeError)
    failure = _Failure(
        kind=type(error).__name__,
        follows=follows,
        time=time.time_ns(),
        said=sentence(error),
        memory=lacked_memory(error),
        left=isinstance(error, RuntimeError) and any(words in str(error) for words in _LEFT),
    )
    path.write_text(json.dumps(asdict(failure)))


def lacked_memory(error: BaseException) -> bool:
    """Whether an error comes from too little memory, of the machine or of its accelerator."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in _OUT_OF_MEMORY or _ALLOCATOR in str(cause):
            return True
        cause = cause.__cause__
    return False
