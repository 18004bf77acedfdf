"""The end of a run in MLflow: its status before all else, then what is whole only now."""
# ruff: noqa: TID253  (imported by the delivery process only)

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from mlflow.entities import RunStatus
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from dlframe.tracking.mlflow_errors import refused
from dlframe.tracking.mlflow_pages import remove_error, write_console, write_error, write_note
from dlframe.tracking.mlflow_rejects import put_aside
from dlframe.tracking.mlflow_store import PARENT_TAG, runs_of, search_all
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import Record

__all__ = ["end_run", "set_status"]

_log = logging.getLogger(__name__)


def end_run(client: MlflowClient, run: PendingRun, record: Record, state: dict[str, Any]) -> None:
    """Close the run with its status, its error, its output and its note.

    Args:
        client: of the store.
        run: the run.
        record: how it ended.
        state: of the sink.

    Raises:
        Exception: what the store, or its place for artifacts, says.
    """
    run_id, body = state["run_id"], record.body
    if not set_status(client, run_id, record):
        return
    if body["error"]:
        said = partial(write_error, client, run_id, run.folder, body["error"])
    else:
        said = partial(remove_error, client, run_id)
    # Each for itself: a log that is too large for the server must not take the note along.
    parts: dict[str, Callable[[], None]] = {
        "error": said,
        "second runs": partial(_remove_ghosts, client, run, state),
        "children": partial(_take_in, client, run, state),
        "note": partial(write_note, client, run_id, run.folder, body),
        "console": partial(write_console, client, run_id, run.folder),
    }
    for name, write in parts.items():
        try:
            write()
        except Exception as error:
            if not refused(error):
                raise
            put_aside(client, run, state, record, {"part": name}, error)


def set_status(client: MlflowClient, run_id: str, record: Record) -> bool:
    """Close the run; say whether it was, which it is not by what was only presumed of it.

    A copy of a run's folder lacks the end that the run comes to elsewhere.
    """
    if record.body.get("presumed"):
        info = client.get_run(run_id).info
        if RunStatus.is_terminated(RunStatus.from_string(info.status)) and (
            info.end_time > record.time
        ):
            return False
    client.set_terminated(run_id, record.body["status"], end_time=record.time)
    return True


def _remove_ghosts(client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
    """Delete runs without content that a server made late of requests it seemed to have lost.

    A request to create a run that has hung in a server for longer than its time-out may be carried
    out after the look-up of the next attempt.
    """
    for found in runs_of(client, state["experiment_id"], run.info.uid):
        if found.info.run_id != state["run_id"] and not found.data.metrics | found.data.params:
            client.delete_run(found.info.run_id)
            _log.warning("%s: deleted a second, empty run", run.info.uid)


def _take_in(client: MlflowClient, run: PendingRun, state: dict[str, Any]) -> None:
    """Put the runs under their parent that were delivered before it."""
    if not run.info.group:
        return
    for child in search_all(client, state["experiment_id"], PARENT_TAG, run.info.uid):
        if child.data.tags.get(MLFLOW_PARENT_RUN_ID) != state["run_id"]:
            client.set_tag(child.info.run_id, MLFLOW_PARENT_RUN_ID, state["run_id"])
