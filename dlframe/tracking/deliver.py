"""The delivery process of a tracking root: ``python -m dlframe.tracking.deliver ROOT``.

One per root, held by a file lock. It hands the records of the spools to the sinks, with a thread for
each sink and store, notices training processes that died, and ends when nothing has been left to
deliver for a few seconds.
"""

import fcntl
import gc
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from dlframe.errors import DlframeError
from dlframe.tracking.lane import Lane, OpenRun
from dlframe.tracking.launch import LOCK, WANTING, resolve_uri
from dlframe.tracking.reap import close_if_dead
from dlframe.tracking.sinks import Sink, make_sink
from dlframe.tracking.spool import FILE, MARKER, OFFLINE, Spool, claim
from dlframe.tracking.system_metrics import Monitor

__all__ = ["DeliveryLoop", "main"]

_POLL = 0.1
_LIVE_INTERVAL = 1.0
_LOOK_EVERY = 1.0
_TRY_EVERY = 1.0
_IDLE_EXIT = 3.0
_NO_TABLE = "no such table"
_log = logging.getLogger("dlframe.deliver")


@dataclass(frozen=True)
class _Waiting:
    """A folder that cannot be used for now: until when it is left alone, and why."""

    until: float
    sentence: str


class DeliveryLoop:
    """Delivers the runs of one root.

    Args:
        root: the tracking root.
        make: gives the sink of a name.
    """

    def __init__(self, root: Path, make: Callable[[str], Sink] = make_sink) -> None:
        self._root = root
        self._make = make
        self._runs: dict[Path, OpenRun] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._waiting: dict[Path, _Waiting] = {}
        self._unreadable: set[Path] = set()
        self._known: list[Path] = []
        self._looked_at = 0.0
        self._wanting: bool | None = None

    def left(self) -> list[Path]:
        """Return the folders of the runs that are not delivered in full."""
        found = {path.parent for path in self._root.glob(f"*/{MARKER}")}
        return sorted(f for f in found - self._unreadable if not (f / OFFLINE).exists())

    def until_idle(self) -> None:
        """Deliver until nothing has been left for a few seconds, or the root is gone."""
        busy_at = time.monotonic()
        while time.monotonic() - busy_at < _IDLE_EXIT and self._root.is_dir():
            folders = self._open_folders()
            for gone in self._runs.keys() - set(folders):
                self._close(gone)
            for folder in folders:
                busy_at = time.monotonic()
                self._visit(folder)
            self._say_wanting(any(lane.wants_credentials() for lane in self._lanes.values()))
            time.sleep(_POLL)
        for folder in list(self._runs):
            self._close(folder)

    def _open_folders(self) -> list[Path]:
        """Return what is left; new folders, among what may be thousands, are looked for seldom."""
        if time.monotonic() - self._looked_at < _LOOK_EVERY:
            self._known = [
                each for each in self._known
                if (each / MARKER).exists() and not (each / OFFLINE).exists()
            ]  # fmt: skip
        else:
            self._known, self._looked_at = self.left(), time.monotonic()
        return [each for each in self._known if each not in self._unreadable]

    def _say_wanting(self, wanting: bool) -> None:
        """Let other processes know that their environments may hold what this one's lacks."""
        if wanting == self._wanting:
            return
        self._wanting = wanting
        with suppress(OSError):  # a full disk: nobody knows it, and all goes on
            if wanting:
                (self._root / WANTING).touch()
            else:
                (self._root / WANTING).unlink(missing_ok=True)

    def _visit(self, folder: Path) -> None:
        waiting = self._waiting.get(folder)
        if waiting is not None and time.monotonic() < waiting.until:
            return
        try:
            if folder not in self._runs and not (folder / FILE).exists():
                _discard(folder)
                return
            run = self._runs.get(folder)
            if run is None:
                run = self._open(folder)
            self._watch(run)
            self._waiting.pop(folder, None)
        except (sqlite3.OperationalError, OSError, DlframeError) as error:
            if _NO_TABLE in str(error) and _discard(folder):
                return
            sentence = str(error)  # busy, or a full disk, or a file that is half there
            if waiting is None or waiting.sentence != sentence:
                _log.warning("%s: %s; trying again", folder.name, sentence)
            self._waiting[folder] = _Waiting(time.monotonic() + _TRY_EVERY, sentence)
        except (sqlite3.Error, TypeError, ValueError, LookupError):
            _log.exception("%s cannot be read and is left alone", folder / FILE)
            self._unreadable.add(folder)
            self._close(folder)

    def _open(self, folder: Path) -> OpenRun:
        spool = Spool(folder)
        try:
            info = spool.info()
            run = OpenRun(folder, spool, resolve_uri(info.uri, self._root))
        except BaseException:  # a spool that is just being made has no tables yet: it comes again
            spool.close()
            raise
        self._runs[folder] = run
        for name in info.sinks:
            lane = self._lanes.get((name, run.uri))
            if lane is None:
                lane = self._lanes[name, run.uri] = Lane(name, run.uri, self._make)
            lane.add(run)
        return run

    def _close(self, folder: Path) -> None:
        run = self._runs.pop(folder, None)
        if run is not None:
            for lane in self._lanes.values():
                lane.remove(run)
            run.spool.close()

    def _watch(self, run: OpenRun) -> None:
        """Close the run if its process died; forget it once it is delivered."""
        last = run.spool.last()
        if last is None:
            _discard(run.folder)
            return
        over = last[1] == "finish"
        if not over and time.monotonic() - run.checked_at < _LIVE_INTERVAL:
            return
        run.checked_at = time.monotonic()
        if self._goes_elsewhere(run):
            self._close(run.folder)
            return
        if not over:
            if close_if_dead(run.folder, run.spool):
                _log.warning("%s: its process ended without a word", run.folder.name)
            _measure(run, last[0])
            return
        if run.spool.delivered(run.uri) < last[0]:
            return
        with claim(run.folder) as claimed:
            # While the claim was free, a training may have gone on with the run, or sync sent it on.
            if claimed is None or self._goes_elsewhere(run):
                return
            if run.spool.last() == last:
                (run.folder / MARKER).unlink()
                _log.info("%s: delivered", run.folder.name)

    def _goes_elsewhere(self, run: OpenRun) -> bool:
        return resolve_uri(run.spool.info().uri, self._root) != run.uri


def _measure(run: OpenRun, last: int) -> None:
    """Measure what the training process takes of its machine, where that was asked for."""
    if process := run.spool.latest("process", run.seen):
        run.monitor = Monitor(process.body, process.time)
    run.seen = last
    if run.monitor is not None:
        metrics = run.spool.latest("metrics")
        run.monitor.sample(run.folder, metrics.body["step"] if metrics else 0)


def _discard(folder: Path) -> bool:
    """Forget a run whose process died before it recorded anything; say whether it was so."""
    with claim(folder) as claimed:
        if claimed is not None:
            (folder / MARKER).unlink()
            _log.warning("%s: its process ended before it recorded anything", folder.name)
        return claimed is not None


def main(arguments: Sequence[str]) -> int:
    """Deliver the runs of the root in ``arguments`` until nothing is left."""
    os.nice(10)  # where cores are few, training comes first
    root = Path(arguments[0]).absolute()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    gc.set_threshold(50_000, 20, 100)  # a batch makes many objects, and few circles
    loop = DeliveryLoop(root)
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
            loop.until_idle()
        # A run that began while the lock was held found a delivery process and started none.
        if not root.is_dir() or not loop.left():
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
