"""How fast a study gets on: what its workers were busy with, and how long the rest will take."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from optuna.trial import FrozenTrial

from dlframe.sweep.marks import OWNER
from dlframe.sweep.snapshot import Snapshot

__all__ = ["Command", "Pace", "busy_seconds", "commands", "pace", "seconds", "told", "utilisation"]

_RECENT = 20
"""So many trials that ended last say how long one takes: samplers come to larger networks."""


def seconds(trial: FrozenTrial, now: datetime) -> float | None:
    """Return how long a trial took, or has been at work; None if it has not begun."""
    if trial.datetime_start is None:
        return None
    return max(0.0, ((trial.datetime_complete or now) - trial.datetime_start).total_seconds())


def busy_seconds(found: Snapshot) -> float:
    """Return how long all trials together took that a worker ran."""
    return sum(seconds(trial, found.taken) or 0.0 for trial in _run(found))


@dataclass(frozen=True)
class Command:
    """The time of workers that were there at once, as those of one command are.

    Args:
        start: when the first trial began.
        end: when the last one ended.
        lanes: what ran one after the other, by worker; one that runs several at a time has several.
    """

    start: datetime
    end: datetime
    lanes: Sequence[tuple[str, Sequence[FrozenTrial]]]

    @property
    def offered(self) -> float:
        """Seconds that its lanes had together."""
        return len(self.lanes) * (self.end - self.start).total_seconds()


def commands(found: Snapshot) -> list[Command]:
    """Tell apart the times at which a study was at work, however long nothing happened in between."""
    lanes = _lanes(found)
    spans = [(_start(lane[0]), max(_end(each, found) for each in lane)) for _, lane in lanes]
    grouped: list[tuple[datetime, datetime, list[tuple[str, Sequence[FrozenTrial]]]]] = []
    for lane, (first, last) in sorted(zip(lanes, spans, strict=True), key=lambda each: each[1]):
        if grouped and first <= grouped[-1][1]:
            start, end, others = grouped[-1]
            grouped[-1] = (start, max(end, last), [*others, lane])
        else:
            grouped.append((first, last, [lane]))
    return [Command(start, end, sorted(of, key=_order)) for start, end, of in grouped]


def _lanes(found: Snapshot) -> list[tuple[str, list[FrozenTrial]]]:
    lanes: list[tuple[str, list[FrozenTrial]]] = []
    for trial in sorted(_run(found), key=_start):
        owner = trial.user_attrs[OWNER]
        free = (
            lane for name, lane in lanes
            if name == owner and _end(lane[-1], found) <= _start(trial)
        )  # fmt: skip
        if (lane := next(free, None)) is not None:
            lane.append(trial)
        else:
            lanes.append((owner, [trial]))
    return lanes


def _order(lane: tuple[str, Sequence[FrozenTrial]]) -> tuple[str, datetime]:
    return lane[0], _start(lane[1][0])


def utilisation(found: Snapshot) -> float | None:
    """Return which part of their time the workers spent in trials; None before anything took time.

    One that has nothing left to do counts until the last one of its command is done.
    """
    offered = sum(command.offered for command in commands(found))
    return busy_seconds(found) / offered if offered > 0 else None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a study gets on.

    Args:
        running: how many trials are at work.
        each: seconds that one of the latest trials took on average; None before one has ended.
        per_hour: trials in an hour; None where that is not known or nobody is at work.
        left: seconds until all trials are done; None where that is not known.
    """

    running: int
    each: float | None
    per_hour: float | None
    left: float | None


def pace(found: Snapshot) -> Pace:
    """Estimate how long a study will take."""
    running = found.of("running")
    over = [
        t for t in _run(found) if t.datetime_complete and found.standings[t.number] != "retried"
    ]
    latest = sorted(over, key=lambda trial: _end(trial, found))[-_RECENT:]
    took = [seconds(trial, found.taken) or 0.0 for trial in latest]
    each = sum(took) / len(took) if took else None
    if not each or not running:
        return Pace(running=len(running), each=each, per_hour=None, left=None)
    left = None
    if found.numbers.left is not None:
        # What is at work has a part of its time behind it, however much longer than others it takes.
        behind = sum(min(each, seconds(trial, found.taken) or 0.0) for trial in running)
        left = max(0.0, found.numbers.left * each - behind) / len(running)
    return Pace(running=len(running), each=each, per_hour=3600 * len(running) / each, left=left)


def told(duration: float) -> str:
    """Return seconds as one says them: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if duration < 10:
        return f"{duration:.2g} s"
    if duration < 100:
        return f"{duration:.0f} s"
    minutes = round(duration / 60)
    if minutes < 100:
        return f"{minutes} min"
    days, hours = timedelta(minutes=minutes).days, minutes // 60
    return f"{hours} h {minutes % 60} min" if days < 2 else f"{days} d {hours % 24} h"


def _run(found: Snapshot) -> list[FrozenTrial]:
    """Return the trials that a worker ran; some were taken over from elsewhere, or wait."""
    return [t for t in found.trials if OWNER in t.user_attrs and t.datetime_start is not None]


def _start(trial: FrozenTrial) -> datetime:
    assert trial.datetime_start is not None
    return trial.datetime_start


def _end(trial: FrozenTrial, found: Snapshot) -> datetime:
    return trial.datetime_complete or found.taken
