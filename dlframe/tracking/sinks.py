"""What the delivery process needs of a place that runs are delivered to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dlframe.plugin import SINK, registry
from dlframe.tracking.spool import Record, RunInfo

__all__ = ["PendingRun", "Sink", "UnreachableError", "make_sink"]


class UnreachableError(Exception):
    """The store does not answer: every run that goes there has to wait; said in one sentence."""


@dataclass(frozen=True)
class PendingRun:
    """A run to deliver.

    Args:
        folder: the run's folder.
        info: what identifies it.
        uri: MLflow's tracking URI.
    """

    folder: Path
    info: RunInfo
    uri: str


class Sink(Protocol):
    """A place that runs are delivered to, such as MLflow.

    Delivery is at least once: after a crash the records since the last kept cursor come again, so
    sending a record twice must leave what sending it once leaves.

    Attributes:
        name: under which the sink's cursor is kept in the spool.
    """

    name: str

    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Send ``records`` in order; yield the number of the last one after each part that is safe.

        Args:
            run: whose records they are.
            records: in order, without gaps.
            state: plain values that the sink changes as it likes; kept together with the cursor.

        Raises:
            UnreachableError: the store does not answer.
            Exception: anything else stands in the way of this run; it is tried again later.
        """
        ...


def make_sink(name: str) -> Sink:
    """Return a new sink of that name, from whatever plugin provides it.

    Raises:
        DlframeError: no plugin provides it, or several do.
    """
    sink: Sink = registry().find(SINK.name, name).component.load()()
    return sink
