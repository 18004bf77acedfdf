"""How far the delivery of a run has come, as its spool knows it."""

import sqlite3
from dataclasses import dataclass

from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.spool import Spool

__all__ = ["Delivery", "progress", "still_on_their_way"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How far the recording of a run has come.

    Args:
        complete: whether everything recorded is in MLflow.
        backlog: number of records that are not there yet.
        tracking_uri: the store.
        mlflow_run_id: the run's id in MLflow, once it exists there.
        experiment_id: the experiment's id in MLflow, likewise.
        rejected: number of entries that MLflow refused; they are in ``rejected.jsonl``.
        lost: number of calls dropped: not to be written as JSON, or metrics while the disk was full.
        error: one sentence on what stands in the way, or None.
        offline: whether nothing is sent before ``dlframe sync``.
    """

    complete: bool
    backlog: int
    tracking_uri: str
    mlflow_run_id: str | None = None
    experiment_id: str | None = None
    rejected: int = 0
    lost: int = 0
    error: str | None = None
    offline: bool = False

    @property
    def note(self) -> str | None:
        """What a user should know of it, in one sentence, or None."""
        if self.error is not None:
            return self.error
        if self.offline:
            return f"{self.backlog} records wait for `dlframe sync` (tracking.offline=true)"
        if not self.complete:
            return still_on_their_way(self.backlog, self.tracking_uri)
        return None


def still_on_their_way(records: int, uri: str) -> str | None:
    """Say that so many records have not reached the store yet; None if there are none."""
    if not records:
        return None
    return f"{records} records are still on their way to {without_credentials(uri)}"


def progress(spool: Spool, uri: str, *, offline: bool = False) -> Delivery:
    """Return how far all sinks have come; never raises.

    Args:
        spool: of the run.
        uri: the MLflow store.
        offline: whether nothing is sent for now.
    """
    try:
        cursors = {name: spool.cursor(name, uri) for name in spool.info().sinks}
        backlog = spool.count(min(cursor.seq for cursor in cursors.values()))
    except (OSError, sqlite3.Error) as error:
        problem = f"the spool cannot be read: {error}"
        return Delivery(complete=False, backlog=1, tracking_uri=uri, error=problem)
    said = [c.state.get("error") or c.state.get("notice") for c in cursors.values()]
    mlflow = cursors["mlflow"].state if "mlflow" in cursors else {}
    return Delivery(
        complete=backlog == 0,
        backlog=backlog,
        tracking_uri=uri,
        mlflow_run_id=mlflow.get("run_id"),
        experiment_id=mlflow.get("experiment_id"),
        rejected=mlflow.get("rejected", 0),
        error=next(filter(None, said), None),
        offline=offline,
    )
