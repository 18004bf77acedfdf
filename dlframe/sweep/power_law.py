"""A pruner that asks where a trial's curve is heading, not where it stands."""

import math
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["PowerLaw"]

_SMALLEST = 1e-4
"""An error below this is taken for this: its logarithm has no bound."""


class PowerLaw(BasePruner):
    """Ends a trial that at its present pace will not reach the best value, or that stands still.

    Args:
        epochs: of a whole trial.
        n_startup_trials: trials that must have completed before any is ended.
        n_warmup_steps: epochs before a trial is ended.
        optimism: how many times its present pace a trial is trusted with.
        stall: share of a trial's epochs so far in which it must have improved to go on.
    """

    def __init__(
        self,
        epochs: int,
        *,
        n_startup_trials: int,
        n_warmup_steps: int,
        optimism: float,
        stall: float,
    ) -> None:
        self._epochs, self._startup, self._warmup = epochs, n_startup_trials, n_warmup_steps
        self._optimism, self._stall = optimism, stall

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends here."""
        epoch = trial.last_step
        if epoch is None or not self._warmup < epoch < self._epochs:
            return False
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        values = [sign * trial.value for trial in complete if trial.value is not None]
        if len(values) < self._startup:
            return False
        best = min(values)
        own = {step: sign * value for step, value in trial.intermediate_values.items()}
        now = _lowest(own, epoch)
        if now is None:  # nothing but NaN
            return True
        if now <= best:
            return False
        before = _lowest(own, epoch - max(self._warmup, int(self._stall * epoch)))
        if before is not None and now >= before:
            return True
        return self._heads_for(own, epoch, now, best) > 0.0

    def _heads_for(self, own: Mapping[int, float], epoch: int, now: float, best: float) -> float:
        """Return how far from the best value the trial would end, on the scale of its curve."""
        half = epoch // 2
        then = _lowest(own, half)
        if then is None:
            return -1.0  # it began late: there is no pace to go by
        scale = _scale_of((then, now, best))
        pace = (scale(then) - scale(now)) / math.log2(epoch / half)
        left = math.log2(self._epochs / epoch)
        return scale(now) - self._optimism * pace * left - scale(best)


def _lowest(own: Mapping[int, float], epoch: int) -> float | None:
    """Return the lowest value up to an epoch; None where there is none."""
    found = [value for step, value in own.items() if step <= epoch and not math.isnan(value)]
    return min(found, default=None)


def _scale_of(values: Sequence[float]) -> Callable[[float], float]:
    """Return the scale on which a curve is a line over the logarithm of its epochs.

    The logarithm, for a loss above zero, and for a share such as the accuracy (which is negative
    here), whose distance from 1 is an error; else the value itself.
    """
    if min(values) > 0:
        return math.log
    if all(-1 <= value <= 0 for value in values):
        return lambda value: math.log(max(1 + value, _SMALLEST))
    return float
