"""When a study is over, other than by the time of one command."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.definition import Definition
from dlframe.sweep.exhaustive import has_tried_all
from dlframe.sweep.marks import is_idle, reason
from dlframe.sweep.tally import done, unfinished_retries

__all__ = ["gave_up", "why_over"]


def why_over(
    trials: Sequence[FrozenTrial], definition: Definition, since: float = 0.0
) -> str | None:
    """Say why no further trial is to begin; None where one may.

    Args:
        trials: all of the study's.
        definition: the study's.
        since: s since 1970; failures of before may have been mended.
    """
    stops, goal = definition.stops, definition.goals[0]
    if stops.n_trials is not None and done(trials, definition) >= stops.n_trials:
        return f"all {stops.n_trials} trials are done"
    own = [trial for trial in trials if not is_idle(trial)]
    left = unfinished_retries(trials, definition) or _waiting(trials)
    if not left and has_tried_all(definition.sampler, definition.space, own):
        return "every combination has been tried"
    if (said := gave_up(trials, definition, since)) is not None:
        return said
    complete = [t for t in trials if t.state == TrialState.COMPLETE and not is_idle(t)]
    sign = 1 if goal.direction == "minimize" else -1
    if stops.target is not None:
        for trial in complete:
            assert trial.values is not None
            if sign * trial.values[0] <= sign * stops.target:
                return f"trial {trial.number} reached {goal.metric} = {trial.values[0]:.6g}"
    if stops.patience is not None and complete:
        over = [*complete, *(t for t in trials if t.state == TrialState.PRUNED)]
        over.sort(key=_ended)
        best = min(complete, key=lambda t: (sign * (t.values or [0.0])[0], _ended(t)))
        since = len(over) - 1 - over.index(best)
        if since >= stops.patience:
            return f"{since} trials in a row were no better than trial {best.number}"
    return None


def _waiting(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.WAITING for trial in trials)


def gave_up(
    trials: Sequence[FrozenTrial], definition: Definition, since: float = 0.0
) -> str | None:
    """Say that too many trials failed in a row since then, which makes the study a failure."""
    most = definition.stops.max_failures
    if most is None:
        return None
    ended = [t for t in trials if t.state.is_finished() and not is_idle(t)]
    ended = [trial for trial in ended if reason(trial) != "stopped"]
    ended = sorted((trial for trial in ended if _ended(trial) >= since), key=_ended)
    latest = ended[-most:]
    if len(latest) == most and all(t.state == TrialState.FAIL for t in latest):
        return f"the last {most} trials all failed"
    return None


def _ended(trial: FrozenTrial) -> float:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp()
