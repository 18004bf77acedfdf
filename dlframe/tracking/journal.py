"""The journal: what a training process has recorded since it last wrote to its spool.

Each entry is one call of the operating system, which costs microseconds and waits for nobody. What is
in the journal survives the death of the process; who takes the run over moves it into the spool.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

from dlframe.tracking.entries import Entry
from dlframe.tracking.spool import Spool

__all__ = ["Journal", "recover"]

_NAME = "journal-{}"
_HEAD = Struct("<IQQ12s?")


class Journal:
    """Appends entries to a file, and begins another one when the first is to be moved.

    Args:
        folder: the run's folder.

    Raises:
        OSError: the disk is full or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._old: list[Path] = []
        self._path, self._file = self._next()

    def write(self, entry: Entry) -> None:
        """Write an entry.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        seq, kind, moment, data = entry
        text = isinstance(data, str)
        if isinstance(data, str):
            data = data.encode()
        whole = _HEAD.pack(len(data), seq, moment, kind.encode(), text) + data
        written = os.write(self._file, whole)
        if written < len(whole):
            # The rest of a full disk; what follows must begin at a beginning.
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def prepare(self) -> tuple[Path, int] | None:
        """Return a new file, to be given to ``turn``; None while an old one is still there.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        return None if self._old else self._next()

    def turn(self, new: tuple[Path, int]) -> None:
        """Write into ``new`` from now on."""
        self._old.append(self._path)
        os.close(self._file)
        self._path, self._file = new

    def forget(self) -> None:
        """Remove the old file, whose entries are in the spool."""
        while self._old:
            self._old.pop().unlink(missing_ok=True)

    def close(self) -> None:
        """Close and remove the files: all that was in them is in the spool."""
        self.forget()
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _next(self) -> tuple[Path, int]:
        self._number += 1
        path = self._folder / _NAME.format(self._number)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return path, os.open(path, flags, 0o644)


def recover(folder: Path, spool: Spool) -> None:
    """Move what a dead process has left in its journal into its spool; for who holds the claim.

    Raises:
        OSError: the journal cannot be read.
        sqlite3.Error: the spool cannot be written.
    """
    for path in sorted(folder.glob(_NAME.format("*"))):
        spool.append(list(_entries(path.read_bytes())))
        path.unlink()


def _entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries that are whole: the last one is not where death came in its middle."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, seq, time, kind, text = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(content) < length:
            return
        name = kind.rstrip(b"\0").decode()
        yield Entry(seq, name, time, content.decode() if text else content)
        at += _HEAD.size + length
