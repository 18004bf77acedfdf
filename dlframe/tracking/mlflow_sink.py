"""Delivery to MLflow: the one place that turns records into calls of MLflow's client."""
# ruff: noqa: TID253  (imported by the delivery process only)

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import requests
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from dlframe.errors import StorageError
from dlframe.tracking import names
from dlframe.tracking.mlflow_errors import in_one_line, reason, refused
from dlframe.tracking.mlflow_pages import set_up_experiment, write_end
from dlframe.tracking.mlflow_store import UID_TAG, experiment_of, make_store, runs_of, weight
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.sinks import PendingRun, Sink, UnreachableError
from dlframe.tracking.spool import FILE, Record, Spool
from dlframe.tracking.stores import check_database
from dlframe.tracking.whole import write_whole

__all__ = ["MlflowSink"]

PARENT_TAG = "dlframe.parent_uid"
_METRICS_PER_CALL = 1000
_OTHERS_PER_CALL = 100
_DIGEST_LIMIT = 36
_ERROR_FILE = "error.txt"
_log = logging.getLogger(__name__)
Item = TypeVar("Item", Metric, Param, RunTag)


class MlflowSink(Sink):
    """Delivers runs to an MLflow store or server."""

    def __init__(self) -> None:
        self._clients: dict[str, MlflowClient] = {}

    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Send ``records`` in order; see ``Sink``."""
        try:
            client = self._client(run)
            if "run_id" not in state:
                self._find_or_create(client, run, state)
            for part in _parts(records):
                if "notice" not in state:
                    self._send(client, run, part, state)
                yield part[-1].seq
        except (MlflowException, requests.RequestException, SQLAlchemyError, ImportError) as error:
            raise UnreachableError(
                f"{without_credentials(run.uri)} does not take the run: {reason(error)}"
            ) from error

    def _client(self, run: PendingRun) -> MlflowClient:
        if run.uri not in self._clients:
            if run.info.uri is None:
                make_store(Path(run.uri.removeprefix("sqlite:///")))
            elif "://" in run.uri and not run.uri.startswith(("http://", "https://", "file:")):
                try:
                    check_database(run.uri)
                except StorageError as error:
                    raise UnreachableError(str(error)) from error
            self._clients[run.uri] = MlflowClient(run.uri)
        return self._clients[run.uri]

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
                run_name=run.info.run_name or run.info.uid,
                tags={
                    UID_TAG: run.info.uid,
                    "mlflow.user": run.info.user,
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

    def _take_in(self, client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
        """Put the runs under their parent that were delivered before it."""
        found = client.search_runs(
            [state["experiment_id"]], f"tags.`{PARENT_TAG}` = '{run.info.uid}'"
        )
        for child in found:
            if child.data.tags.get(MLFLOW_PARENT_RUN_ID) != state["run_id"]:
                client.set_tag(child.info.run_id, MLFLOW_PARENT_RUN_ID, state["run_id"])

    def _send(
        self, client: MlflowClient, run: PendingRun, part: list[Record], state: dict[str, Any]
    ) -> None:
        record, run_id = part[0], state["run_id"]
        log = partial(client.log_batch, run_id)
        try:
            match record.kind:
                case "metrics":
                    metrics = [
                        Metric(names.name(key), value, each.time, each.body["step"])
                        for each in part
                        for key, value in each.body["values"].items()
                    ]
                    self._batches(run, client, state, record, metrics,
                                  lambda items: log(metrics=items), _METRICS_PER_CALL)  # fmt: skip
                case "params":
                    values = self._fitted(client, run, record, run_id, names.PARAM_LIMIT)
                    params = [Param(key, value) for key, value in values.items()]
                    self._batches(run, client, state, record, params,
                                  lambda items: log(params=items), _OTHERS_PER_CALL)  # fmt: skip
                case "tags":
                    values = self._fitted(client, run, record, run_id, names.TAG_LIMIT)
                    tags = [RunTag(key, value) for key, value in values.items()]
                    self._batches(run, client, state, record, tags,
                                  lambda items: log(tags=items), _OTHERS_PER_CALL)  # fmt: skip
                case _:
                    self._one(client, run, record, state)
        except Exception as error:
            if not refused(error):
                raise
            if client.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED:
                state["notice"] = (
                    f"run {run.info.uid!r} was deleted in MLflow while it was being recorded; what "
                    f"came after that is only in {str(run.folder)!r}"
                )
                return
            self._reject(run, client, state, record, record.body, error)

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
            for item, error in _isolated(items[start : start + size], log):
                if client.get_run(state["run_id"]).info.lifecycle_stage == LifecycleStage.DELETED:
                    raise error
                self._reject(run, client, state, record, dict(item), error)

    def _one(
        self, client: MlflowClient, run: PendingRun, record: Record, state: dict[str, Any]
    ) -> None:
        run_id, body = state["run_id"], record.body
        match record.kind:
            case "start":
                if record.seq > 1:
                    client.update_run(run_id, status="RUNNING")
                    for key, value in self._parent_tags(
                        client, run, state["experiment_id"]
                    ).items():
                        client.set_tag(run_id, key, value)
            case "artifact":
                path = run.folder / body["path"]
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
                if run.info.group:
                    self._take_in(client, run, state)
                if body["error"]:
                    self._say_error(client, run, run_id, body["error"])
                self._remove_ghosts(client, run, state)
                write_end(client, run_id, run.folder, body)
                client.set_terminated(run_id, body["status"], end_time=record.time)

    def _say_error(self, client: MlflowClient, run: PendingRun, run_id: str, error: str) -> None:
        """Tag the run with what went wrong; a long text goes whole into an artifact."""
        if len(error) > names.TAG_LIMIT:
            path = run.folder / _ERROR_FILE
            write_whole(path, error)
            client.log_artifact(run_id, str(path))
            marker = f"{names.marker(len(error), _ERROR_FILE)} "
            # The end of a traceback says what happened.
            error = marker + error[-(names.TAG_LIMIT - len(marker)) :]
        client.set_tag(run_id, "dlframe.error", error)

    def _remove_ghosts(self, client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
        """Delete runs without content that a server made late of requests it seemed to have lost.

        A request to create a run that has hung in a server for longer than its time-out may be
        carried out after the look-up of the next attempt.
        """
        for found in runs_of(client, state["experiment_id"], run.info.uid):
            if found.info.run_id != state["run_id"] and not found.data.metrics | found.data.params:
                client.delete_run(found.info.run_id)
                _log.warning("%s: deleted a second, empty run", run.info.uid)

    def _fitted(
        self, client: MlflowClient, run: PendingRun, record: Record, run_id: str, limit: int
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
            client.log_artifact(run_id, str(path), record.kind)
            values |= {key: names.marker(len(value), artifact) for key, value in long.items()}
        return values

    def _reject(
        self,
        run: PendingRun,
        client: MlflowClient,
        state: dict[str, Any],
        record: Record,
        content: dict[str, Any],
        error: Exception,
    ) -> None:
        """Put aside what MLflow refuses for good, so that the rest gets through."""
        path = run.folder / "rejected.jsonl"
        entry = {
            "seq": record.seq,
            "kind": record.kind,
            "content": content,
            "error": in_one_line(error),
        }
        line = json.dumps(entry)
        lines = path.read_text().splitlines() if path.exists() else []
        if line not in lines:  # the same record may come twice, after a crash
            lines.append(line)
            write_whole(path, "\n".join(lines) + "\n")
        state["rejected"] = len(lines)
        _log.warning("%s: rejected %s: %s", run.info.uid, record.kind, in_one_line(error))
        client.set_tag(state["run_id"], "dlframe.rejected", str(len(lines)))


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


def _isolated(
    items: list[Item], log: Callable[[list[Item]], object]
) -> Iterator[tuple[Item, Exception]]:
    """Send ``items``, halving the batch where it is refused; yield those that are refused alone."""
    try:
        log(items)
    except MlflowException as error:
        if not refused(error):
            raise
        if len(items) == 1:
            yield items[0], error
            return
        half = len(items) // 2
        yield from _isolated(items[:half], log)
        yield from _isolated(items[half:], log)


def _dataset(body: dict[str, Any]) -> DatasetInput:
    # MLflow takes data sets of one name and digest for the same and keeps only the first context.
    ending = f"-{body['context']}"
    dataset = Dataset(
        name=body["name"],
        digest=body["digest"][: _DIGEST_LIMIT - len(ending)] + ending,
        source_type="dlframe",
        source=json.dumps({"source": body["source"]}),
        schema=None if body["schema"] is None else json.dumps(body["schema"]),
        profile=None if body["profile"] is None else json.dumps(body["profile"]),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", body["context"])])
