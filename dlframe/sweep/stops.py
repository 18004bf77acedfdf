"""When a study is over, other than by the time of one command."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.definition import Definition
from dlframe.sweep.exhaustive import ends_by_itself, has_tried_all
from dlframe.sweep.goals import feasible, sign_of, value_of
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
    stops = definition.stops
    if stops.n_trials is not None and done(trials, definition) >= stops.n_trials:
        return f"all {stops.n_trials} trials are done"
    if ends_by_itself(definition.sampler):
        own = [trial for trial in trials if not is_idle(trial)]
        left = unfinished_retries(trials, definition) or _waiting(trials)
        if not left and has_tried_all(definition.sampler, definition.space, own):
            return "every combination has been tried"
    if (said := gave_up(trials, definition, since)) is not None:
        return said
    return _reached(trials, definition) or _stagnates(trials, definition)


def _waiting(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.WAITING for trial in trials)


def _good(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that may be the best: those that break a constraint never are."""
    own = [trial for trial in trials if not is_idle(trial)]
    return [trial for trial in own if trial.state == TrialState.COMPLETE and feasible(trial)]


def _reached(trials: Sequence[FrozenTrial], definition: Definition) -> str | None:
    target, goal = definition.stops.target, definition.goals[0]
    if target is None:
        return None
    for trial in _good(trials):
        if sign_of(goal) * value_of(trial) <= sign_of(goal) * target:
            return f"trial {trial.number} reached {goal.metric} = {value_of(trial):.6g}"
    return None


def _stagnates(trials: Sequence[FrozenTrial], definition: Definition) -> str | None:
    most, sign = definition.stops.patience, sign_of(definition.goals[0])
    if most is None or not (good := _good(trials)):
        return None
    best = min(good, key=lambda trial: (sign * value_of(trial), _ended(trial)))
    own = [trial for trial in trials if not is_idle(trial)]
    over = [trial for trial in own if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    over.sort(key=_ended)
    numbers = [trial.number for trial in over]
    worse = len(over) - 1 - numbers.index(best.number)
    if worse < most:
        return None
    return f"{worse} trials in a row were no better than trial {best.number}"


def gave_up(
    trials: Sequence[FrozenTrial], definition: Definition, since: float = 0.0
) -> str | None:
    """Say that too many trials failed in a row since then, which makes the study a failure."""
    most = definition.stops.max_failures
    if most is None or sum(trial.state == TrialState.FAIL for trial in trials) < most:
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
