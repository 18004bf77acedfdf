"""The delivery process of a tracking root: ``python -m dlframe.tracking.deliver ROOT``.

One per root, held by a file lock. It reads the spools, hands the records to the sinks, tries again
with growing pauses while a store does not answer, notices training processes that died, and ends
when nothing has been left to deliver for a few seconds.
"""

import fcntl
import logging
import os
import random
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dlframe.tracking.launch import LOCK, resolve_uri
from dlframe.tracking.sinks import PendingRun, Sink, UnreachableError
from dlframe.tracking.spool import FILE, MARKER, Cursor, Entry, Spool, claim

__all__ = ["DeliveryLoop", "main"]

_POLL = 0.1
_LIVE_INTERVAL = 1.0
_IDLE_EXIT = 3.0
_RECORDS_AT_ONCE = 2000
_LONGEST_PAUSE = 15.0
_log = logging.getLogger("dlframe.deliver")


@dataclass
class _Pause:
    """Growing pauses between attempts; random in part, so that many do not come at once."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.until = time.monotonic() + self.seconds * random.uniform(0.75, 1.25)
        self.seconds = min(_LONGEST_PAUSE, self.seconds * 2)


@dataclass
class _Open:
    """A run with something left to deliver."""

    run: PendingRun
    spool: Spool
    delivered_at: float = 0.0
    checked_at: float = 0.0
    pauses: dict[str, _Pause] = field(default_factory=dict)


class DeliveryLoop:
    """Delivers the runs of one root to all sinks.

    Args:
        root: the tracking root.
        sinks: where to.
    """

    def __init__(self, root: Path, sinks: Sequence[Sink]) -> None:
        self._root = root
        self._sinks = sinks
        self._runs: dict[Path, _Open] = {}
        self._unreadable: set[Path] = set()
        self._pauses: dict[tuple[str, str], _Pause] = {}

    def left(self) -> list[Path]:
        """Return the folders of the runs that are not delivered in full."""
        found = {path.parent for path in self._root.glob(f"*/{MARKER}")}
        return sorted(found - self._unreadable)

    def until_idle(self) -> None:
        """Deliver until nothing has been left for a few seconds, or the root is gone."""
        busy_at = time.monotonic()
        while time.monotonic() - busy_at < _IDLE_EXIT and self._root.is_dir():
            folders = self.left()
            for gone in self._runs.keys() - set(folders):
                self._runs.pop(gone).spool.close()
            for folder in folders:
                busy_at = time.monotonic()
                self._visit(folder)
            time.sleep(_POLL)

    def _visit(self, folder: Path) -> None:
        try:
            if folder not in self._runs:
                if not (folder / FILE).exists():
                    _discard(folder)
                    return
                spool = Spool(folder)
                info = spool.info()
                uri = resolve_uri(info.uri, self._root)
                self._runs[folder] = _Open(PendingRun(folder, info, uri), spool)
            self._step(self._runs[folder])
        except (sqlite3.Error, TypeError, ValueError) as error:
            if isinstance(error, sqlite3.OperationalError):
                _log.warning("%s: %s; trying again", folder.name, error)  # busy or a full disk
                time.sleep(1.0)
                return
            _log.exception("%s cannot be read and is left alone", folder / FILE)
            self._unreadable.add(folder)
            self._runs.pop(folder, None)

    def _step(self, opened: _Open) -> None:
        last = opened.spool.last()
        if last is None:
            _discard(opened.run.folder)
            return
        now = time.monotonic()
        if last[1] != "finish" and now - opened.checked_at >= _LIVE_INTERVAL:
            opened.checked_at = now
            _close_if_dead(opened)
            last = opened.spool.last() or last
        finished = last[1] == "finish"
        if finished or now - opened.delivered_at >= _LIVE_INTERVAL:
            opened.delivered_at = now
            for sink in self._sinks:
                self._deliver(opened, sink, last[0])
        if finished and all(opened.spool.cursor(s.name).seq >= last[0] for s in self._sinks):
            with claim(opened.run.folder) as claimed:
                # While the claim was free, a training may have gone on with the run.
                if claimed is not None and opened.spool.last() == last:
                    (opened.run.folder / MARKER).unlink()
                    _log.info("%s: delivered", opened.run.info.uid)

    def _deliver(self, opened: _Open, sink: Sink, last: int) -> None:
        cursor = opened.spool.cursor(sink.name)
        store = self._pauses.setdefault((sink.name, opened.run.uri), _Pause())
        own = opened.pauses.setdefault(sink.name, _Pause())
        if cursor.seq >= last or time.monotonic() < max(store.until, own.until):
            return
        records = opened.spool.read(cursor.seq, _RECORDS_AT_ONCE)
        try:
            for seq in sink.deliver(opened.run, records, cursor.state):
                cursor.seq = seq
                cursor.state.pop("error", None)
                opened.spool.advance(sink.name, cursor)
                store.seconds, own.seconds = _Pause.seconds, _Pause.seconds
        except sqlite3.Error:
            raise
        # Whatever it is, the spool keeps the records and other runs must go on.
        except Exception as error:
            (store if isinstance(error, UnreachableError) else own).extend()
            self._remember(opened, sink, cursor, error)

    def _remember(self, opened: _Open, sink: Sink, cursor: Cursor, error: Exception) -> None:
        sentence = str(error) or type(error).__name__
        if cursor.state.get("error") != sentence:
            # The trace of a failed request would only repeat the sentence, with the URI's password.
            trace = None if isinstance(error, UnreachableError) else error
            _log.error("%s: %s", opened.run.info.uid, sentence, exc_info=trace)
            cursor.state["error"] = sentence
            opened.spool.advance(sink.name, cursor)


def _close_if_dead(opened: _Open) -> None:
    """Write the status that the training process could not write any more."""
    folder = opened.run.folder
    with claim(folder) as claimed:
        if claimed is None:
            return
        last = opened.spool.last()
        if last is not None and last[1] != "finish":
            sign_of_life = os.fstat(claimed).st_mtime_ns // 1_000_000
            body = {"status": "KILLED", "error": "the training process ended without a word"}
            opened.spool.append([Entry("finish", max(last[2], sign_of_life), body)])
            _log.warning("%s: %s", folder.name, body["error"])


def _discard(folder: Path) -> None:
    """Forget a run whose process died before it recorded anything."""
    with claim(folder) as claimed:
        if claimed is not None:
            (folder / MARKER).unlink()


def main(arguments: Sequence[str]) -> int:
    """Deliver the runs of the root in ``arguments`` until nothing is left."""
    os.nice(10)  # where cores are few, training comes first
    root = Path(arguments[0]).absolute()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    loop: DeliveryLoop | None = None
    while True:
        with ExitStack() as stack:
            lock = stack.enter_context(open(root / LOCK, "a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # another one is at work
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            if loop is None:
                # After the lock: a second process ends at once instead of importing MLflow.
                from dlframe.tracking.mlflow_sink import MlflowSink

                for chatty in ("mlflow", "alembic"):  # their import sets the levels
                    logging.getLogger(chatty).setLevel(logging.WARNING)
                loop = DeliveryLoop(root, [MlflowSink()])
            loop.until_idle()
        # A run that began while the lock was held found a delivery process and started none.
        if not root.is_dir() or not loop.left():
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
