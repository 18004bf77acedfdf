"""Ctrl-C, SIGTERM, a closed terminal: a request to stop where training can go on from."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from dlframe.errors import Stopped
from dlframe.tracking.console import let_go_of_closed_terminals

__all__ = ["Interruption", "signals", "stopping_at_once"]

_SAID = b"dlframe: stopping after this step; once more stops at once\n"
_SAME = 1.0
"""Seconds in which another SIGTERM repeats the first: a scheduler may tell every process of a job, and
the processes that watch over others pass it on."""


def signals() -> list[signal.Signals]:
    """Return the signals that ask to stop; a closed terminal's is not among them under ``nohup``."""
    found = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


class Interruption:
    """Notes the first signal while it is entered; the second raises at once, wherever training is.

    In other threads than the main one, which receives no signals, it does nothing.

    Attributes:
        number: the first signal's.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self.number: int = signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        self._before = self._install()
        return self

    def _install(self) -> dict[signal.Signals, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._request) for number in signals()}

    def renew(self) -> None:
        """Take the signals back from Lightning, which stops at SIGTERM before an epoch has its end."""
        if self._before:
            self._install()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Lightning leaves Ctrl-C ignored when it was interrupted; a notebook needs it back.
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._since is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._since is not None:
            if number == signal.SIGTERM and time.monotonic() - self._since < _SAME:
                return
            raise Stopped(number)
        self._since, self.number = time.monotonic(), number
        # Not to a stream, which may be in the middle of a write; below the ^C that a terminal shows.
        if number == signal.SIGHUP:
            let_go_of_closed_terminals()
        os.write(2, b"\n" + _SAID if os.isatty(2) else _SAID)

    def check(self, patience: float = 0.0) -> None:
        """Stop here, if that was asked for.

        Args:
            patience: seconds since then in which a better place may be reached.

        Raises:
            Stopped: a signal came, at least so long ago.
        """
        if self._since is not None and time.monotonic() - self._since >= patience:
            raise Stopped(self.number)


@contextmanager
def stopping_at_once(*more: signal.Signals) -> Iterator[None]:
    """Let signals end what is inside as Ctrl-C does, where nothing is there yet to be saved.

    Args:
        more: signals besides those that ask to stop anyway.

    Raises:
        Stopped: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            let_go_of_closed_terminals()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (*signals(), *more)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
