"""Delivery to MLflow: the one place that turns records into calls of MLflow's client."""
# ruff: noqa: TID253  (imported by the delivery process only)

import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any

import requests
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from dlframe.errors import StorageError
from dlframe.tracking import names
from dlframe.tracking.mlflow_end import end_run, set_status
from dlframe.tracking.mlflow_errors import of_database, reason, refused
from dlframe.tracking.mlflow_pages import remove_error, set_up_experiment
from dlframe.tracking.mlflow_rejects import DeletedError, Item, put_aside, send_all
from dlframe.tracking.mlflow_store import (
    PARENT_TAG,
    UID_TAG,
    close_store,
    experiment_of,
    identity,
    open_store,
    runs_of,
    weight,
)
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.sinks import LostError, PendingRun, Sink, UnreachableError
from dlframe.tracking.spool import FILE, Record, Spool
from dlframe.tracking.whole import write_whole

__all__ = ["MlflowSink"]

_METRICS_PER_CALL = 1000
_OTHERS_PER_CALL = 100
_DIGEST_LIMIT = 36
_RUN_NAME_LIMIT = 250
"""Of PostgreSQL; SQLite has none."""
_STORE_ERRORS = (MlflowException, requests.RequestException, SQLAlchemyError)


class MlflowSink(Sink):
    """Delivers runs to an MLflow store or server."""

    def __init__(self) -> None:
        self._clients: dict[str, MlflowClient] = {}
        self._files: dict[str, tuple[int, int] | None] = {}
        self._known: set[tuple[str, str]] = set()

    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Send ``records`` in order; see ``Sink``."""
        try:
            client = self._client(run, state)
            if "run_id" not in state:
                self._begin(client, run, state)
            for part in _parts(records):
                if "notice" not in state:
                    self._send(client, run, part, state, records[-1])
                    self._check_file(run)
                yield part[-1].seq
        except _STORE_ERRORS as error:
            raise UnreachableError(_sentence(run, error)) from error

    def _client(self, run: PendingRun, state: dict[str, Any]) -> MlflowClient:
        if run.uri in self._clients:
            with suppress(LostError):
                self._check_file(run)
        if run.uri not in self._clients:
            self._clients[run.uri] = open_store(run.uri)
            self._files[run.uri] = identity(run.uri)
        client = self._clients[run.uri]
        if "run_id" in state and (run.uri, run.info.uid) not in self._known:
            self._check_run(client, run, state["run_id"])
        self._known.add((run.uri, run.info.uid))
        return client

    def _check_file(self, run: PendingRun) -> None:
        """Make sure that a store's file is the one that the client has open.

        Raises:
            LostError: it was deleted or replaced: what was sent went nowhere.
        """
        if identity(run.uri) != self._files[run.uri]:
            close_store(self._clients.pop(run.uri))
            self._known.clear()
            raise LostError(f"{run.uri} was deleted or replaced; all is sent again")

    def _check_run(self, client: MlflowClient, run: PendingRun, run_id: str) -> None:
        """Make sure that the file of a store still holds the run."""
        if self._files[run.uri] is None:
            return
        try:
            client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise LostError(f"{run.uri} has lost the run; all is sent again") from error
            raise

    def _begin(self, client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
        try:
            self._find_or_create(client, run, state)
        except MlflowException as error:
            if refused(error) and not of_database(error):  # which says nothing of other runs
                raise StorageError(_sentence(run, error)) from error
            raise

    def _find_or_create(self, client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
        experiment = experiment_of(client, run)
        found = runs_of(client, experiment, run.info.uid, ViewType.ALL)
        # The tag is looked up first because a lost reply must not give a second run.
        made = (
            min(found, key=weight)
            if found
            else client.create_run(
                experiment,
                start_time=run.info.created,
                run_name=names.title(run.info.run_name or run.info.uid, _RUN_NAME_LIMIT),
                tags={
                    UID_TAG: run.info.uid,
                    "mlflow.user": names.text(run.info.user),
                    **self._parent_tags(client, run, experiment),
                },
            )
        )
        state |= {"run_id": made.info.run_id, "experiment_id": experiment}

    def _parent_tags(
        self, client: MlflowClient, run: PendingRun, experiment: str
    ) -> dict[str, str]:
        """Return what puts a run under its parent, which is made first where it is not there yet."""
        uid = run.info.parent
        if uid is None:
            return {}
        folder = run.folder.parent / uid
        state: dict[str, Any] = {}
        if (folder / FILE).is_file():
            with closing(Spool(folder)) as spool:
                self._find_or_create(client, PendingRun(folder, spool.info(), run.uri), state)
        elif found := client.search_runs([experiment], f"tags.`{UID_TAG}` = '{uid}'"):
            state["run_id"] = found[0].info.run_id
        # Where the parent is on another machine still, it takes its children in at its end.
        nested = {MLFLOW_PARENT_RUN_ID: state["run_id"]} if state else {}
        return {PARENT_TAG: uid, **nested}

    def _send(
        self,
        client: MlflowClient,
        run: PendingRun,
        part: list[Record],
        state: dict[str, Any],
        last: Record,
    ) -> None:
        record = part[0]
        try:
            if record.kind in ("metrics", "params", "tags"):
                self._send_values(client, run, part, state)
            else:
                self._one(client, run, record, state)
        except DeletedError:
            state["notice"] = (
                f"run {run.info.uid!r} was deleted in MLflow while it was being recorded; what "
                f"came after that is only in {str(run.folder)!r}"
            )
        except (*_STORE_ERRORS, UnreachableError):
            raise
        except Exception as error:
            # A place for artifacts that is away must not make a run that has ended look alive.
            if last.kind == "finish":
                set_status(client, state["run_id"], last)
            raise StorageError(
                f"{record.kind} cannot be stored by way of {without_credentials(run.uri)}: "
                f"{reason(error)}"
            ) from error

    def _send_values(
        self, client: MlflowClient, run: PendingRun, part: list[Record], state: dict[str, Any]
    ) -> None:
        record, run_id = part[0], state["run_id"]
        log = partial(client.log_batch, run_id)
        if record.kind == "metrics":
            metrics: list[Metric] = []
            for each in part:
                for key, value in each.body["values"].items():
                    try:
                        right, step = names.number(value), names.step(each.body["step"])
                        metrics.append(Metric(names.name(key), right, each.time, step))
                    except StorageError as error:
                        content = {"key": key, "value": value, "step": each.body["step"]}
                        put_aside(client, run, state, each, content, error)
            self._batches(run, client, state, record, metrics,
                          lambda items: log(metrics=items), _METRICS_PER_CALL)  # fmt: skip
        elif record.kind == "params":
            values = self._fitted(client, run, record, state, names.PARAM_LIMIT)
            params = [Param(key, value) for key, value in values.items()]
            self._batches(run, client, state, record, params,
                          lambda items: log(params=items), _OTHERS_PER_CALL)  # fmt: skip
        else:
            values = self._fitted(client, run, record, state, names.TAG_LIMIT)
            tags = [RunTag(key, value) for key, value in values.items()]
            self._batches(run, client, state, record, tags,
                          lambda items: log(tags=items), _OTHERS_PER_CALL)  # fmt: skip

    def _batches(
        self,
        run: PendingRun,
        client: MlflowClient,
        state: dict[str, Any],
        record: Record,
        items: list[Item],
        log: Callable[[list[Item]], object],
        size: int,
    ) -> None:
        for start in range(0, len(items), size):
            for item, error in send_all(items[start : start + size], log):
                again = partial(log, [item])
                put_aside(client, run, state, record, dict(item), error, again)

    def _one(
        self, client: MlflowClient, run: PendingRun, record: Record, state: dict[str, Any]
    ) -> None:
        try:
            self._call(client, run, record, state)
        except Exception as error:
            if not refused(error):
                raise
            put_aside(client, run, state, record, record.body, error)

    def _call(
        self, client: MlflowClient, run: PendingRun, record: Record, state: dict[str, Any]
    ) -> None:
        run_id, body = state["run_id"], record.body
        match record.kind:
            case "start":
                if record.seq > 1:
                    client.update_run(run_id, status="RUNNING")
                    remove_error(client, run_id)
                    for key, value in self._parent_tags(
                        client, run, state["experiment_id"]
                    ).items():
                        client.set_tag(run_id, key, value)
            case "artifact":
                path = run.folder / body["path"]
                _check_place(body["folder"])
                log = client.log_artifacts if path.is_dir() else client.log_artifact
                log(run_id, str(path), body["folder"] or None)
            case "dataset":
                client.log_inputs(run_id, datasets=[_dataset(body)])
            case "experiment":
                set_up_experiment(client, state["experiment_id"], body["tags"])
            case "checkpoint":
                from dlframe.tracking.logged_model import log_checkpoint

                log_checkpoint(client, run, record, run_id, state["experiment_id"])
            case "model":
                from dlframe.tracking.logged_model import log_model

                log_model(client, run, record, run_id, state["experiment_id"])
            case "finish":
                end_run(client, run, record, state)

    def _fitted(
        self,
        client: MlflowClient,
        run: PendingRun,
        record: Record,
        state: dict[str, Any],
        limit: int,
    ) -> dict[str, str]:
        """Name and spell the values as MLflow takes them; too long ones go to an artifact."""
        values = {names.name(k): names.text(v) for k, v in record.body["values"].items()}
        long = {key: value for key, value in values.items() if len(value) > limit}
        if long:
            artifact = f"{record.kind}/long.json"
            path = run.folder / artifact
            path.parent.mkdir(exist_ok=True)
            known = json.loads(path.read_text()) if path.exists() else {}
            write_whole(path, json.dumps(known | long, indent=1))
            try:
                client.log_artifact(state["run_id"], str(path), record.kind)
            except Exception as error:
                if not refused(error):
                    raise
                put_aside(client, run, state, record, {"path": artifact}, error)
            values |= {key: names.marker(len(value), artifact) for key, value in long.items()}
        return values


def _sentence(run: PendingRun, error: Exception) -> str:
    return f"{without_credentials(run.uri)} does not take the run: {reason(error)}"


def _parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Split records into what one call takes: runs of metrics together, everything else singly."""
    part: list[Record] = []
    size = 0
    for record in records:
        number = len(record.body["values"]) if record.kind == "metrics" else _METRICS_PER_CALL
        if part and size + number > _METRICS_PER_CALL:
            yield part
            part, size = [], 0
        part.append(record)
        size += number
    if part:
        yield part


def _check_place(folder: str) -> None:
    """Make sure that a folder is one among the run's artifacts.

    Raises:
        StorageError: it is not.
    """
    if folder and (
        posixpath.normpath(folder) != folder.rstrip("/") or folder.startswith(("/", ".."))
    ):
        raise StorageError(f"a folder of artifacts must be a plain relative path, not {folder!r}")


def _dataset(body: dict[str, Any]) -> DatasetInput:
    # MLflow takes data sets of one name and digest for the same and keeps only the first context.
    ending = f"-{body['context']}"
    dataset = Dataset(
        name=names.text(body["name"]),
        digest=body["digest"][: _DIGEST_LIMIT - len(ending)] + ending,
        source_type="dlframe",
        source=json.dumps({"source": body["source"]}),
        schema=None if body["schema"] is None else json.dumps(body["schema"]),
        profile=None if body["profile"] is None else json.dumps(body["profile"]),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", body["context"])])
