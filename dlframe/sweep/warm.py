"""What a study begins with: given configurations, another study's trials, the best recorded runs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlframe.analysis.remote import read_store
from dlframe.config.settings import SweepOptions
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Definition, Goal
from dlframe.sweep.goals import metric_for, sign_of, value_of
from dlframe.sweep.marks import BEGUN, COPIED, FIXED, RETRY_OF
from dlframe.sweep.snapshot import definition_of
from dlframe.sweep.space import params_of
from dlframe.sweep.space_trials import distribution_of
from dlframe.sweep.storage import find_study
from dlframe.tracking.launch import resolve_uri

__all__ = ["Start", "asked", "gather", "has_begun", "warm_up"]


@dataclass(frozen=True, slots=True)
class Start:
    """What a study begins with.

    Args:
        given: values to be tried first.
        copies: completed trials of another study.
        runs: values of recorded runs, to be tried unless they are known already.
    """

    given: Sequence[dict[str, Any]] = ()
    copies: Sequence[FrozenTrial] = ()
    runs: Sequence[dict[str, Any]] = ()


def asked(options: SweepOptions) -> dict[str, Any]:
    """Return what options say of the beginning."""
    found: dict[str, Any] = {"enqueue": options.enqueue} if options.enqueue else {}
    if options.from_study is not None:
        found["from_study"] = options.from_study
    if options.from_experiment is not None:
        found |= {"from_experiment": options.from_experiment, "from_best": options.from_best}
    return found


def has_begun(study: optuna.Study, options: SweepOptions) -> bool:
    """Whether a study has what a command wants it to begin with.

    A command that was killed too early leaves one that has not; a later one may want more.
    """
    known = study.user_attrs.get(BEGUN)
    wanted = asked(options)
    return known is not None and (not wanted or json.loads(known) == wanted)


def gather(definition: Definition, options: SweepOptions, uri: str | None) -> Start:
    """Find what a study is to begin with; nothing is written.

    Args:
        definition: the study's.
        options: of the sweep.
        uri: of the store of the recorded runs.

    Raises:
        ConfigError: something is not there, or does not fit.
        StorageError: a storage or store does not answer.
    """
    given = [params_of(values, definition.space, definition.fixed) for values in options.enqueue]
    copies: list[FrozenTrial] = []
    runs: list[dict[str, Any]] = []
    if options.from_study is not None:
        copies = _copies(_other(definition, options), definition)
        # Only what is trained here can be this study's best.
        if len(definition.goals) == 1 and copies:
            sign = sign_of(definition.goals[0])
            given.append(min(copies, key=lambda trial: sign * value_of(trial)).params)
    if options.from_experiment is not None:
        runs = _best_runs(options.from_experiment, definition, options, uri)
    return Start(given, copies, runs)


def warm_up(study: optuna.Study, start: Start, options: SweepOptions) -> None:
    """Give a study what it begins with, as far as it does not have it yet."""
    trials = study.get_trials(deepcopy=False)
    known = [trial.user_attrs.get(COPIED) for trial in trials]
    own = [trial for trial in trials if RETRY_OF not in trial.user_attrs]
    queued = [t.system_attrs[FIXED] for t in own if FIXED in t.system_attrs]
    for params in start.given:
        if params in queued:
            queued.remove(params)
        else:
            study.enqueue_trial(params)
    study.add_trials([copy for copy in start.copies if copy.user_attrs[COPIED] not in known])
    for params in start.runs:
        study.enqueue_trial(params, skip_if_exists=True)
    study.set_user_attr(BEGUN, json.dumps(asked(options)))


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
    experiment: str, definition: Definition, options: SweepOptions, uri: str | None
) -> list[dict[str, Any]]:
    """Return what the best runs of an experiment chose, the best first."""
    goal = definition.goals[0]
    scored: list[tuple[float, dict[str, Any]]] = []
    runs = read_store(resolve_uri(uri, Path(definition.root)), experiment)
    for run in runs:
        name = metric_for(goal.metric, run.metrics)
        if run.group or run.status != "FINISHED" or name is None:
            continue
        value = sign_of(goal) * run.metrics[name]
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
