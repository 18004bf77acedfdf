"""The spool of a run: what was recorded, in order, and how far each sink has delivered it.

SQLite in write-ahead mode, from the standard library. Only the training process writes it, from a
thread that follows its journal (``journal``); the delivery process reads, and keeps one small file
per sink for how far it came. Neither mlflow nor torch is imported here.
"""

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dlframe.tracking.entries import Entry, Kind, Record, decoded, entry
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.whole import write_whole

__all__ = [
    "FILE",
    "MARKER",
    "OFFLINE",
    "Cursor",
    "Entry",
    "Kind",
    "Record",
    "RunInfo",
    "Spool",
    "claim",
    "entry",
    "is_claimed",
    "take",
]

FILE = "spool.db"
MARKER = "undelivered"
"""A file in each run folder that has something left to deliver. The training process holds a lock
on it as proof of life, which the kernel drops however that process ends."""

OFFLINE = "offline"
"""A file in each run folder of which nothing is delivered until ``dlframe sync`` removes it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, time INTEGER NOT NULL, body TEXT NOT NULL
);
"""
_INSERT = "INSERT OR IGNORE INTO records (seq, kind, time, body) VALUES (?, ?, ?, ?)"
_SET = "INSERT OR REPLACE INTO run (key, value) VALUES (?, ?)"
_CURSOR = "delivered-{}.json"
_TO = "to"
_AT_ONCE = 5000


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What identifies a run before anything of it was delivered.

    Args:
        uid: the run's own id, made where it was trained.
        experiment: name of the experiment that it belongs to.
        run_name: the name shown in MLflow; None uses the uid.
        uri: MLflow's tracking URI; None means the store in the tracking root.
        user: who trained it.
        created: ms since 1970.
        parent: id of the run that this one is a part of, such as a multirun's.
        group: whether it stands for other runs, whose parent it is, and trains nothing itself.
        sinks: names of the places to deliver to.
        alert: what the alerts need: ``command``, ``webhook``, events ``on``, ``stalled_after``.
    """

    uid: str
    experiment: str
    run_name: str | None
    uri: str | None
    user: str
    created: int
    parent: str | None = None
    group: bool = False
    sinks: tuple[str, ...] = ("mlflow",)
    alert: dict[str, Any] = field(default_factory=dict)


@dataclass
class Cursor:
    """How far a sink has come, and what it must remember about the run.

    Args:
        seq: number of the last record delivered; 0 means none.
        state: plain values of the sink's own.
    """

    seq: int = 0
    state: dict[str, Any] = field(default_factory=dict)


class Spool:
    """One run's records on disk; safe to use from several threads, and to read from any process.

    Args:
        folder: the run's folder; the spool must exist, see ``create``.

    Raises:
        sqlite3.Error: the file is missing or is no spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._connection = _connect(f"file:{_quoted(folder / FILE)}?mode=rw")

    @classmethod
    def create(cls, folder: Path, info: RunInfo) -> "Spool":
        """Make the spool in ``folder``, or open the one that is there to go on with it.

        Raises:
            sqlite3.Error: the disk is full, read-only, or holds something else under that name.
            OSError: likewise.
        """
        if not (folder / FILE).exists():  # what was delivered of one that was here does not count
            for cursor in folder.glob(_CURSOR.format("*")):
                cursor.unlink()
        connection = _connect(f"file:{_quoted(folder / FILE)}?mode=rwc")
        try:
            # WAL with synchronous=NORMAL keeps every commit through the death of a process; only a
            # power cut can take the last ones, and no commit waits for the disk.
            connection.execute("PRAGMA journal_mode=WAL")
            with _transaction(connection):
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.executemany(
                    "INSERT OR IGNORE INTO run VALUES (?, ?)",
                    [(key, json.dumps(value)) for key, value in asdict(info).items()],
                )
                if info.parent is not None:  # a run that goes on may do so in another multirun
                    connection.execute(_SET, ("parent", json.dumps(info.parent)))
        finally:
            connection.close()
        return cls(folder)

    def info(self) -> RunInfo:
        """Return what identifies the run."""
        with self._lock:
            rows = self._connection.execute("SELECT key, value FROM run").fetchall()
        found = {key: json.loads(value) for key, value in rows}
        return RunInfo(**{**found, "sinks": tuple(found["sinks"])})

    def redirect(self, uri: str) -> None:
        """Deliver to another MLflow store from now on.

        Raises:
            sqlite3.Error: the disk is full or cannot be written.
        """
        with self._lock:
            self._connection.execute(_SET, ("uri", json.dumps(uri)))

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all ``entries`` in one transaction, or none; those that are there already stay.

        Raises:
            sqlite3.Error: the disk is full or cannot be written.
        """
        with self._lock, _transaction(self._connection):
            self._connection.executemany(_INSERT, entries)

    def read(self, after: int, limit: int) -> list[Record]:
        """Return up to ``limit`` records that follow number ``after``, in order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT seq, kind, time, body FROM records WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Record(seq, kind, time, decoded(body)) for seq, kind, time, body in rows]

    def records(self) -> Iterator[Record]:
        """Yield all records in order, read in parts."""
        after = 0
        while records := self.read(after, _AT_ONCE):
            yield from records
            after = records[-1].seq

    def last(self) -> tuple[int, Kind, int] | None:
        """Return number, kind and time of the last record."""
        with self._lock:
            row: tuple[int, Kind, int] | None = self._connection.execute(
                "SELECT seq, kind, time FROM records ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return row

    def latest(self, kind: Kind, after: int = 0) -> Record | None:
        """Return the last record of a kind among those that follow number ``after``."""
        with self._lock:
            row = self._connection.execute(
                "SELECT seq, kind, time, body FROM records WHERE seq > ? AND kind = ? "
                "ORDER BY seq DESC LIMIT 1",
                (after, kind),
            ).fetchone()
        return Record(row[0], row[1], row[2], decoded(row[3])) if row else None

    def of_kinds(self, *kinds: Kind) -> list[Record]:
        """Return all records of some kinds, in order; that of metrics is better read in parts."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT seq, kind, time, body FROM records "
                f"WHERE kind IN ({', '.join('?' * len(kinds))}) ORDER BY seq",
                kinds,
            ).fetchall()
        return [Record(seq, kind, time, decoded(body)) for seq, kind, time, body in rows]

    def latest_value(self, metric: str) -> float | None:
        """Return a metric's last value, without reading those of the others."""
        with self._lock:
            rows = self._connection.execute(
                # As blobs, since in binary a name comes after bytes that would end a text.
                "SELECT body FROM records WHERE kind = 'metrics' "
                "AND instr(CAST(body AS BLOB), CAST(? AS BLOB)) ORDER BY seq DESC",
                (metric,),
            )
            for (body,) in rows:
                values: dict[str, float] = decoded(body)["values"]
                if metric in values:  # else its name is a part of another one's
                    return values[metric]
        return None

    def count(self, after: int) -> int:
        """Return how many records follow number ``after``."""
        with self._lock:
            (number,) = self._connection.execute(
                "SELECT count(*) FROM records WHERE seq > ?", (after,)
            ).fetchone()
        return int(number)

    def cursor(self, sink: str, uri: str | None = None) -> Cursor:
        """Return how far ``sink`` has come; one whose file is torn starts again.

        Args:
            sink: its name.
            uri: the store that counts; what was delivered to another one does not. None: any.
        """
        fresh = Cursor(0, {} if uri is None else {_TO: without_credentials(uri)})
        try:
            kept = json.loads((self._folder / _CURSOR.format(sink)).read_text())
            found = Cursor(kept["seq"], kept["state"])
        except (FileNotFoundError, ValueError, KeyError):
            return fresh
        return found if uri is None or found.state.get(_TO) == fresh.state[_TO] else fresh

    def delivered(self, uri: str) -> int:
        """Return the number of the last record that all sinks have delivered."""
        return min(self.cursor(name, uri).seq for name in self.info().sinks)

    def advance(self, sink: str, cursor: Cursor) -> None:
        """Remember how far ``sink`` has come; for the delivery process, which is the only one.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        write_whole(self._folder / _CURSOR.format(sink), json.dumps(asdict(cursor)))

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        with self._lock:
            self._connection.close()


@contextmanager
def claim(folder: Path) -> Iterator[int | None]:
    """Hold the run in ``folder``: yield the marker's descriptor, or None if another has it.

    The marker is made where it is missing. Who holds the claim may write the spool's records.
    """
    descriptor = take(folder)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def take(folder: Path) -> int | None:
    """Claim the run until the returned descriptor is closed; None while somebody else has it."""
    path = folder / MARKER
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The delivery process may have removed the file between the two calls above.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_claimed(folder: Path) -> bool:
    """Whether a process holds the run, such as the one that trains it; leaves all as it is."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _quoted(path: Path) -> str:
    return quote(str(path.absolute()))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
