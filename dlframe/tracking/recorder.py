"""The recording side: what training calls. It never waits for a store and never raises for one."""

import atexit
import getpass
import os
import secrets
import socket
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from dlframe.errors import StorageError
from dlframe.tracking.credentials import kept_apart
from dlframe.tracking.entries import Entry, Kind, entry
from dlframe.tracking.journal import Journal, recover
from dlframe.tracking.launch import ensure_delivery, resolve_uri
from dlframe.tracking.progress import Delivery, progress
from dlframe.tracking.sinks import check_sinks
from dlframe.tracking.spool import OFFLINE, RunInfo, Spool, take

__all__ = ["REBUILD", "Delivery", "Recorder", "Status", "new_uid", "user_name"]

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | int | float | bool | None

REBUILD = ("config.yaml", "spec.json", "preprocessing*", "checkpoints/best.ckpt")
"""What a logged model holds of the run's folder: all that the network is built again from."""

_FLUSH_EVERY = 0.5
_HEARTBEAT = 5.0
_CHECK_EVERY = 1.0
_MOST_BUFFERED = 100_000
_AT_ONCE = 1000
_CHEAP = 0.001
_SPARE_SECONDS, _SPARE_PART = 0.25, 0.01
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former runs in a sleep too
_CHECKPOINTS = "checkpoints"
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_uid() -> str:
    """Return a new run id: local time, then four random characters; sorts by age."""
    # `secrets`, because a draw from `random` would shift the seeded numbers of the training.
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


