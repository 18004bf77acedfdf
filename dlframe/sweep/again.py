"""Trials that failed, begun again because somebody says so."""

from collections.abc import Sequence
from typing import Any

import optuna

from dlframe.errors import ConfigError
from dlframe.sweep.marks import ATTEMPT, RETRY_OF, given, inherited, is_infrastructure
from dlframe.sweep.snapshot import snapshot
from dlframe.sweep.tally import attempt, superseded

__all__ = ["begin_again"]


def begin_again(study: optuna.Study, chosen: Sequence[int] | None = None) -> dict[int, int]:
    """Have failed trials begun again, as the next ones; the failed ones then count no longer.

    One that was killed, lost or stopped goes on from its checkpoint; one whose training raised an
    error begins anew.

    Args:
        study: the study.
        chosen: numbers of trials; None takes all that failed and were not begun again yet.

    Returns:
        The number of the new trial for each that failed.

    Raises:
        ConfigError: one is not there, did not fail, or was begun again already.
        StorageError: the storage does not answer.
    """
    found = snapshot(study)
    replaced = superseded(found.trials)
    trials = {trial.number: trial for trial in found.trials}
    failed = [
        number
        for number in trials
        if found.standings[number] in ("failed", "retried") and number not in replaced
    ]
    for number in chosen or ():
        if number not in trials:
            raise ConfigError(
                f"the study {found.name!r} has no trial {number}; those that failed are "
                f"{_listed(failed)}"
            )
        if number not in failed:
            how = "was begun again" if number in replaced else f"is {found.standings[number]}"
            raise ConfigError(
                f"trial {number} {how} already, and only trials that failed are begun again; those are "
                f"{_listed(failed)}"
            )
    begun: dict[int, int] = {}
    for number in failed if chosen is None else dict.fromkeys(chosen):
        trial = trials[number]
        marks: dict[str, Any] = {RETRY_OF: number, ATTEMPT: attempt(trial) + 1}
        if is_infrastructure(trial):
            marks |= inherited(trial)
        study.enqueue_trial(given(trial), user_attrs=marks)
        begun[number] = next(
            each.number
            for each in reversed(study.get_trials(deepcopy=False))
            if each.user_attrs.get(RETRY_OF) == number
        )
    return begun


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
