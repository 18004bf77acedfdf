"""Keeps a copy of what a run prints, without changing what the terminal or notebook shows.

The copy is taken where Python writes text, at the ``write`` of ``sys.stdout`` and ``sys.stderr``, so
that they stay the objects that others hold and ask for their width. What a C library writes past
Python is not in it.
"""

import errno
import io
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from dlframe.tracking.redaction import redacted, secret_values

__all__ = ["CONSOLE", "Console", "captured", "let_go_of_closed_terminals"]

CONSOLE = "console.log"
"""The file in a run's folder that holds the copy."""
_LIMIT = 5_000_000
_LONGEST_LINE = 20_000
_LAST_LINES = 200
_PARTS = re.compile(r"(\n|\x1b\[\d*[AF])")
"""The end of a line, or a move to lines above, as bars make before they are drawn anew."""
_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Console:
    """The copy: whole lines, without colours, without redrawn progress bars, without secrets.

    A line that was drawn anew, in place or from below, is kept in its last form only. The copy is in
    memory until it is given a file; from then on each line is written at once, so that the death of
    the process loses no complete one.

    Args:
        limit: bytes after which lines are left out, all but the last two hundred.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._file: BinaryIO = io.BytesIO()
        self._size, self._limit = 0, limit
        self._begun: dict[str, str] = {}
        self._starts: deque[tuple[str, int]] = deque(maxlen=_LAST_LINES)
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._left_out = 0
        self._lock = threading.Lock()
        self._secrets = secret_values()
        self.error: OSError | None = None

    def keep(self, path: Path) -> None:
        """Write the copy into a file from now on, after what the file holds already.

        Raises:
            OSError: the file cannot be made.
        """
        with self._lock:
            file = open(path, "ab", buffering=0)  # noqa: SIM115
            before = file.seek(0, io.SEEK_END)
            assert isinstance(self._file, io.BytesIO)
            earlier = self._file.getvalue()
            self._file, self._size = file, self._size + before
            self._guarded(lambda: file.write(earlier))
            self._starts = deque(((s, at + before) for s, at in self._starts), _LAST_LINES)

    def write(self, stream: str, text: str) -> None:
        """Add text that was written to a stream; never raises.

        Args:
            stream: the stream's name; lines of several do not mix.
            text: part of a line, or several lines.
        """
        with self._lock:
            if self._file.closed:
                return
            line = self._begun.get(stream, "")
            for part in _PARTS.split(text):
                if part == "\n":
                    self._put(stream, _shown(line))
                    line = ""
                elif part.startswith("\x1b[") and part[-1] in "AF" and _PARTS.fullmatch(part):
                    self._go_up(stream, int(part[2:-1] or 1))
                    line = ""
                else:
                    line += part
            start, back, end = line.rpartition("\r")
            # After a carriage return the line begins again; a last one may belong to "\r\n".
            kept = line if not back else end or f"{_from_return(start)}\r"
            self._begun[stream] = kept[:_LONGEST_LINE]

    def _put(self, stream: str, line: str) -> None:
        clean = redacted(line, self._secrets)[:_LONGEST_LINE]
        coded = f"{clean}\n".encode(errors="backslashreplace")
        if self._size + len(coded) > self._limit or self._left_out:
            self._left_out += 1
            self._last.append(clean)
            return
        self._starts.append((stream, self._size))
        self._append(coded)

    def _go_up(self, stream: str, lines: int) -> None:
        """Take back the stream's last lines, which are about to be drawn anew."""
        for _ in range(lines):
            if self._left_out:
                if self._last:
                    self._last.pop()
            elif self._starts and self._starts[-1][0] == stream:
                self._size = self._starts.pop()[1]
                self._guarded(lambda: self._file.truncate(self._size))
                if isinstance(self._file, io.BytesIO):
                    self._file.seek(self._size)

    def _append(self, coded: bytes) -> None:
        self._guarded(lambda: self._file.write(coded))
        self._size += len(coded)

    def _guarded(self, act: Callable[[], object]) -> None:
        """A full disk must not end what prints; the file then lacks the rest."""
        if self.error is None:
            try:
                act()
            except OSError as error:
                self.error = error

    def close(self, last_words: str = "") -> None:
        """Write what is left, and ``last_words``, for which there is always room; then no more."""
        with self._lock:
            if self._file.closed:
                return
            for stream, line in self._begun.items():
                if shown := _shown(line):
                    self._put(stream, shown)
            kept = list(self._last)
            if self._left_out > len(kept):
                kept.insert(0, f"[{self._left_out - len(kept)} lines are left out here]")
            if last_words:
                kept.append(redacted(last_words.rstrip("\n"), self._secrets))
            if kept:
                self._append(
                    "".join(f"{line}\n" for line in kept).encode(errors="backslashreplace")
                )
            self._file.close()


def _shown(line: str) -> str:
    """Return a line as it looks in the end."""
    return _CONTROLS.sub("", _from_return(line.removesuffix("\r")))


def _from_return(line: str) -> str:
    return line.rpartition("\r")[2]


class _Tee:
    """Passes on what a stream is given to those who listen; taken away with the last of them.

    A terminal that was closed takes nothing any more: what is meant for it is dropped, since it is no
    reason to end a training.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name, self.stream = name, stream
        self.listeners: list[Console] = []
        own = vars(stream)
        self._before: dict[str, Any] = {n: own[n] for n in ("write", "flush") if n in own}
        self._write: Callable[[str], int] = stream.write
        self._flush: Callable[[], None] = stream.flush
        own |= {"write": self._pass_on, "flush": self._pass_through}

    def _pass_on(self, text: str) -> int:
        with self._as_long_as_it_is_there():
            self._write(text)
        for listener in tuple(self.listeners):
            listener.write(self.name, text)
        return len(text)

    def _pass_through(self) -> None:
        with self._as_long_as_it_is_there():
            self._flush()

    @contextmanager
    def _as_long_as_it_is_there(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            let_go_of_closed_terminals()

    def remove(self) -> None:
        for method in ("write", "flush"):
            vars(self.stream).pop(method, None)
        vars(self.stream).update(self._before)


_tees: dict[int, _Tee] = {}
_changing = threading.Lock()


def let_go_of_closed_terminals() -> None:
    """Send standard output and errors nowhere, where they lead to a terminal that is gone."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextmanager
def captured(console: Console) -> Iterator[Console]:
    """Copy what this process prints to ``console`` for the time being; several may listen at once."""
    mine: list[tuple[int, _Tee]] = []
    with _changing:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not hasattr(
                stream, "__dict__"
            ):  # there is no terminal, or the stream allows no change
                continue
            tee = _tees.get(id(stream)) or _Tee(name, stream)
            _tees[id(stream)] = tee
            tee.listeners.append(console)
            mine.append((id(stream), tee))
    try:
        yield console
    finally:
        console.close()
        with _changing:
            for key, tee in mine:
                tee.listeners.remove(console)
                if not tee.listeners:
                    tee.remove()
                    del _tees[key]
