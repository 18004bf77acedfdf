"""One trial in a process of its own: watched from its beginning to its end, and what came of it."""

import queue
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dlframe.sweep.definition import Limits
from dlframe.sweep.order import Order, Outcome, State
from dlframe.sweep.server import Events, Server
from dlframe.sweep.session import kill, members, oom_kills, resident
from dlframe.sweep.trial import RESULT
from dlframe.training.channel import Report

__all__ = ["Watch"]

_LOOK_EVERY = 0.2
_MEASURE_EVERY = 0.5


class Watch:
    """Watches one trial.

    Args:
        server: that has been told of it.
        number: by which the server knows it.
        order: what it is to do.
        place: its folder.
        events: what the server and its reports tell.
        limits: what it may take.
        grace: seconds in which it may stop in order.
    """

    def __init__(
        self,
        server: Server,
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
        self._ended = False

    def until_end(
        self,
        on_report: Report,
        should_stop: Callable[[], bool],
        should_hurry: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Wait for its end; answer what it reports, and hold it to its limits."""
        try:
            while not self._ended:
                self._follow(on_report)
                if not self._ended:
                    self._limit(should_stop, should_hurry)
        except BaseException:
            self._stop("stopped", "")
            self._await_end()
            raise
        return self._outcome(should_stop)

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
            stop = False
            try:
                if self._reason is None and reported:
                    stop = on_report(event["step"], reported)
            finally:  # who waits for an answer could not stop in order
                event["answer"](stop)
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

    def _limit(self, should_stop: Callable[[], bool], should_hurry: Callable[[], bool]) -> None:
        """End it, if it is to."""
        now, most = time.monotonic(), self._limits
        if self._reason is not None:
            self._force(hurry=should_hurry())
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

    def _force(self, *, hurry: bool = False) -> None:
        if self._pid is None and not self._server.ready:  # nothing has begun that could stop
            self._ended = True
            return
        if self._kill_at is not None and (hurry or time.monotonic() >= self._kill_at):
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

    def _outcome(self, should_stop: Callable[[], bool]) -> Outcome:
        path, seconds = self._place / RESULT, time.monotonic() - self._began
        found = Outcome.from_json(path.read_text()) if path.is_file() else None
        if found is not None and found.state in ("finished", "pruned"):
            return replace(found, code=self._code)  # whatever it was told in its last moments
        told = self._code == -signal.SIGTERM if found is None else found.state == "stopped"
        if self._reason is None and told and should_stop():  # a scheduler has told all at once
            self._reason, self._told_why = "stopped", "it was stopped"
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
