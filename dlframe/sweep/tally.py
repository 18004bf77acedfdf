"""Which trials of a study count towards how many it is to have, and how each of them stands."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.definition import Definition
from dlframe.sweep.marks import ATTEMPT, REASON, RETRY_OF, is_idle, is_infrastructure, reason

__all__ = ["Numbers", "Standing", "attempt", "counts", "done", "numbers", "standing", "superseded",
           "unfinished_retries"]  # fmt: skip

Standing = Literal["complete", "pruned", "failed", "retried", "running", "waiting"]
"""How a trial stands; ``retried`` is one that failed and whose place another takes, or will take."""
_UNKNOWN = "unknown"


def attempt(trial: FrozenTrial) -> int:
    """Return a trial's number among the attempts at the same values; the first is 1."""
    return int(trial.user_attrs.get(ATTEMPT, 1))


def superseded(trials: Iterable[FrozenTrial]) -> frozenset[int]:
    """Return the numbers of the trials that others were begun, or are waiting, in place of."""
    return frozenset(
        int(attrs[RETRY_OF])
        for attrs in (trial.user_attrs for trial in trials)
        if RETRY_OF in attrs and attrs.get(REASON) != "surplus"
    )


def counts(trial: FrozenTrial, definition: Definition, replaced: Collection[int]) -> bool:
    """Whether a trial is one of the study's ``n_trials``: it is over, and no other takes its place.

    Args:
        trial: any of the study's trials.
        definition: the study's.
        replaced: numbers of the trials that ``superseded`` finds among all.
    """
    if is_idle(trial):
        return False
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return True
    return (
        trial.state == TrialState.FAIL
        and trial.number not in replaced
        and not _has_retry_left(trial, definition)
    )


def done(trials: Sequence[FrozenTrial], definition: Definition) -> int:
    """Return how many of the study's ``n_trials`` are done."""
    replaced = superseded(trials)
    return sum(counts(trial, definition, replaced) for trial in trials)


def unfinished_retries(trials: Sequence[FrozenTrial], definition: Definition) -> list[FrozenTrial]:
    """Return the trials that are to be begun again, and that no other was begun in place of yet."""
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    replaced = superseded(trials) if failed else frozenset[int]()
    return [t for t in failed if t.number not in replaced and _has_retry_left(t, definition)]


def _has_retry_left(trial: FrozenTrial, definition: Definition) -> bool:
    if reason(trial) == "stopped":  # by somebody who wants it to go on some day
        return trial.state == TrialState.FAIL
    return is_infrastructure(trial) and attempt(trial) <= definition.limits.retries


def standing(
    trial: FrozenTrial, definition: Definition, replaced: Collection[int]
) -> Standing | None:
    """Return how a trial stands; None for one that nobody needed.

    Args:
        trial: any of the study's trials.
        definition: the study's.
        replaced: numbers of the trials that ``superseded`` finds among all.
    """
    if is_idle(trial):
        return None
    if trial.state != TrialState.FAIL:
        return _STANDING[trial.state]
    return "failed" if counts(trial, definition, replaced) else "retried"


_STANDING: dict[TrialState, Standing] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How many trials stand how, as ``Standing`` has it.

    Args:
        total: how many trials the study is to have; None where nothing limits them.
        complete: how many have values.
        pruned: how many were ended early.
        failed: how many failed for good.
        retried: how many failed and are, or will be, begun again.
        running: how many are at work.
        waiting: how many are to be begun next.
        reasons: of those that failed for good, how many for which reason.
    """

    total: int | None
    complete: int
    pruned: int
    failed: int
    retried: int
    running: int
    waiting: int
    reasons: Mapping[str, int]

    @property
    def done(self) -> int:
        """How many of the total are done."""
        return self.complete + self.pruned + self.failed

    @property
    def left(self) -> int | None:
        """How many are to be done yet; None where nothing limits them."""
        return None if self.total is None else max(0, self.total - self.done)

    def line(self) -> str:
        """Say it in one line."""
        why = ", ".join(f"{number} {each}" for each, number in self.reasons.items())
        parts = {
            "complete": self.complete,
            "pruned": self.pruned,
            f"failed ({why})": self.failed,
            "begun again": self.retried,
            "running": self.running,
            "waiting": self.waiting,
        }
        told = ", ".join(f"{number} {word}" for word, number in parts.items() if number)
        of = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        of += " trial" if (self.total or self.done) == 1 else " trials"
        return f"{of} done: {told}" if told else f"{of} done"

    def plain(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {"done": self.done, **asdict(self)}


def numbers(trials: Sequence[FrozenTrial], definition: Definition) -> Numbers:
    """Count a study's trials."""
    replaced = superseded(trials)
    found = [(standing(trial, definition, replaced), trial) for trial in trials]
    many = Counter(how for how, _ in found)
    why = Counter(str(reason(trial) or _UNKNOWN) for how, trial in found if how == "failed")
    return Numbers(
        total=definition.stops.n_trials,
        complete=many["complete"],
        pruned=many["pruned"],
        failed=many["failed"],
        retried=many["retried"],
        running=many["running"],
        waiting=many["waiting"],
        reasons=dict(why.most_common()),
    )
