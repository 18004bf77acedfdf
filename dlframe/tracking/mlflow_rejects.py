"""What MLflow refuses for good is put aside, so that the rest of the run gets through."""
# ruff: noqa: TID253  (imported by the delivery process only)

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from dlframe.tracking.mlflow_errors import in_one_line, refused
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import Record
from dlframe.tracking.whole import write_whole

__all__ = ["REJECTED", "DeletedError", "Item", "put_aside", "send_all"]

REJECTED = "rejected.jsonl"
"""The file in a run's folder that holds what was put aside."""
_TAG = "dlframe.rejected"
_log = logging.getLogger(__name__)
Item = TypeVar("Item", Metric, Param, RunTag)


class DeletedError(Exception):
    """The run was deleted in MLflow: nothing of it is taken, whatever it is."""


def put_aside(
    client: MlflowClient,
    run: PendingRun,
    state: dict[str, Any],
    record: Record,
    content: Mapping[str, Any],
    error: Exception,
    again: Callable[[], object] | None = None,
) -> None:
    """Write what was refused into the run's folder, and its number into the tag ``dlframe.rejected``.

    A store that refuses that tag as well refuses everything, such as a database that is read-only for
    a while: its error is raised, and nothing is put aside.

    Args:
        client: of the store.
        run: whose content it is.
        state: of the sink, which counts.
        record: that holds the content.
        content: what was refused.
        error: the refusal.
        again: sends the content once more, now that the store is known to take what it should.

    Raises:
        DeletedError: the run is deleted in MLflow.
        Exception: what the store says.
    """
    run_id = state["run_id"]
    if client.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED:
        raise DeletedError
    path = run.folder / REJECTED
    said = in_one_line(error)
    line = json.dumps({"seq": record.seq, "kind": record.kind, "content": content, "error": said})
    lines = path.read_text().splitlines() if path.exists() else []
    if line not in lines:  # the same record may come twice, after a crash
        lines.append(line)
    _count(client, run_id, len(lines))
    if again is not None:
        try:
            again()
        except Exception as second:
            if not refused(second):
                raise
        else:
            _log.warning("%s: %s was taken at the second attempt", run.info.uid, record.kind)
            _count(client, run_id, len(lines) - 1)
            return
    write_whole(path, "\n".join(lines) + "\n")
    state["rejected"] = len(lines)
    _log.warning("%s: rejected %s: %s", run.info.uid, record.kind, said)


def _count(client: MlflowClient, run_id: str, number: int) -> None:
    if number:
        client.set_tag(run_id, _TAG, str(number))
    else:
        client.delete_tag(run_id, _TAG)


def send_all(
    items: list[Item], log: Callable[[list[Item]], object]
) -> Iterator[tuple[Item, Exception]]:
    """Send ``items``, halving the batch where it is refused; yield those that are refused alone."""
    try:
        log(items)
    except Exception as error:
        if not refused(error):
            raise
        if len(items) == 1:
            yield items[0], error
            return
        half = len(items) // 2
        yield from send_all(items[:half], log)
        yield from send_all(items[half:], log)
