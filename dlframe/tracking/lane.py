"""A lane of the delivery process: one sink and store, in a thread, and the runs that go there.

A store that hangs or fails holds up nobody else. It is tried again with growing pauses for as long as
there are records.
"""

import gc
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dlframe.errors import DlframeError, StorageError
from dlframe.tracking.launch import wants_credentials
from dlframe.tracking.sinks import LostError, PendingRun, Sink, UnreachableError
from dlframe.tracking.spool import Cursor, Spool
from dlframe.tracking.system_metrics import Monitor, has_samples, samples

__all__ = ["Lane", "OpenRun"]

_POLL = 0.1
_LIVE_INTERVAL = 1.0
_RECORDS_AT_ONCE = 2000
_LONGEST_PAUSE = 5.0
_MEASURED = "measured"
_log = logging.getLogger("dlframe.deliver")


@dataclass(eq=False)
class OpenRun:
    """A run with something left to deliver.

    Args:
        folder: the run's folder.
        spool: its records.
        uri: where it goes.
        checked_at: when its process was last seen alive.
        monitor: measures that process, where it asked for it.
        seen: number of the last record that was looked at for such a wish.
    """

    folder: Path
    spool: Spool
    uri: str
    checked_at: float = 0.0
    monitor: Monitor | None = None
    seen: int = 0


