"""What is recorded already of a run that another process goes on with."""

import json
import math
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dlframe.tracking.spool import FILE, Record, Spool, is_claimed
from dlframe.tracking.sync import unusable

__all__ = ["METRICS", "Earlier", "earlier", "recorded_metrics", "unfinished"]

_PATIENCE = 1.0
METRICS = "metrics.json"
"""The metrics of a run that was fetched from MLflow, as a list of name, step and value."""


@dataclass
class Earlier:
    """What has been recorded of a run.

    Args:
        attempts: how many processes have trained it, one that does now included.
        status: how the last one ended; None while it has not, or was not recorded.
        previous: how the one before ended; likewise.
        described: whether config and data have been recorded.
        error: what went wrong, where that was recorded.
        steps: the last step at which each metric was recorded.
        values: each metric's value at that step.
    """

    attempts: int = 0
    status: str | None = None
    previous: str | None = None
    described: bool = False
    error: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def missing(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the values that are not recorded yet: what is trained again is not recorded again."""
        return {key: value for key, value in values.items() if step > self.steps.get(key, -1)}

    def changed(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the values that are not recorded yet, or were others at this step."""
        return {
            key: value
            for key, value in values.items()
            if step != self.steps.get(key) or not _equal(value, self.values[key])
        }


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def earlier(folder: Path) -> Earlier:
    """Read what is recorded of the run in ``folder``.

    Raises:
        sqlite3.Error: the spool cannot be read.
    """
    found = Earlier()
    for record in _records(folder):
        match record.kind:
            case "start":
                found.attempts += 1
                found.previous, found.status, found.error = found.status, None, None
            case "finish":
                found.status, found.error = str(record.body["status"]), record.body["error"]
            case "dataset":
                found.described = True
            case "metrics":
                step = int(record.body["step"])
                for key, value in record.body["values"].items():
                    if step >= found.steps.get(key, -1):
                        found.steps[key], found.values[key] = step, value
    return found


def recorded_metrics(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield name, step and value of every metric of the run, from its spool or what was fetched.

    Raises:
        sqlite3.Error: the spool cannot be read.
    """
    fetched = folder / METRICS
    if fetched.is_file():
        yield from (tuple(each) for each in json.loads(fetched.read_text()))
    for record in _records(folder):
        if record.kind == "metrics":
            for key, value in record.body["values"].items():
                yield key, int(record.body["step"]), float(value)


def unfinished(root: Path) -> Iterator[Path]:
    """Yield the folders of runs that did not reach their end and that nobody trains, newest first.

    One that cannot be read is left out, and said to be.
    """
    for path in sorted(root.glob(f"*/{FILE}"), reverse=True):
        folder = path.parent
        try:
            with closing(Spool(folder)) as spool:
                if spool.info().group:  # it stands for others and trains nothing to go on with
                    continue
                last = spool.last()
                ended = last is not None and last[1] == "finish"
                status = spool.read(last[0] - 1, 1)[0].body["status"] if last and ended else None
            free = status != "FINISHED" and _is_free(folder)
        except (sqlite3.Error, OSError, TypeError, ValueError, LookupError) as error:
            print(f"dlframe: {unusable(folder, error)}", file=sys.stderr)
            continue
        if free:
            yield folder


def _is_free(folder: Path) -> bool:
    """Whether nobody trains the run; the delivery process holds its claim too, for moments."""
    end = time.monotonic() + _PATIENCE
    while is_claimed(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _records(folder: Path) -> Iterator[Record]:
    if (folder / FILE).is_file():
        with closing(Spool(folder)) as spool:
            yield from spool.records()
