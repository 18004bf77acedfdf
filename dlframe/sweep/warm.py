"""What a study begins with: given configurations, another study's trials, the best recorded runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlframe.analysis.remote import read_store
from dlframe.config.settings import SweepOptions
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Definition, Goal
from dlframe.sweep.goals import metric_for
from dlframe.sweep.marks import COPIED
from dlframe.sweep.snapshot import better, definition_of
from dlframe.sweep.space import params_of
from dlframe.sweep.space_trials import distribution_of
from dlframe.sweep.storage import find_study
from dlframe.tracking.launch import resolve_uri

__all__ = ["check_warm", "warm_up"]


def check_warm(definition: Definition, options: SweepOptions) -> None:
    """Make sure that what a study is to begin with is there, and fits.

    Raises:
        ConfigError: it is not, or does not.
    """
    for values in options.enqueue:
        params_of(values, definition.space, definition.fixed)
    if options.from_study is not None:
        _other(definition, options)


def warm_up(study: optuna.Study, definition: Definition, options: SweepOptions) -> None:
    """Give a new study what it begins with.

    Raises:
        ConfigError: something does not fit.
    """
    for values in options.enqueue:
        study.enqueue_trial(params_of(values, definition.space, definition.fixed))
    if options.from_study is not None:
        other = _other(definition, options)
        copies = _copies(other, definition)
        study.add_trials(copies)
        if (
            len(definition.goals) == 1 and copies
        ):  # only what is trained here can be this study's best
            sign = better(definition.goals[0])
            first = min(copies, key=lambda trial: sign * (trial.values or [math.inf])[0])
            study.enqueue_trial(first.params, skip_if_exists=False)
    if options.from_experiment is not None:
        for params in _best_runs(options.from_experiment, definition, options):
            study.enqueue_trial(params, skip_if_exists=True)


def _other(definition: Definition, options: SweepOptions) -> optuna.Study:
    assert options.from_study is not None
    other = find_study(options.from_study, Path(definition.root), options.storage)
    goals = definition_of(other).goals
    if goals != definition.goals:
        raise ConfigError(
            f"trials are taken over from a study with the same objective; {other.study_name!r} is to "
            f"{_told(goals)}, this one to {_told(definition.goals)}"
        )
    return other


def _told(goals: Sequence[Goal]) -> str:
    return " and ".join(f"{goal.direction} {goal.metric}" for goal in goals)


def _copies(other: optuna.Study, definition: Definition) -> list[FrozenTrial]:
    """Return another study's completed trials, as far as they are points of this one's space."""
    found = []
    for trial in other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        try:
            params = params_of(trial.params, definition.space, definition.fixed)
        except ConfigError:  # not of this space
            continue
        if not params:
            continue
        kept = {p.name: distribution_of(p) for p in definition.space if p.name in params}
        found.append(
            create_trial(
                values=trial.values,
                params=params,
                distributions=kept,
                user_attrs={COPIED: f"{other.study_name} {trial.number}"},
            )
        )
    return found


def _best_runs(
    experiment: str, definition: Definition, options: SweepOptions
) -> list[dict[str, Any]]:
    """Return what the best runs of an experiment chose, the best first."""
    from dlframe.config.validate import settings
    from dlframe.sweep.frozen import Composer  # here, since few studies begin so

    config_dir = Path(definition.config_dir) if definition.config_dir else None
    tracking = settings(Composer(config_dir)(definition.fixed), "tracking")
    goal = definition.goals[0]
    scored: list[tuple[float, dict[str, Any]]] = []
    runs = read_store(resolve_uri(tracking["uri"], Path(definition.root)), experiment)
    for run in runs:
        name = metric_for(goal.metric, run.metrics)
        if run.group or run.status != "FINISHED" or name is None:
            continue
        value = better(goal) * run.metrics[name]
        params = _searched(run.params, definition)
        if params and math.isfinite(value):
            scored.append((value, params))
    if not scored:
        raise ConfigError(
            f"no finished run of the experiment {experiment!r} has {goal.metric} and values that this "
            "study searches; `dlframe runs` lists what there is"
        )
    scored.sort(key=lambda each: each[0])
    best: list[dict[str, Any]] = []
    for _, params in scored:
        if params not in best:
            best.append(params)
    return best[: options.from_best]


def _searched(params: Any, definition: Definition) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for parameter in definition.space:
        if parameter.key in params:
            try:
                found |= params_of(
                    {parameter.key: params[parameter.key]}, definition.space, definition.fixed
                )
            except ConfigError:  # outside of what is searched
                return {}
    return found
