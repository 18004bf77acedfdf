"""The backlog of a delivery on a terminal, shown once it takes longer than a second."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Backlog"]

_SHOWN_AFTER = 1.0


class Backlog:
    """A progress bar on standard error that vanishes at the end; nothing where that is no terminal.

    Example:
        >>> with Backlog() as backlog:
        ...     recorder.wait(60.0, lambda delivery: backlog.show(delivery.backlog, delivery.error))
    """

    def __init__(self) -> None:
        self._began, self._most = time.monotonic(), 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Backlog":
        """Begin to measure."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, records: int, problem: str | None = None) -> None:
        """Show how many records are left, and what stands in the way.

        Args:
            records: number of records that are not delivered.
            problem: one sentence, or None.
        """
        self._most = max(self._most, records)
        if time.monotonic() - self._began < _SHOWN_AFTER or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = _bar()
            self._task = self._bar.add_task("", total=None, left=records, problem="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(
            self._task, total=self._most, completed=self._most - records, left=records,
            problem="" if problem is None else f"({problem})",
        )  # fmt: skip


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("delivering to MLflow", table_column=Column(no_wrap=True, width=20)),
        BarColumn(20),
        TextColumn(
            "{task.fields[left]} records left {task.fields[problem]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=Console(stderr=True),
        expand=True,
        transient=True,
    )
