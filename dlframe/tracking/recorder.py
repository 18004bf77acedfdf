"""The recording side: what training calls. It never waits for a store and never raises for one."""

import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dlframe.tracking.entries import Kind
from dlframe.tracking.launch import resolve_uri
from dlframe.tracking.progress import Delivery
from dlframe.tracking.sinks import check_sinks
from dlframe.tracking.spool import RunInfo
from dlframe.tracking.writer import Writer

__all__ = ["REBUILD", "Delivery", "Recorder", "Status", "new_uid", "user_name"]

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | int | float | bool | None

REBUILD = ("config.yaml", "spec.json", "preprocessing*", "checkpoints/best.ckpt")
"""What a logged model holds of the run's folder: all that the network is built again from."""

_CHECKPOINTS = "checkpoints"
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_uid() -> str:
    """Return a new run id: local time, then eight random characters; sorts by age.

    Jobs of a cluster begin a thousand at once, and may share one MLflow server.
    """
    # `secrets`, because a draw from `random` would shift the seeded numbers of the training.
    return time.strftime("%Y%m%d-%H%M%S-") + "".join(secrets.choice(_ALPHABET) for _ in range(8))


class Recorder:
    """Records one run into its spool; a process of its own delivers it to MLflow.

    What a call records is safe on return, however the process ends; see ``writer``. Calls may come
    from any thread.

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
        StorageError: the spool cannot be written.
        RunTakenError: another process records this run.
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
        self.enabled = enabled
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
        self._writer = Writer(self.folder, info, deliver=deliver, offline=offline)
        # A run that goes on may have been sent to another store in the meantime.
        self.uri = resolve_uri(self._writer.spool.info().uri, self.root)

    def params(self, values: Mapping[str, Scalar | Sequence[Any]]) -> None:
        """Record parameters: what decides the result; a name keeps its first value."""
        self._add("params", {"values": dict(values)})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record measured values at an optimizer step; NaN and infinity are kept."""
        if self.enabled:  # no copy: the values are written down before the call returns
            self._writer.add("metrics", {"step": step, "values": values})

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
            self._writer.end()

    def wait(self, timeout: float, show: Callable[[Delivery], object] | None = None) -> Delivery:
        """Return once everything was delivered, or after ``timeout`` seconds; never raises.

        Args:
            timeout: seconds; 0 asks only how things stand.
            show: called again and again with how far it is.
        """
        if not self.enabled or self._writer.left:
            return Delivery(complete=True, backlog=0, tracking_uri=self.uri)
        end, writer = time.monotonic() + timeout, self._writer
        while True:
            writer.flush()
            delivery = writer.progress(self.uri)
            waiting = bool(writer.unwritten) or not writer.offline
            if delivery.complete or not waiting or time.monotonic() >= end:
                return delivery
            if show is not None:
                show(delivery)
            writer.watch()
            time.sleep(0.05)

    def _add(self, kind: Kind, body: dict[str, Any]) -> None:
        if self.enabled:
            self._writer.add(kind, body)

    def _relative(self, path: Path) -> str:
        """Name a path inside the run's folder relative to it, so that the folder can be moved."""
        path = path.absolute()
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)


def user_name() -> str:
    """Return who runs this process, as runs say it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