@dataclass
class _Pause:
    """Growing pauses between attempts; random in part, so that many do not come at once."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.until = time.monotonic() + self.seconds * random.uniform(0.75, 1.25)
        self.seconds = min(_LONGEST_PAUSE, self.seconds * 2)

    def end(self) -> None:
        self.seconds = _Pause.seconds


@dataclass
class _Turn:
    """A run as this lane sees it."""

    run: OpenRun
    pause: _Pause = field(default_factory=_Pause)
    delivered_at: float = 0.0
    last: int = 0
    moved_at: float = 0.0
    said: str = ""


class Lane:
    """Delivers runs to one sink and one store.

    Args:
        name: the sink's.
        uri: the store's address, with credentials.
        make: gives the sink of a name; called in the lane's own thread, since it may be slow.
    """

    def __init__(self, name: str, uri: str, make: Callable[[str], Sink]) -> None:
        self._name, self._uri, self._make = name, uri, make
        self._sink: Sink | None = None
        self._turns: dict[OpenRun, _Turn] = {}
        self._pause = _Pause()
        # A sink may be in the middle of a call for as long as that takes: nobody waits for the
        # thread, and it must not keep the process.
        threading.Thread(target=self._work, name=f"sink-{name}", daemon=True).start()

    def add(self, run: OpenRun) -> None:
        """Deliver this run too."""
        self._turns[run] = _Turn(run)

    def remove(self, run: OpenRun) -> None:
        """Leave this run alone from now on; its spool may be closed."""
        self._turns.pop(run, None)

    def wants_credentials(self) -> bool:
        """Whether what stands in the way may be that the environment lacks something."""
        return any(wants_credentials(turn.said) for turn in list(self._turns.values()))

    def _work(self) -> None:
        while True:
            for turn in list(self._turns.values()):
                try:
                    self._take(turn)
                # Whatever it is, the spool keeps the records and other runs must go on.
                except Exception as error:
                    if turn.run in self._turns:  # else it was closed in the meantime
                        turn.pause.extend()
                        self._note(turn, error)
            time.sleep(_POLL)

    def _take(self, turn: _Turn) -> None:
        now, spool = time.monotonic(), turn.run.spool
        if now < max(self._pause.until, turn.pause.until):
            return
        last = spool.last()
        live = last is not None and last[1] != "finish"
        if last is None or (live and now - turn.delivered_at < _LIVE_INTERVAL):
            return
        turn.delivered_at = now
        if last[0] != turn.last:
            turn.last, turn.moved_at = last[0], now
        run = PendingRun(turn.run.folder, spool.info(), self._uri)
        cursor = spool.cursor(self._name, self._uri)
        if cursor.seq < last[0] or has_samples(run.folder, cursor.state.get(_MEASURED, 0)):
            self._deliver(turn, run, cursor)
            if cursor.seq < last[0]:
                turn.delivered_at = 0.0  # there is more, to go on with at once
        elif live and self._ready().quiet(run, now - turn.moved_at, cursor.state):
            self._advance(turn, cursor)

    def _ready(self) -> Sink:
        if self._sink is None:
            self._sink = self._make(self._name)
            # A sink brings a library of some 500,000 objects along, which stay; to look through
            # them again and again for garbage took a third of the delivery's time.
            gc.freeze()
        return self._sink

    def _deliver(self, turn: _Turn, run: PendingRun, cursor: Cursor) -> None:
        try:
            sink = self._ready()
            records = turn.run.spool.read(cursor.seq, _RECORDS_AT_ONCE)
            while self._send_samples(sink, run, cursor):
                self._advance(turn, cursor)
            for seq in sink.deliver(run, records, cursor.state) if records else ():
                cursor.seq = seq
                cursor.state.pop("error", None)
                self._advance(turn, cursor)
                self._pause.end()
                turn.pause.end()
                turn.said = ""
        except LostError as error:
            _log.warning("%s: %s", run.info.uid, error)
            cursor.seq, cursor.state = 0, {k: v for k, v in cursor.state.items() if k == "to"}
            self._advance(turn, cursor)
        except UnreachableError as error:
            self._pause.extend()
            self._remember(turn, cursor, error)
        except Exception as error:
            turn.pause.extend()
            self._remember(turn, cursor, error)

    def _send_samples(self, sink: Sink, run: PendingRun, cursor: Cursor) -> bool:
        """Send what was measured of the machine: metrics like others, kept in a file of their own."""
        start = cursor.state.get(_MEASURED, 0)
        records, end = samples(run.folder, start)
        if records:
            for _ in sink.deliver(run, records, cursor.state):
                pass
        if end > start:
            cursor.state[_MEASURED] = end
        return bool(end > start)

    def _advance(self, turn: _Turn, cursor: Cursor) -> None:
        """Remember how far the sink has come, unless the run goes elsewhere by now.

        Raises:
            StorageError: the sink's state is not to be kept.
            OSError: the disk is full or cannot be written.
        """
        if turn.run not in self._turns:
            raise StorageError("the run was closed")
        try:
            turn.run.spool.advance(self._name, cursor)
        except (TypeError, ValueError) as error:
            raise StorageError(
                f"the sink {self._name!r} must keep plain values in its state, and JSON cannot hold "
                f"these ({error}); mend the sink"
            ) from error

    def _remember(self, turn: _Turn, cursor: Cursor, error: Exception) -> None:
        """Keep what stands in the way, for who asks how far the delivery is."""
        sentence = self._tell(turn, error)
        if cursor.state.get("error") == sentence:
            return
        cursor.state["error"] = sentence
        try:
            self._advance(turn, cursor)
        except StorageError:  # what was kept before can be kept again
            kept = turn.run.spool.cursor(self._name, self._uri)
            kept.state["error"] = sentence
            self._advance(turn, kept)

    def _note(self, turn: _Turn, error: Exception) -> None:
        try:
            self._remember(turn, turn.run.spool.cursor(self._name, self._uri), error)
        except Exception as second:  # such as a full disk: the log must do
            self._tell(turn, second)

    def _tell(self, turn: _Turn, error: Exception) -> str:
        """Write what stands in the way into the log, once."""
        sentence = str(error) or type(error).__name__
        if turn.said != sentence:
            turn.said = sentence
            # The trace of a failed request would only repeat the sentence, with the URI's password.
            trace = None if isinstance(error, UnreachableError | DlframeError) else error
            _log.error("%s: %s", turn.run.folder.name, sentence, exc_info=trace)
        return sentence
