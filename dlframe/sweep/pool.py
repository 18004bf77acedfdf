"""Trials in processes of their own, which begin warm: forked from one that has all imported."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from dlframe.errors import DlframeError
from dlframe.sweep.definition import Limits
from dlframe.sweep.order import Order, Outcome, State
from dlframe.sweep.session import kill, members, oom_kills, resident
from dlframe.sweep.trial import ORDER, RESULT, perform
from dlframe.tracking.whole import write_whole
from dlframe.training.channel import Listener, Report

__all__ = ["Pool", "run_inline"]

_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL."""
_PATIENCE = 10.0
"""Seconds in which a server that is not needed any more may come to its end after that."""
_LOOK_EVERY = 0.2
_MEASURE_EVERY = 0.5
_FIT_TO_BE_FORKED = {
    # No threads: not NumPy's, not those of pyarrow's memory.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Nor CUDA, which whoever looks for a GPU would otherwise initialize.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}

Events = queue.SimpleQueue[dict[str, Any]]


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
        self._server = _Server(threads, grace)

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
            trial = _Trial(server, number, order, place, events, limits or Limits(), self._grace)
            try:
                return trial.watch(on_report, lambda: self._closed or should_stop())
            finally:
                server.forget(number)
        finally:
            self._listener.forget(address)

    def _begin(self, number: int, events: Events, told: dict[str, Any]) -> "_Server":
        """Send an order to the server, to a new one if that was killed meanwhile."""
        while True:
            with self._starting:
                if self._closed:
                    raise RuntimeError("the pool has been closed")
                if self._server.lost:
                    self._server.check()
                    self._server.end()
                    self._server = _Server(self._threads, self._grace)
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


class _Server:
    """The process that forks, and the way to it.

    Args:
        threads: see ``Pool``.
        grace: likewise.
    """

    def __init__(self, threads: int | None, grace: float) -> None:
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
                 str(grace), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # the terminal's Ctrl-C is for those who give the orders
            )  # fmt: skip
        self._waiting: dict[int, Events] = {}
        self._changing, self._sending = threading.Lock(), threading.Lock()
        self.lost = self._ready = False
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
        if not self._ready:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").split("\n")
            words = next((line for line in reversed(lines) if line), "it said nothing")
            raise DlframeError(f"the process that trials begin from could not start: {words}")

    def end(self) -> None:
        """Have it stop its trials, and wait for its end."""
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
            self._ready = True
            return
        with self._changing:
            events = self._waiting.get(told["trial"])
        if events is not None:
            events.put(told)


class _Trial:
    """Watches one trial, from its beginning to its end."""

    def __init__(
        self,
        server: _Server,
        number: int,
        order: Order,
        place: Path,
        events: Events,
        limits: Limits,
        grace: float,
    ) -> None:
        self._server, self._number = server, number
        self._order, self._place, self._events = order, place, events
        self._limits, self._grace = limits, grace
        self._oom_kills = oom_kills()
        self._pid: int | None = None
        self._began, self._measured = time.monotonic(), 0.0
        self._reason: str | None = None
        self._told_why = ""
        self._kill_at: float | None = None
        self._code: int | None = None
        self._ended = self._lost = False

    def watch(self, on_report: Report, should_stop: Callable[[], bool]) -> Outcome:
        """Wait for its end; answer what it reports, and hold it to its limits."""
        try:
            while not self._ended:
                self._follow(on_report)
                if not self._ended:
                    self._limit(should_stop)
        except BaseException:
            self._stop("stopped", "")
            self._await_end()
            raise
        return self._outcome()

    def _await_end(self) -> None:
        """Wait for the end of a trial that was told to stop."""
        while not self._ended:
            self._follow(lambda step, values: False)
            self._force()

    def _follow(self, on_report: Report) -> None:
        """Take in what happens next, if that is soon."""
        try:
            event = self._events.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            return
        if "answer" in event:
            reported = self._order.reported(event["values"])
            heard = self._reason is None and bool(reported)
            event["answer"](heard and on_report(event["step"], reported))
        elif "pid" in event:
            self._pid, self._began = event["pid"], time.monotonic()
        elif "code" in event:
            self._code, self._ended = event["code"], True
        elif "error" in event:
            self._told_why, self._ended = f"no process could be made: {event['error']}", True
        else:
            self._told_why, self._ended = "the process that it was begun from was killed", True
            self._await_orphans()
            self._server.check()

    def _limit(self, should_stop: Callable[[], bool]) -> None:
        """End it, if it is to."""
        now, most = time.monotonic(), self._limits
        if self._reason is not None:
            self._force()
        elif should_stop():
            self._stop("stopped", "it was stopped")
        elif self._pid is None:  # it has not begun
            return
        elif most.timeout is not None and now - self._began >= most.timeout:
            self._stop("timeout", f"it took longer than the {most.timeout:g} seconds of a trial")
        elif most.memory is not None and now - self._measured >= _MEASURE_EVERY:
            self._measured = now
            used = resident(self._pid)
            if used > most.memory:
                said = f"it used {used:.0f} MiB of memory, more than the {most.memory} of a trial"
                self._stop("memory", said, patience=0.0)

    def _stop(self, reason: str, said: str, patience: float | None = None) -> None:
        """Ask for the end; it comes by force if it does not come soon."""
        self._reason, self._told_why = reason, said
        patience = self._grace if patience is None else patience
        self._kill_at = time.monotonic() + patience
        self._server.signal(self._number, signal.SIGTERM if patience else signal.SIGKILL)

    def _force(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = time.monotonic() + self._grace
            self._server.signal(self._number, signal.SIGKILL)

    def _await_orphans(self) -> None:
        """Wait until a trial has ended that watches for the death of its server itself."""
        if self._pid is None:
            return
        end = time.monotonic() + self._grace + 1.0
        while any(members(self._pid)) and time.monotonic() < end:
            time.sleep(0.05)
        kill(self._pid)

    def _outcome(self) -> Outcome:
        path, seconds = self._place / RESULT, time.monotonic() - self._began
        found = Outcome.from_json(path.read_text()) if path.is_file() else None
        if found is not None and found.state in ("finished", "pruned"):
            return replace(found, code=self._code)  # whatever it was told in its last moments
        if self._reason is not None:
            state: State = "stopped" if self._reason == "stopped" else "failed"
            return self._failed(state, self._reason, self._told_why, seconds)
        if found is None:
            return self._failed("failed", self._killed(), self._how(), seconds)
        if found.state == "stopped":
            said = self._told_why or "it was told to stop, but not by its study"
            return self._failed("failed", "killed", said, seconds)
        reason = self._killed() if found.reason == "killed" else found.reason
        return replace(found, reason=reason, code=self._code)

    def _failed(self, state: State, reason: str, said: str, seconds: float) -> Outcome:
        return Outcome(
            uid=self._order.uid,
            state=state,
            seconds=seconds,
            reason=reason,
            said=said,
            code=self._code,
        )

    def _killed(self) -> str:
        """Return why a process was killed, as far as that can be known."""
        return "memory" if oom_kills() > self._oom_kills else "killed"

    def _how(self) -> str:
        """Say how a process ended that left no result."""
        if self._told_why:
            return self._told_why
        if self._code is not None and self._code < 0:
            number = -self._code
            name = signal.strsignal(number) or "unknown"
            return f"its process was ended by signal {number} ({name})"
        return f"its process ended with exit code {self._code} and said nothing; see log.txt"


def _write_privately(path: Path, content: str) -> None:
    """Write a file that only its user may read: a config can hold passwords."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(content)
