"""Which trials of a study count, and which of them is the best."""

from collections.abc import Collection, Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.definition import Definition
from dlframe.sweep.marks import ATTEMPT, RETRY_OF, is_infrastructure, reason

__all__ = ["attempt", "counts", "done", "superseded", "unfinished_retries"]


def attempt(trial: FrozenTrial) -> int:
    """Return a trial's number among the attempts at the same values; the first is 1."""
    return int(trial.user_attrs.get(ATTEMPT, 1))


def superseded(trials: Iterable[FrozenTrial]) -> frozenset[int]:
    """Return the numbers of the trials that others were begun, or are waiting, in place of."""
    return frozenset(
        int(trial.user_attrs[RETRY_OF])
        for trial in trials
        if RETRY_OF in trial.user_attrs and reason(trial) != "surplus"
    )


def counts(trial: FrozenTrial, definition: Definition, replaced: Collection[int] = ()) -> bool:
    """Whether a trial is one of the study's ``n_trials``: it is over, and no other takes its place.

    Args:
        trial: any of the study's trials.
        definition: the study's.
        replaced: numbers of the trials that ``superseded`` finds among all. Without them only those
            failures are known to be replaced that are begun again by themselves.
    """
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return True
    return (
        trial.state == TrialState.FAIL
        and reason(trial) != "surplus"
        and trial.number not in replaced
        and not _has_retry_left(trial, definition)
    )


def done(trials: Sequence[FrozenTrial], definition: Definition) -> int:
    """Return how many of the study's ``n_trials`` are done."""
    replaced = superseded(trials)
    return sum(counts(trial, definition, replaced) for trial in trials)


def unfinished_retries(trials: Sequence[FrozenTrial], definition: Definition) -> list[FrozenTrial]:
    """Return the trials that are to be begun again, and that no other was begun in place of yet."""
    replaced = superseded(trials)
    return [t for t in trials if t.number not in replaced and _has_retry_left(t, definition)]


def _has_retry_left(trial: FrozenTrial, definition: Definition) -> bool:
    return is_infrastructure(trial) and attempt(trial) <= definition.limits.retries