class Recorder:
    """Records one run into its spool; a process of its own delivers it to MLflow.

    Every call writes to a journal before it returns, so that nothing is lost however the process
    ends; a thread moves that into the spool twice a second. While the disk is full, or so slow that
    calls would hold training up by more than 1 %, calls are kept in memory only. They may come from
    any thread.

    Args:
        root: folder of all runs; the run's own is ``root/uid``.
        uri: MLflow's tracking URI; None means the SQLite store in ``root``.
        experiment: name of the MLflow experiment.
        run_name: name shown in MLflow; None shows the uid.
        uid: the run's id; None makes one. The id of an earlier run goes on with it.
        parent: id of the run that this one is a part of, recorded in the same root.
        group: whether this run stands for others, whose parent it is.
        enabled: False records nothing, as on all processes but the first of a distributed training.
        deliver: whether to start the delivery process.
        offline: send nothing before ``dlframe sync`` asks for it.
        sinks: names of the places to deliver to.
        alert: see ``RunInfo``; None tells nobody.

    Attributes:
        folder: the run's own folder.
        enabled: as given.

    Raises:
        StorageError: the spool cannot be written, or another process records this run.
        ConfigError: there is no such sink.

    Example:
        >>> recorder = Recorder(Path("runs"), uri=None, experiment="mnist", run_name=None)
        >>> recorder.metrics({"train/loss": 0.7}, step=1)
        >>> recorder.finish("FINISHED")
        >>> recorder.wait(10.0).complete
        True
    """

    def __init__(
        self,
        root: Path,
        *,
        uri: str | None,
        experiment: str,
        run_name: str | None,
        uid: str | None = None,
        parent: str | None = None,
        group: bool = False,
        enabled: bool = True,
        deliver: bool = True,
        offline: bool = False,
        sinks: Sequence[str] = ("mlflow",),
        alert: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root.absolute()
        self.uid = uid or new_uid()
        self.folder = self.root / self.uid
        self.uri = resolve_uri(uri, self.root)
        self._entries: deque[Entry] = deque()
        self._write, self._flushing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._finished = not enabled
        self.enabled = enabled
        self._offline, self._deliver = offline, deliver and not offline
        self._next_check, self._check_every, self._last_beat = 0.0, _CHECK_EVERY, time.monotonic()
        self._began, self._waited = time.monotonic(), 0.0
        self._lost = 0
        self._problems: dict[str, str] = {}
        self._told: set[str] = set()
        self._claim: int | None = None
        self._ahead = 0
        if not enabled:
            return
        info = RunInfo(
            uid=self.uid,
            experiment=experiment,
            run_name=run_name,
            uri=None if uri is None else self.uri,
            user=user_name(),
            created=time.time_ns() // 1_000_000,
            parent=parent,
            group=group,
            sinks=tuple(sinks) if alert is None else (*sinks, "alert"),
            alert=dict(alert or {}),
        )
        check_sinks(info.sinks)
        self._spool = self._open(info)
        self._closing = weakref.finalize(self, self._spool.close)
        self._closing.atexit = False
        _forget_in_children(self)
        atexit.register(_flush_at_exit, weakref.ref(self))
        self._thread = threading.Thread(target=self._run, name="dlframe-spool", daemon=True)
        self._thread.start()

    def _open(self, info: RunInfo) -> Spool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim = self._take()
            if self._claim is None:
                raise StorageError(
                    f"run {self.uid!r} is being recorded by another process; wait for it to end or "
                    "leave out the run id"
                )
            if self._offline:
                (self.folder / OFFLINE).touch()
            elif (self.folder / OFFLINE).exists():
                self._offline, self._deliver = True, False
            if info.uri is not None:
                info = replace(info, uri=kept_apart(info.uri, self.root))
            spool = Spool.create(self.folder, info)
            recover(self.folder, spool)
            last = spool.last()
            # Later steps of the computer's clock leave the recorded times alone.
            self._ahead = max(info.created, last[2] if last else 0) - _ticks()
            self._seq = last[0] + 1 if last else 1
            spool.append([self._entry("start", {"pid": os.getpid()})])
            self._journal = Journal(self.folder)
            if self._deliver:
                ensure_delivery(self.root)
            self._next_check = time.monotonic() + self._check_every
        except (OSError, sqlite3.Error) as error:
            self._release()
            raise StorageError(
                f"the run cannot be recorded in {str(self.folder)!r} ({error}); free space there "
                "or choose another folder with tracking.root"
            ) from error
        return spool

    def _take(self) -> int | None:
        """Claim the run; the delivery process holds the claim for moments while it looks."""
        end = time.monotonic() + 2.0
        while (claim := take(self.folder)) is None and time.monotonic() < end:
            time.sleep(0.02)
        return claim

    def params(self, values: Mapping[str, Scalar | Sequence[Any]]) -> None:
        """Record parameters: what decides the result; a name keeps its first value."""
        self._add("params", {"values": dict(values)})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record measured values at an optimizer step; NaN and infinity are kept."""
        self._add("metrics", {"step": step, "values": dict(values)})

    def tags(self, values: Mapping[str, Scalar]) -> None:
        """Record or replace tags."""
        self._add("tags", {"values": dict(values)})

    def artifact(self, path: Path, folder: str = "") -> None:
        """Record a file or folder, which must stay as it is until it was delivered.

        Args:
            path: the file or folder.
            folder: folder among the run's artifacts; ``""`` is the top.
        """
        self._add("artifact", {"path": self._relative(path), "folder": folder})

    def dataset(
        self,
        name: str,
        digest: str,
        context: str,
        source: str,
        *,
        schema: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the data of the run.

        Args:
            name: the data set's name.
            digest: hash of its content. MLflow shows its beginning, ``-`` and the context, 36
                characters in all.
            context: what it was used for: ``train``, ``val`` or ``test``.
            source: where it comes from.
            schema: columns and types, as MLflow's data sets describe them.
            profile: sizes and other figures.
        """
        body = {"name": name, "digest": digest, "context": context, "source": source}
        self._add("dataset", {**body, "schema": schema, "profile": profile})

    def checkpoint(
        self, name: str, path: Path, *, step: int | None, metrics: Sequence[str] = ()
    ) -> None:
        """Record a checkpoint: its file as an artifact, and a logged model that refers to it.

        Args:
            name: the logged model's name.
            path: the file, which must stay as it is until it was delivered.
            step: the optimizer step of its weights; None where that is not known.
            metrics: names of what was measured of them and recorded at that step.
        """
        self.artifact(path, _CHECKPOINTS)
        body = {"name": name, "artifact": f"{_CHECKPOINTS}/{path.name}", "step": step}
        self._add("checkpoint", {**body, "metrics": list(metrics)})

    def model(
        self,
        folder: Path,
        files: Sequence[str] = REBUILD,
        *,
        step: int | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        """Record the trained model, to be loaded with ``mlflow.pyfunc.load_model``.

        Args:
            folder: what ``Predictor.from_folder`` reads. Its ``model/input_example.npy`` (or
                ``.json``, a table in pandas' ``split`` form) and ``model/output_example.json``
                (likewise) give the signature.
            files: patterns of the files that go along.
            step: the optimizer step of its weights; None where that is not known.
            metrics: names of what was measured of them and recorded at that step.
        """
        body = {"path": self._relative(folder), "files": list(files), "step": step}
        self._add("model", {**body, "metrics": list(metrics)})

    def experiment(self, tags: Mapping[str, Scalar]) -> None:
        """Record tags of the experiment; those that it has already stay as they are."""
        self._add("experiment", {"tags": dict(tags)})

    def process(self, every: float, gpus: Sequence[str] = ()) -> None:
        """Let the delivery process measure what this process takes of its machine.

        Args:
            every: seconds from one measurement to the next.
            gpus: NVML's identities (UUIDs) of the GPUs in use.
        """
        place = {"pid": os.getpid(), "host": socket.gethostname()}
        self._add("process", {**place, "every": every, "gpus": list(gpus)})

    def finish(self, status: Status, error: str | None = None) -> None:
        """Close the run with its true status and write all to the spool; later calls are errors.

        Args:
            status: how it ended.
            error: what went wrong, in one sentence.
        """
        self._add("finish", {"status": status, "error": error})
        if self.enabled:
            self._stop.set()
            self._thread.join()
            self.flush()

    def flush(self) -> None:
        """Move what the journal holds into the spool; an error is remembered, never raised."""
        with self._flushing:
            if not self.enabled:
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
            self._spool.append(batch)
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
        return f"the spool in {str(self.folder)!r} could not be written: {error}"

    def wait(self, timeout: float, show: Callable[[Delivery], object] | None = None) -> Delivery:
        """Return once everything was delivered, or after ``timeout`` seconds; never raises.

        Args:
            timeout: seconds; 0 asks only how things stand.
            show: called again and again with how far it is.
        """
        if not self.enabled:
            return Delivery(complete=True, backlog=0, tracking_uri=self.uri)
        end = time.monotonic() + timeout
        while True:
            self.flush()
            delivery = self._progress()
            waiting = bool(self._entries) or not self._offline
            if delivery.complete or not waiting or time.monotonic() >= end:
                return delivery
            if show is not None:
                show(delivery)
            self._watch()
            time.sleep(0.05)

    def _progress(self) -> Delivery:
        found = progress(self._spool, self.uri, offline=self._offline)
        own = next(iter(self._problems.values()), None)
        unwritten = len(self._entries)
        return replace(
            found,
            complete=found.complete and not unwritten,
            backlog=found.backlog + unwritten,
            lost=self._lost,
            error=own or found.error,
        )

    def _add(self, kind: Kind, body: dict[str, Any]) -> None:
        if not self.enabled:
            return
        with self._write:
            if self._finished:
                raise RuntimeError(f"{kind} cannot be recorded: run {self.uid!r} has been finished")
            try:
                made = self._entry(kind, body)
            except (TypeError, ValueError) as error:
                self._lost += 1
                self._tell("content", f"{kind} could not be recorded: {error}")
                return
            if kind == "metrics" and len(self._entries) >= _MOST_BUFFERED:
                self._lost += 1
                self._tell("full", "metrics are lost: the disk of the spool stays full")
                return
            self._entries.append(made)
            if not self._is_slow():
                self._write_down(made)
            self._finished = kind == "finish"

    def _entry(self, kind: Kind, body: dict[str, Any]) -> Entry:
        made = entry(kind, self._now(), body, self._seq)
        self._seq += 1
        return made

    def _write_down(self, made: Entry) -> None:
        began = time.perf_counter()
        try:
            self._journal.write(made)
        except OSError as error:
            self._tell("disk", self._unwritten(error))
        self._waited += max(0.0, time.perf_counter() - began - _CHEAP)

    def _is_slow(self) -> bool:
        """Whether writing has held training up for longer than it may."""
        return self._waited > _SPARE_SECONDS + _SPARE_PART * (time.monotonic() - self._began)

    def _now(self) -> int:
        return _ticks() + self._ahead

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_EVERY):
            self.flush()
            self._watch()

    def _watch(self) -> None:
        """Give a sign of life, and start the delivery process again if it has died."""
        now = time.monotonic()
        if self._claim is not None and now - self._last_beat >= _HEARTBEAT:
            self._last_beat = now
            os.utime(self._claim)
        if self._deliver and now >= self._next_check:
            try:
                started = ensure_delivery(self.root)
                self._problems.pop("launch", None)
            except OSError as error:
                started = True
                self._tell("launch", f"the delivery process cannot be started: {error}")
            # A delivery process that keeps dying is started again less and less often.
            self._check_every = min(60.0, self._check_every * 2) if started else _CHECK_EVERY
            self._next_check = now + self._check_every

    def _relative(self, path: Path) -> str:
        """Name a path inside the run's folder relative to it, so that the folder can be moved."""
        path = path.absolute()
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)

    def _release(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _forget(self) -> None:
        """Leave the run to the parent: a forked worker shares the lock but must not keep it."""
        self.enabled = False
        self._closing.detach()
        self._release()


def _forget_in_children(recorder: Recorder) -> None:
    reference = weakref.ref(recorder)

    def forget() -> None:
        alive = reference()
        if alive is not None:
            alive._forget()

    os.register_at_fork(after_in_child=forget)


def _flush_at_exit(reference: "weakref.ref[Recorder]") -> None:
    recorder = reference()
    if recorder is not None:
        recorder.flush()


def _ticks() -> int:
    return time.clock_gettime_ns(_CLOCK) // 1_000_000


def user_name() -> str:
    """Return who runs this process, as runs say it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
