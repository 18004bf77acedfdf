"""What the delivery process needs of a place that runs are delivered to."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlframe.errors import ConfigError, StorageError, did_you_mean
from dlframe.plugin import SINK, registry
from dlframe.tracking.spool import Record, RunInfo

__all__ = ["LostError", "PendingRun", "Sink", "UnreachableError", "check_sinks", "make_sink"]


class UnreachableError(Exception):
    """The store does not answer: every run that goes there has to wait; said in one sentence."""


class LostError(Exception):
    """The store no longer has what was delivered of the run, which is to be sent from its beginning."""


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


class Sink(ABC):
    """A place that runs are delivered to, such as MLflow.

    Delivery is at least once: after a crash the records since the last kept cursor come again, so
    sending a record twice must leave what sending it once leaves. The delivery process makes one
    object of the class, with a thread of its own, for each store that runs go to. A plugin declares
    one with the hook ``dlframe_sinks``; users choose it with ``tracking.sinks``.
    """

    @abstractmethod
    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Send ``records`` in order; yield the number of the last one after each part that is safe.

        What is measured of the machine comes in calls of its own: metrics with number 0, at any time.

        Args:
            run: whose records they are.
            records: one or more, in order, without gaps; or measurements.
            state: plain values that the sink changes as it likes; kept together with the cursor.

        Raises:
            UnreachableError: the store does not answer; all runs that go there wait.
            LostError: the store has lost the run.
            Exception: anything else stands in the way of this run; it is tried again later.
        """

    def quiet(self, run: PendingRun, seconds: float, state: dict[str, Any]) -> bool:
        """Notice that a run that goes on has recorded nothing for so long.

        Args:
            run: the run.
            seconds: since something was recorded.
            state: as for ``deliver``.

        Returns:
            Whether ``state`` was changed.
        """
        return False


def check_sinks(names: Sequence[str]) -> None:
    """Make sure that some plugin provides each sink.

    Raises:
        ConfigError: there is no such sink, or no sink at all.
    """
    known = registry().names(SINK.name)
    for name in names:
        if not registry().knows(SINK.name, name):
            raise ConfigError(
                f"tracking.sinks has no {name!r}; {did_you_mean(name, known)}the sinks are "
                f"{', '.join(known)}"
            )
    if not names:
        raise ConfigError(f"tracking.sinks is empty; choose from {', '.join(known)}")


def make_sink(name: str) -> Sink:
    """Return a new sink of that name, from whatever plugin provides it.

    Raises:
        DlframeError: no plugin provides it, several do, or a package that it needs is missing.
    """
    component = registry().find(SINK.name, name).component
    try:
        sink: Sink = component.load()()
    except ImportError as error:
        raise StorageError(
            f"the sink {name!r} cannot be used ({error}); install what is missing"
        ) from error
    return sink
