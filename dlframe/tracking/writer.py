"""What becomes of an entry: at once into the journal, soon into the spool, under a claim on the run."""

import atexit
import os
import shutil
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from dlframe.errors import RunTakenError, StorageError
from dlframe.tracking.credentials import kept_apart
from dlframe.tracking.entries import Entry, Kind, entry
from dlframe.tracking.journal import Journal, recover
from dlframe.tracking.launch import ensure_delivery
from dlframe.tracking.progress import Delivery, progress
from dlframe.tracking.spool import OFFLINE, RunInfo, Spool, take

__all__ = ["Writer"]

_FLUSH_EVERY = 0.5
_HEARTBEAT = 5.0
_CHECK_EVERY = 1.0
_PATIENCE = 5.0
_MOST_BUFFERED = 100_000
_AT_ONCE = 1000
_CHEAP = 0.001
_SPARE_SECONDS, _SPARE_PART = 0.25, 0.01
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former runs in a sleep too


class Writer:
    """Writes the entries of one run, and sees to it that somebody delivers them.

    ``add`` writes to a journal before it returns, so that nothing is lost however the process ends; a
    thread moves that into the spool twice a second. While the disk is full, or so slow that calls
    would hold training up by more than 1 %, entries are kept in memory only.

    Args:
        folder: the run's folder.
        info: what identifies the run.
        deliver: whether to start the delivery process.
        offline: send nothing before ``dlframe sync`` asks for it; a run begun so stays so.

    Attributes:
        spool: the run's.
        offline: whether nothing is sent for now.
        left: whether this is a forked child, which leaves the run to its parent.

    Raises:
        StorageError: the spool cannot be written.
        RunTakenError: another process records this run.
    """

    def __init__(self, folder: Path, info: RunInfo, *, deliver: bool, offline: bool) -> None:
        self._folder, self._root = folder, folder.parent
        self.offline, self._deliver = offline, deliver and not offline
        self._entries: deque[Entry] = deque()
        self._write, self._flushing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._finished = self.left = False
        self._next_check, self._check_every, self._last_beat = 0.0, _CHECK_EVERY, time.monotonic()
        self._began, self._waited = time.monotonic(), 0.0
        self._lost = 0
        self._problems: dict[str, str] = {}
        self._told: set[str] = set()
        self._claim: int | None = None
        self._ahead = 0
        self.spool = self._open(info)
        self._closing = weakref.finalize(self, self.spool.close)
        self._closing.atexit = False
        _forget_in_children(self)
        atexit.register(_flush_at_exit, weakref.ref(self))
        self._thread = threading.Thread(target=self._run, name="dlframe-spool", daemon=True)
        self._thread.start()

    def _open(self, info: RunInfo) -> Spool:
        made = False
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self._folder.mkdir()
                made = True
            self._claim = self._take()
            if self._claim is None:
                raise RunTakenError(
                    f"run {info.uid!r} is being recorded by another process; wait for it to end"
                )
            if self.offline:
                (self._folder / OFFLINE).touch()
            elif (self._folder / OFFLINE).exists():
                self.offline, self._deliver = True, False
            if info.uri is not None:
                info = replace(info, uri=kept_apart(info.uri, self._root))
            spool = Spool.create(self._folder, info)
            recover(self._folder, spool)
            last = spool.last()
            # Later steps of the computer's clock leave the recorded times alone.
            self._ahead = max(info.created, last[2] if last else 0) - _ticks()
            self._seq = last[0] + 1 if last else 1
            spool.append([entry("start", _ticks() + self._ahead, _process(), self._seq)])
            self._seq += 1
            self._journal = Journal(self._folder)
            if self._deliver:
                ensure_delivery(self._root)
            self._next_check = time.monotonic() + self._check_every
        except (OSError, sqlite3.Error) as error:
            self._release()
            if made:  # on a full disk a folder can be made, and nothing written into it
                shutil.rmtree(self._folder, ignore_errors=True)
            raise StorageError(
                f"the run cannot be recorded in {str(self._folder)!r} ({error}); free space there "
                "or choose another folder with tracking.root"
            ) from error
        return spool

    def _take(self) -> int | None:
        """Claim the run; the delivery process holds the claim for moments while it looks."""
        end = time.monotonic() + _PATIENCE
        while (claim := take(self._folder)) is None and time.monotonic() < end:
            time.sleep(0.02)
        return claim

    def add(self, kind: Kind, body: dict[str, Any]) -> None:
        """Write an entry; one of kind ``finish`` is the last.

        Raises:
            RuntimeError: the run has been finished.
        """
        if self.left:
            return
        with self._write:
            if self._finished:
                raise RuntimeError(
                    f"{kind} cannot be recorded: run {self._folder.name!r} has been finished"
                )
            try:
                made = entry(kind, _ticks() + self._ahead, body, self._seq)
            except Exception as error:  # values turn themselves into numbers as they like
                self._lost += 1
                self._tell("content", f"{kind} could not be recorded: {error}")
                return
            if kind == "metrics" and len(self._entries) >= _MOST_BUFFERED:
                self._lost += 1
                self._tell("full", "metrics are lost: the disk of the spool stays full")
                return
            self._seq += 1
            self._entries.append(made)
            if self._waited <= _SPARE_SECONDS or not self._is_slow():
                began = time.perf_counter()
                try:
                    self._journal.write(made)
                except OSError as error:
                    self._tell("disk", self._unwritten(error))
                if (taken := time.perf_counter() - began) > _CHEAP:
                    self._waited += taken - _CHEAP
            self._finished = kind == "finish"

    def flush(self) -> None:
        """Move what the journal holds into the spool; an error is remembered, never raised."""
        with self._flushing:
            if self.left:
                return
            try:
                if self._entries:
                    self._move()
            except (OSError, sqlite3.Error) as error:
                self._tell("disk", self._unwritten(error))
            else:
                self._problems.pop("disk", None)
                # In this order: the last entry is added before the run is said to be finished.
                if self._finished and not self._entries and self._claim is not None:
                    self._journal.close()
                    # From here on the delivery process needs no sign of life.
                    self._release()

    def _move(self) -> None:
        new = self._journal.prepare()
        with self._write:
            if new is not None:
                self._journal.turn(new)
            number = len(self._entries)
        while number:
            with self._write:
                batch = list(islice(self._entries, min(number, _AT_ONCE)))
            self.spool.append(batch)
            with self._write:
                for _ in batch:
                    self._entries.popleft()
            number -= len(batch)
        self._journal.forget()

    def _tell(self, problem: str, sentence: str) -> None:
        self._problems[problem] = sentence
        if problem not in self._told:
            self._told.add(problem)
            print(f"dlframe: {sentence}; training goes on", file=sys.stderr)

    def _unwritten(self, error: OSError | sqlite3.Error) -> str:
        return f"the spool in {str(self._folder)!r} could not be written: {error}"

    def end(self) -> None:
        """Move everything into the spool; the thread ends."""
        self._stop.set()
        self._thread.join()
        self.flush()

    def progress(self, uri: str) -> Delivery:
        """Return how far the delivery to a store has come."""
        found = progress(self.spool, uri, offline=self.offline)
        own = next(iter(self._problems.values()), None)
        unwritten = len(self._entries)
        return replace(
            found,
            complete=found.complete and not unwritten,
            backlog=found.backlog + unwritten,
            lost=self._lost,
            error=own or found.error,
        )

    @property
    def unwritten(self) -> int:
        """Number of entries that are not in the spool yet."""
        return len(self._entries)

    def _is_slow(self) -> bool:
        """Whether writing has held training up for longer than it may."""
        return self._waited > _SPARE_SECONDS + _SPARE_PART * (time.monotonic() - self._began)

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_EVERY):
            self.flush()
            self.watch()

    def watch(self) -> None:
        """Give a sign of life, and start the delivery process again if it has died."""
        now = time.monotonic()
        if self._claim is not None and now - self._last_beat >= _HEARTBEAT:
            self._last_beat = now
            with suppress(OSError):  # it lives and holds the claim all the same
                os.utime(self._claim)
        if self._deliver and now >= self._next_check:
            try:
                started = ensure_delivery(self._root)
                self._problems.pop("launch", None)
            except OSError as error:
                started = True
                self._tell("launch", f"the delivery process cannot be started: {error}")
            # A delivery process that keeps dying is started again less and less often.
            self._check_every = min(60.0, self._check_every * 2) if started else _CHECK_EVERY
            self._next_check = now + self._check_every

    def _release(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _forget(self) -> None:
        """Leave the run to the parent: a forked worker shares the lock but must not keep it."""
        self.left = True
        self._closing.detach()
        self._release()


def _process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": os.uname().nodename}


def _forget_in_children(writer: Writer) -> None:
    reference = weakref.ref(writer)

    def forget() -> None:
        alive = reference()
        if alive is not None:
            alive._forget()

    os.register_at_fork(after_in_child=forget)


def _flush_at_exit(reference: "weakref.ref[Writer]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush()


def _ticks() -> int:
    return time.clock_gettime_ns(_CLOCK) // 1_000_000
