"""What dlframe writes on Optuna's studies and trials: names of user attributes, and values."""

from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

__all__ = ["ATTEMPT", "BEGUN", "COPIED", "DEFINITION", "FIXED", "FOLDER", "INFRASTRUCTURE", "OWNER",
           "PARENT", "REASON", "RETRY_OF", "SAID", "UID", "UIDS", "WORKER", "Reason", "given",
           "inherited", "is_idle", "is_infrastructure", "reason"]  # fmt: skip

DEFINITION = "dlframe:definition"
"""Of a study: its ``Definition`` as JSON."""
PARENT = "dlframe:parent"
"""Of a study: id of the run that its trials' runs are children of."""
BEGUN = "dlframe:begun"
"""Of a study: what it was given to begin with, once it has all of it."""
FOLDER = "dlframe:folder"
"""Of a study: its folder."""
WORKER = "dlframe:worker:"
"""Of a study, with a worker's id after it: the worker's last sign of life."""
OWNER = "dlframe:owner"
"""Of a trial: id of the worker that runs it."""
UID = "dlframe:uid"
"""Of a trial: id of its run; of several, of the first."""
UIDS = "dlframe:uids"
"""Of a trial with several seeds or folds: ids of the runs begun so far, in their order."""
FIXED = "fixed_params"
"""Of a trial, by Optuna: the values that it is to have."""
ATTEMPT = "dlframe:attempt"
"""Of a trial: its number among the attempts at the same values; the first is 1."""
RETRY_OF = "dlframe:retry_of"
"""Of a trial: number of the trial that it takes the place of."""
COPIED = "dlframe:copied"
"""Of a trial: study and number that it was taken over from, for the sampler alone to learn from."""
REASON = "dlframe:reason"
"""Of a trial that did not complete: why, in one word."""
SAID = "dlframe:said"
"""Of a trial that did not complete: why, in one sentence."""

Reason = Literal[
    "exception",  # raised by the training: the user's to mend, not tried again
    "config",  # the values do not go together, or could not be composed
    "value",  # the objective is NaN, infinite, missing or of the wrong number
    "pruned",
    "killed",  # by a signal, or it ended without a word
    "memory",
    "timeout",
    "lost",  # with its worker
    "stopped",  # the user, or a scheduler that wants the machine back
    "surplus",  # asked for by two workers at once when one was left; counts for nothing
]
INFRASTRUCTURE: frozenset[str] = frozenset(("killed", "memory", "timeout", "lost", "stopped"))
"""Reasons that say nothing of the values, which deserve another attempt."""


def reason(trial: FrozenTrial) -> Any:
    """Return why a trial did not complete, or None."""
    return trial.user_attrs.get(REASON)


def is_infrastructure(trial: FrozenTrial) -> bool:
    """Whether a trial failed for something that its values had no part in."""
    return trial.state == TrialState.FAIL and reason(trial) in INFRASTRUCTURE


def is_idle(trial: FrozenTrial) -> bool:
    """Whether a trial is none of the study's own: asked for in vain, or taken over from another."""
    return reason(trial) == "surplus" or COPIED in trial.user_attrs


def given(trial: FrozenTrial) -> dict[str, Any]:
    """Return the values that another attempt at a trial has: those drawn, and those it was to have."""
    return {**trial.system_attrs.get(FIXED, {}), **trial.params}


def inherited(trial: FrozenTrial) -> dict[str, Any]:
    """Return what another attempt takes over from a trial to go on with its runs."""
    return {key: trial.user_attrs[key] for key in (UID, UIDS) if key in trial.user_attrs}
