"""Studies for the tests: small, real, and quick to make."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.definition import Chosen, Definition, Goal, Limits, Parameter, Stops
from dlframe.sweep.marks import (
    ATTEMPT,
    DEFINITION,
    FOLDER,
    OWNER,
    REASON,
    RETRY_OF,
    SAID,
    UID,
)
from dlframe.sweep.storage import journal_of, open_storage, studies_folder

BEGAN = datetime(2026, 11, 21, 12, 0, 0)
"""When the first trial of a study began."""


def parameter(
    key: str, distribution: BaseDistribution, when: tuple[tuple[str, str], ...] = ()
) -> Parameter:
    """Return a dimension whose choices, if it has any, are texts."""
    texts = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    return Parameter(
        name=key,
        key=key,
        distribution=distribution_to_json(distribution),
        texts=tuple(str(text) for text in texts),
        when=when,
    )


DIMENSIONS: dict[str, BaseDistribution] = {
    "optimizer": CategoricalDistribution(("adam", "sgd")),
    "regularizer": CategoricalDistribution(("[]", "[l2]", "[l2,dropout]")),
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "data.batch_size": IntDistribution(16, 256),
    "optimizer.momentum": FloatDistribution(0.0, 0.99),
    "regularizer.dropout.p": FloatDistribution(0.0, 0.8),
}
WHEN: dict[str, tuple[tuple[str, str], ...]] = {
    "optimizer.momentum": (("optimizer", "sgd"),),
    "regularizer.dropout.p": (("regularizer", "dropout"),),
}
SPACE = tuple(parameter(key, each, WHEN.get(key, ())) for key, each in DIMENSIONS.items())
LOSS = Goal("val/loss", "minimize")

_PLAIN = Definition(
    name="study",
    fixed=("data=iris", 'tracking.run_name="a $b; c"'),
    space=SPACE,
    goals=(LOSS,),
    sampler=Chosen("dlframe/tpe"),
    pruner=Chosen("dlframe/median"),
    seed=0,
    root="runs",
)


def defined(*, retries: Any = 1, **more: Any) -> Definition:
    """Return a definition with something of its own."""
    return replace(_PLAIN, **{"limits": Limits(retries=retries), **more})


def made(root: Path, trials: Sequence[FrozenTrial] = (), **more: Any) -> optuna.Study:
    """Make a study in its own file below the root, of trials that are as they are to be."""
    definition = defined(root=str(root), **more)
    study = optuna.create_study(
        study_name=definition.name,
        storage=open_storage(journal_of(definition.name, root)),
        directions=[goal.direction for goal in definition.goals],
    )
    study.set_user_attr(DEFINITION, definition.to_json())
    study.set_user_attr(FOLDER, str(studies_folder(root) / definition.name))
    study.add_trials(trials)
    return study


def trial(
    state: TrialState = TrialState.COMPLETE,
    values: float | Sequence[float] | None = None,
    params: dict[str, Any] | None = None,
    *,
    begins: float = 0.0,
    takes: float | None = 10.0,
    worker: str | None = "host-1-aa",
    reason: str | None = None,
    said: str | None = None,
    retry_of: int | None = None,
    attempt: int | None = None,
    uid: str | None = None,
    curve: Sequence[float] = (),
    constraints: dict[str, float] | None = None,
) -> FrozenTrial:
    """Return a trial of known times, in seconds; one that is at work has no end."""
    marks = {
        OWNER: worker,
        REASON: reason,
        SAID: said,
        RETRY_OF: retry_of,
        ATTEMPT: attempt,
        UID: uid,
    }
    over = state.is_finished() and takes is not None
    start = BEGAN + timedelta(seconds=begins)
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=[values] if isinstance(values, float | int) else values,
        datetime_start=None if state == TrialState.WAITING else start,
        datetime_complete=start + timedelta(seconds=takes or 0.0) if over else None,
        params=params or {},
        distributions={key: DIMENSIONS[key] for key in params or {}},
        user_attrs={key: value for key, value in marks.items() if value is not None},
        system_attrs={f"constraints:{key}": value for key, value in (constraints or {}).items()},
        intermediate_values=dict(enumerate(curve, 1)),
    )


def suggested(own: optuna.Trial) -> dict[str, Any]:
    """Draw what a trial of the space has."""
    for key, dimension in DIMENSIONS.items():
        chosen = dict(WHEN.get(key, ()))
        if all(name in own.params[group] for group, name in chosen.items()):
            own._suggest(key, dimension)
    return own.params


def searched(
    root: Path, number: int = 40, *, goals: Sequence[Goal] = (LOSS,), **more: Any
) -> optuna.Study:
    """Make a study that has really been searched, by four workers whose times are made up.

    Some trials were pruned, some failed, one of those was begun again, and one was asked for in vain.
    """
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=8)
    search = optuna.create_study(
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        directions=[goal.direction for goal in goals],
    )
    free = {f"host-{worker}-ab": float(worker) / 3 for worker in range(4)}
    trials: list[FrozenTrial] = []
    for place in range(number):
        worker = min(free, key=lambda each: free[each])
        own = search.ask()
        params = suggested(own)
        done, curve, values = _trained(own, params, len(goals))
        takes = (0.3 + params["data.batch_size"] / 100) * len(curve)
        told: dict[str, Any] = {"worker": worker, "begins": free[worker], "curve": curve}
        if place in (6, 23):
            done, takes = TrialState.FAIL, takes / 3
            told |= {"curve": (), "reason": "memory", "said": "it was killed at 2048 MiB"}
        elif place in (9, 17):
            done, takes = TrialState.FAIL, 0.4
            said = "the loss became NaN at step 12; try a smaller optimizer.lr"
            told |= {"curve": (), "reason": "exception", "said": said}
        elif done == TrialState.PRUNED:
            told |= {"reason": "pruned"}
        search.tell(own, values if done == TrialState.COMPLETE else None, done)
        told |= {"values": values} if done == TrialState.COMPLETE else {}
        uid = f"20261121-12{place:02d}00-abcdefgh"
        trials.append(trial(done, params=params, takes=takes, uid=uid, **told))
        free[worker] += takes + 0.3
    [broken] = [trials[6]]
    trials.append(trial(params=broken.params, values=[0.9] * len(goals), begins=max(free.values()),
                        worker=worker, retry_of=6, attempt=2, curve=(1.4, 1.0, 0.9)))  # fmt: skip
    trials.append(trial(TrialState.FAIL, reason="surplus", worker=None, takes=0.0))
    more = {"stops": Stops(n_trials=number), **more}
    return made(root, trials, goals=tuple(goals), **more)


def _trained(
    own: optuna.Trial, params: dict[str, Any], goals: int
) -> tuple[TrialState, list[float], list[float]]:
    """Return how a training might have gone that had these values."""
    lr, width = math.log10(params["optimizer.lr"]), params["data.batch_size"]
    best = -2.0 if params["optimizer"] == "sgd" else -3.0
    floor = 0.1 + 0.25 * (lr - best) ** 2 + 4 / width
    floor -= 0.05 * params.get("optimizer.momentum", 0.3)
    floor += 0.3 * (params.get("regularizer.dropout.p", 0.35) - 0.3) ** 2
    curve: list[float] = []
    for epoch in range(1, 13):
        wave = 0.02 * math.sin(7.0 * epoch + 100 * lr)
        curve.append(floor + 1.6 * math.exp(-epoch / 2.5) + wave)
        if goals > 1:
            continue
        own.report(curve[-1], epoch)
        if own.should_prune():
            return TrialState.PRUNED, curve, []
    values = [min(curve), 64.0 * width + 10 * width][:goals]
    return TrialState.COMPLETE, curve, values
