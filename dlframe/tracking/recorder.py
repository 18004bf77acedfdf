"""The recording side: what training calls. It never waits for a store and never raises for one."""

import atexit
import getpass
import os
import secrets
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlframe.errors import StorageError
from dlframe.tracking.launch import ensure_delivery, resolve_uri
from dlframe.tracking.spool import Cursor, Entry, Kind, RunInfo, Spool, take

__all__ = ["REBUILD", "Delivery", "Recorder", "new_uid"]

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | int | float | bool | None

REBUILD = ("config.yaml", "spec.json", "preprocessing*", "checkpoints/best.ckpt")
"""What a logged model holds of the run's folder: all that the network is built again from."""

_FLUSH_EVERY = 0.5
_HEARTBEAT = 5.0
_CHECK_EVERY = 1.0
_MOST_BUFFERED = 100_000
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How far the recording of a run has come.

    Args:
        complete: whether everything recorded is in MLflow.
        backlog: number of records that are not there yet.
        mlflow_run_id: the run's id in MLflow, once it exists there.
        experiment_id: the experiment's id in MLflow, likewise.
        tracking_uri: the store.
        rejected: number of entries that MLflow refused; they are in ``rejected.jsonl``.
        lost: number of calls dropped: not to be written as JSON, or metrics while the disk was full.
        error: one sentence on what stands in the way, or None.
    """

    complete: bool
    backlog: int
    mlflow_run_id: str | None
    experiment_id: str | None
    tracking_uri: str
    rejected: int = 0
    lost: int = 0
    error: str | None = None


def new_uid() -> str:
    """Return a new run id: local time, then four random characters; sorts by age."""
    # `secrets`, because a draw from `random` would shift the seeded numbers of the training.
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(_ALPHABET) for _ in range(4))


class Recorder:
    """Records one run into its spool; a process of its own delivers it to MLflow.

    Every call appends to a list in memory and returns; a thread writes the list to the spool twice
    a second, in one transaction. The calls may come from any thread.

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

    Attributes:
        folder: the run's own folder.
        enabled: as given.

    Raises:
        StorageError: the spool cannot be written, or another process records this run.

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
    ) -> None:
        self.root = root.absolute()
        self.uid = uid or new_uid()
        self.folder = self.root / self.uid
        self.uri = resolve_uri(uri, self.root)
        self._entries: deque[Entry] = deque()
        self._write = threading.Lock()
        self._stop = threading.Event()
        self._finished = not enabled
        self.enabled = enabled
        self._deliver = deliver
        self._next_check, self._check_every, self._last_beat = 0.0, _CHECK_EVERY, time.monotonic()
        self._lost = 0
        self._error: str | None = None
        self._claim: int | None = None
        if not enabled:
            return
        info = RunInfo(
            uid=self.uid,
            experiment=experiment,
            run_name=run_name,
            uri=None if uri is None else self.uri,
            user=_user(),
            created=_now(),
            parent=parent,
            group=group,
        )
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
            spool = Spool.create(self.folder, info)
            spool.append([Entry("start", info.created, {"pid": os.getpid()})])
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

    def model(self, folder: Path, files: Sequence[str] = REBUILD) -> None:
        """Record the trained model, to be loaded with ``mlflow.pyfunc.load_model``.

        Args:
            folder: what ``Predictor.from_folder`` reads. Its ``model/input_example.npy`` (or
                ``.json``, a table in pandas' ``split`` form) and ``model/output_example.json``
                (likewise) give the signature.
            files: patterns of the files that go along.
        """
        self._add("model", {"path": self._relative(folder), "files": list(files)})

    def finish(self, status: Status, error: str | None = None) -> None:
        """Close the run with its true status and write all to the spool; later calls are errors.

        Args:
            status: how it ended.
            error: what went wrong, in one sentence.
        """
        self._add("finish", {"status": status, "error": error})
        self._finished = True
        if self.enabled:
            self._stop.set()
            self._thread.join()
            self.flush()
            # From here on the delivery process needs no sign of life.
            self._release()

    def flush(self) -> None:
        """Write what is in memory to the spool; an error is remembered, never raised."""
        with self._write:
            batch = [self._entries.popleft() for _ in range(len(self._entries))]
            if not batch:
                return
            try:
                self._spool.append(batch)
            except sqlite3.Error as error:
                self._keep(batch, error)
            except (TypeError, ValueError):
                self._append_singly(batch)

    def _append_singly(self, batch: list[Entry]) -> None:
        """Leave out the entries that cannot be written as JSON, such as one with a tuple for a name."""
        for place, entry in enumerate(batch):
            try:
                self._spool.append([entry])
            except sqlite3.Error as error:
                self._keep(batch[place:], error)
                return
            except (TypeError, ValueError) as error:
                self._lost += 1
                self._tell(f"{entry.kind} could not be recorded: {error}")

    def _tell(self, sentence: str) -> None:
        if self._error is None:
            self._error = sentence
            print(f"dlframe: {sentence}; training goes on", file=sys.stderr)

    def _keep(self, batch: list[Entry], error: sqlite3.Error) -> None:
        """Hold the batch for the next attempt; beyond the limit the newest metrics are given up."""
        self._tell(f"the spool in {str(self.folder)!r} could not be written: {error}")
        room = max(0, _MOST_BUFFERED - len(self._entries))
        kept = [e for i, e in enumerate(batch) if i < room or e.kind != "metrics"]
        self._lost += len(batch) - len(kept)
        self._entries.extendleft(reversed(kept))

    def wait(self, timeout: float) -> Delivery:
        """Return once everything was delivered, or after ``timeout`` seconds; never raises.

        Args:
            timeout: seconds; 0 asks only how things stand.
        """
        if not self.enabled:
            return Delivery(
                complete=True, backlog=0, mlflow_run_id=None, experiment_id=None,
                tracking_uri=self.uri,
            )  # fmt: skip
        end = time.monotonic() + timeout
        self.flush()
        while True:
            delivery = self._progress()
            if delivery.complete or time.monotonic() >= end:
                return delivery
            self._watch()
            time.sleep(0.05)

    def _progress(self) -> Delivery:
        error, backlog, cursor = self._error, len(self._entries), Cursor()
        try:
            cursor = self._spool.cursor("mlflow")
            backlog += self._spool.count(cursor.seq)
        except sqlite3.Error as problem:
            error, backlog = f"the spool cannot be read: {problem}", backlog + 1
        return Delivery(
            complete=backlog == 0,
            backlog=backlog,
            mlflow_run_id=cursor.state.get("run_id"),
            experiment_id=cursor.state.get("experiment_id"),
            tracking_uri=self.uri,
            rejected=cursor.state.get("rejected", 0),
            lost=self._lost,
            error=error or cursor.state.get("error") or cursor.state.get("notice"),
        )

    def _add(self, kind: Kind, body: dict[str, Any]) -> None:
        if not self.enabled:
            return
        if self._finished:
            raise RuntimeError(f"{kind} cannot be recorded: run {self.uid!r} has been finished")
        self._entries.append(Entry(kind, _now(), body))

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
            except OSError as error:
                started, self._error = True, f"the delivery process cannot be started: {error}"
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
    if recorder is not None and recorder.enabled and not recorder._finished:
        recorder.flush()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
