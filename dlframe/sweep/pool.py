"""Trials in processes of their own, which begin warm: forked from one that has all imported."""

import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from dlframe.sweep.definition import Limits
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.server import Events, Server
from dlframe.sweep.trial import ORDER, RESULT, perform
from dlframe.sweep.watch import Watch
from dlframe.tracking.whole import write_whole
from dlframe.training.channel import Listener, Report

__all__ = ["Pool", "run_inline"]

_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL."""


class Pool:
    """A pool of warm processes, one for each trial; ``run`` may be called by several threads at once.

    When the process that has the pool dies, by whatever, its trials are asked to stop, and ended
    if they do not.

    Args:
        threads: CPU threads of each trial, where its config does not say; None leaves torch's default.
        grace: seconds in which a trial that is asked to stop may write its last checkpoint.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, threads: int | None = None, *, grace: float = _GRACE) -> None:
        self._threads, self._grace = threads, grace
        self._closed = False
        self._numbers, self._starting = count(), threading.Lock()
        self._listener = Listener()
        self._server = Server(threads, grace, self._listener.folder)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self,
        order: Order,
        place: Path,
        *,
        on_report: Report,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        should_hurry: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Carry an order out in a process of its own, and wait for its end.

        Args:
            order: what to do.
            place: a folder for this alone: ``order.json``, ``result.json`` and what is printed,
                ``log.txt``.
            on_report: takes the number of an epoch and its metrics; says whether to stop. It is called
                by the thread that waits here.
            limits: time and memory that it may take.
            environment: variables to set.
            should_stop: looked at several times a second; once it is true, the training stops where
                it can be gone on with.
            should_hurry: likewise; once it is true, a training that is stopping is ended at once.

        Raises:
            DlframeError: no process that trains can be started.
            Exception: what ``on_report`` or ``should_stop`` raise; the trial is stopped first.
        """
        place.mkdir(parents=True, exist_ok=True)
        (place / RESULT).unlink(missing_ok=True)
        _write_privately(place / ORDER, order.to_json())
        events: Events = queue.SimpleQueue()
        address = self._listener.expect(
            lambda step, values, answer: events.put(
                {"step": step, "values": values, "answer": answer}
            )
        )
        told = {
            "place": str(place.absolute()),
            "watch": address,
            "cwd": os.getcwd(),
            "path": sys.path,
            "environment": dict(environment or {}),
        }
        try:
            number = next(self._numbers)
            server = self._begin(number, events, told)
            watch = Watch(server, number, order, place, events, limits or Limits(), self._grace)
            try:
                return watch.until_end(
                    on_report, lambda: self._closed or should_stop(), should_hurry
                )
            finally:
                server.forget(number)
        finally:
            self._listener.forget(address)

    def _begin(self, number: int, events: Events, told: dict[str, Any]) -> Server:
        """Send an order to the server, to a new one if that was killed meanwhile."""
        while True:
            with self._starting:
                if self._closed:
                    raise RuntimeError("the pool has been closed")
                if self._server.lost:
                    self._server.check()
                    self._server.end()
                    self._server = Server(self._threads, self._grace, self._listener.folder)
                server = self._server
            if server.begin(number, events, told):
                return server

    def close(self) -> None:
        """Stop all trials, end those that do not, and wait until they have ended."""
        with self._starting:
            self._closed = True
        self._server.end()
        self._listener.close()


def run_inline(order: Order, place: Path, on_report: Report) -> Outcome:
    """Carry an order out in this process.

    Args:
        order: what to do.
        place: a folder for this alone: ``order.json`` and ``result.json``.
        on_report: as for ``Pool.run``.

    Raises:
        KeyboardInterrupt: the user stopped it.
        Exception: what ``on_report`` raises; the training ends with it.
    """
    place.mkdir(parents=True, exist_ok=True)
    (place / RESULT).unlink(missing_ok=True)
    _write_privately(place / ORDER, order.to_json())
    raised: list[Exception] = []

    def report(step: int, values: dict[str, float]) -> bool:
        reported = order.reported(values)
        try:
            return bool(reported) and on_report(step, reported)
        except Exception as error:
            raised.append(error)
            raise

    outcome = perform(order, report)
    if raised:
        raise raised[0]
    write_whole(place / RESULT, outcome.to_json())
    return outcome


def _write_privately(path: Path, content: str) -> None:
    """Write a file that only its user may read: a config can hold passwords."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(content)
