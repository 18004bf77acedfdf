"""The spool of a run: what was recorded, in order, and how far each sink has delivered it.

SQLite in write-ahead mode, from the standard library. The training process appends; the delivery
process reads and keeps one cursor per sink. Neither mlflow nor torch is imported here.
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
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

__all__ = [
    "FILE",
    "MARKER",
    "Cursor",
    "Entry",
    "Kind",
    "Record",
    "RunInfo",
    "Spool",
    "claim",
    "take",
]

FILE = "spool.db"
MARKER = "undelivered"
"""A file in each run folder that has something left to deliver. The training process holds a lock
on it as proof of life, which the kernel drops however that process ends."""

Kind = Literal["start", "params", "metrics", "tags", "artifact", "dataset", "model", "finish"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
    time INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sinks (
    name TEXT PRIMARY KEY, seq INTEGER NOT NULL, state TEXT NOT NULL
) WITHOUT ROWID;
"""


class Entry(NamedTuple):
    """Something to append: its kind, when it happened (ms since 1970) and its content."""

    kind: Kind
    time: int
    body: dict[str, Any]


class Record(NamedTuple):
    """An entry in the spool with its place in the order."""

    seq: int
    kind: Kind
    time: int
    body: dict[str, Any]


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
    """

    uid: str
    experiment: str
    run_name: str | None
    uri: str | None
    user: str
    created: int
    parent: str | None = None
    group: bool = False


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
    """One run's records on disk; safe to use from several threads and processes.

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
        """
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
        finally:
            connection.close()
        return cls(folder)

    def info(self) -> RunInfo:
        """Return what identifies the run."""
        with self._lock:
            rows = self._connection.execute("SELECT key, value FROM run").fetchall()
        return RunInfo(**{key: json.loads(value) for key, value in rows})

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all ``entries`` in one transaction, or none of them.

        Raises:
            sqlite3.Error: the disk is full or cannot be written.
        """
        rows = [(e.kind, e.time, json.dumps(e.body, default=_plain)) for e in entries]
        with self._lock, _transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO records (kind, time, body) VALUES (?, ?, ?)", rows
            )

    def read(self, after: int, limit: int) -> list[Record]:
        """Return up to ``limit`` records that follow number ``after``, in order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT seq, kind, time, body FROM records WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Record(seq, kind, time, json.loads(body)) for seq, kind, time, body in rows]

    def last(self) -> tuple[int, Kind, int] | None:
        """Return number, kind and time of the last record."""
        with self._lock:
            row: tuple[int, Kind, int] | None = self._connection.execute(
                "SELECT seq, kind, time FROM records ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return row

    def count(self, after: int) -> int:
        """Return how many records follow number ``after``."""
        with self._lock:
            (number,) = self._connection.execute(
                "SELECT count(*) FROM records WHERE seq > ?", (after,)
            ).fetchone()
        return int(number)

    def cursor(self, sink: str) -> Cursor:
        """Return how far ``sink`` has come."""
        with self._lock:
            row = self._connection.execute(
                "SELECT seq, state FROM sinks WHERE name = ?", (sink,)
            ).fetchone()
        return Cursor(row[0], json.loads(row[1])) if row else Cursor()

    def advance(self, sink: str, cursor: Cursor) -> None:
        """Remember how far ``sink`` has come."""
        with self._lock, _transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO sinks VALUES (?, ?, ?)",
                (sink, cursor.seq, json.dumps(cursor.state)),
            )

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


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and paths into what JSON holds."""
    return value.item() if hasattr(value, "item") else str(value)
