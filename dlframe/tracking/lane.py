"""A lane of the delivery process: one sink, in a thread of its own, and the runs that go there.

A sink that hangs or fails holds up nobody but itself. It is tried again with growing pauses for as
long as there are records.
"""

import gc
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dlframe.tracking.launch import resolve_uri
from dlframe.tracking.sinks import PendingRun, Sink, UnreachableError
from dlframe.tracking.spool import Cursor, Spool
from dlframe.tracking.system_metrics import Monitor, samples

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
        checked_at: when its process was last seen alive.
        monitor: measures that process, where it asked for it.
        seen: number of the last record that was looked at for such a wish.
    """

    folder: Path
    spool: Spool
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
    """A run as this sink sees it."""

    run: OpenRun
    pause: _Pause = field(default_factory=_Pause)
    delivered_at: float = 0.0
    last: int = 0
    moved_at: float = 0.0


class Lane:
    """Delivers runs to one sink.

    Args:
        name: the sink's.
        make: gives the sink of a name; called in the lane's own thread, since it may be slow.
        root: the tracking root.
    """

    def __init__(self, name: str, make: Callable[[str], Sink], root: Path) -> None:
        self._name, self._make, self._root = name, make, root
        self._sink: Sink | None = None
        self._turns: dict[OpenRun, _Turn] = {}
        self._stores: dict[str, _Pause] = {}
        # A sink may be in the middle of a call for as long as that takes: nobody waits for the
        # thread, and it must not keep the process.
        threading.Thread(target=self._work, name=f"sink-{name}", daemon=True).start()

    def add(self, run: OpenRun) -> None:
        """Deliver this run too."""
        self._turns[run] = _Turn(run)

    def remove(self, run: OpenRun) -> None:
        """Leave this run alone from now on; its spool may be closed."""
        self._turns.pop(run, None)

    def _work(self) -> None:
        while True:
            for turn in list(self._turns.values()):
                try:
                    self._take(turn)
                except (sqlite3.Error, OSError) as error:
                    if turn.run in self._turns:  # else it was closed in the meantime
                        _log.warning("%s: %s; trying again", turn.run.folder.name, error)
                        turn.pause.extend()
            time.sleep(_POLL)

    def _take(self, turn: _Turn) -> None:
        now, spool = time.monotonic(), turn.run.spool
        last = spool.last()
        live = last is not None and last[1] != "finish"
        if last is None or (live and now - turn.delivered_at < _LIVE_INTERVAL):
            return
        turn.delivered_at = now
        if last[0] != turn.last:
            turn.last, turn.moved_at = last[0], now
        info = spool.info()
        run = PendingRun(turn.run.folder, info, resolve_uri(info.uri, self._root))
        store = self._stores.setdefault(run.uri, _Pause())
        cursor = spool.cursor(self._name, run.uri)
        measured = samples(run.folder, cursor.state.get(_MEASURED, 0))[0]
        due = bool(measured) or cursor.seq < last[0]
        if due and now >= max(store.until, turn.pause.until):
            self._deliver(turn, run, cursor, store)
            if cursor.seq < last[0]:
                turn.delivered_at = 0.0  # there is more, to go on with at once
        elif live and not due and now >= turn.pause.until:
            self._notice(turn, run, cursor)

    def _notice(self, turn: _Turn, run: PendingRun, cursor: Cursor) -> None:
        """Let the sink notice that a training that goes on records nothing."""
        try:
            sink = self._ready()
            if sink.quiet(run, time.monotonic() - turn.moved_at, cursor.state):
                turn.run.spool.advance(self._name, cursor)
        except Exception as error:
            turn.pause.extend()
            self._remember(turn.run.spool, run, cursor, error)

    def _ready(self) -> Sink:
        if self._sink is None:
            self._sink = self._make(self._name)
            # A sink brings a library of some 500,000 objects along, which stay; to look through
            # them again and again for garbage took a third of the delivery's time.
            gc.freeze()
        return self._sink

    def _deliver(self, turn: _Turn, run: PendingRun, cursor: Cursor, store: _Pause) -> None:
        spool = turn.run.spool
        records = spool.read(cursor.seq, _RECORDS_AT_ONCE)
        try:
            sink = self._ready()
            if self._send_samples(sink, run, cursor):
                spool.advance(self._name, cursor)
            for seq in sink.deliver(run, records, cursor.state):
                cursor.seq = seq
                cursor.state.pop("error", None)
                spool.advance(self._name, cursor)
                store.end()
                turn.pause.end()
        except sqlite3.Error:
            raise
        # Whatever it is, the spool keeps the records and other runs must go on.
        except Exception as error:
            (store if isinstance(error, UnreachableError) else turn.pause).extend()
            self._remember(spool, run, cursor, error)

    def _send_samples(self, sink: Sink, run: PendingRun, cursor: Cursor) -> bool:
        """Send what was measured of the machine: metrics like others, kept in a file of their own."""
        records, end = samples(run.folder, cursor.state.get(_MEASURED, 0))
        if records:
            for _ in sink.deliver(run, records, cursor.state):
                pass
            cursor.state[_MEASURED] = end
        return bool(records)

    def _remember(self, spool: Spool, run: PendingRun, cursor: Cursor, error: Exception) -> None:
        sentence = str(error) or type(error).__name__
        if cursor.state.get("error") != sentence:
            # The trace of a failed request would only repeat the sentence, with the URI's password.
            trace = None if isinstance(error, UnreachableError) else error
            _log.error("%s: %s", run.info.uid, sentence, exc_info=trace)
            cursor.state["error"] = sentence
            spool.advance(self._name, cursor)
