"""From a command's options to a study: a new one, or that which the same command began before."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

from dlframe.analysis.goals import better
from dlframe.config.settings import SweepOptions
from dlframe.config.validate import settings
from dlframe.errors import ConfigError, did_you_mean
from dlframe.sweep.definition import Chosen, Definition, Goal, Limits, Parameter, Stops
from dlframe.sweep.describe import FACTS
from dlframe.sweep.frozen import Composer
from dlframe.sweep.goals import read_constraint
from dlframe.sweep.marks import DEFINITION, FOLDER
from dlframe.sweep.order import Order
from dlframe.sweep.pool import Pool
from dlframe.sweep.space import build_space, propose
from dlframe.sweep.storage import journal_of, open_storage, studies_folder
from dlframe.sweep.tally import done
from dlframe.sweep.warm import check_warm, warm_up
from dlframe.tracking.recorder import new_uid
from dlframe.tracking.whole import read_json

__all__ = ["Plan", "begin", "first_trial", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A study before it is begun.

    Args:
        definition: what it is.
        config: of a first trial.
        storage: the address of where it is kept.
        folder: where its results go.
        study: that of an earlier command; None for a new one.
    """

    definition: Definition
    config: dict[str, Any]
    storage: str
    folder: Path
    study: optuna.Study | None


def plan(
    overrides: Sequence[str],
    options: SweepOptions,
    sampler: Chosen,
    pruner: Chosen | str | None,
    config_dir: Path | None,
    pool: Callable[[], Pool],
) -> Plan:
    """Find out what a command asks for, and whether all of it goes together.

    Args:
        overrides: of the trials, some of which sweep.
        options: of the sweep.
        sampler: proposes values.
        pruner: ends trials early; ``auto`` for the usual one where it fits, None for none.
        config_dir: a folder of the user's own YAML files.
        pool: gives what builds a first trial's parts, if that is needed.

    Raises:
        ConfigError: it does not; said before any trial begins.
        StorageError: the storage cannot be reached.
    """
    fixed, space = build_space(overrides, options.params, auto=options.auto, config_dir=config_dir)
    for text in options.constraints:
        read_constraint(text)
    first = first_trial(fixed, space)
    config = Composer(config_dir)(first)
    tracking = settings(config, "tracking")
    root = Path(tracking["root"]).absolute()
    name = options.study_name or _name(config, fixed, space, options)
    storage = options.storage or journal_of(name, root)
    folder = studies_folder(root) / name
    study = _existing(name, storage)
    before = Definition.from_json(study.user_attrs[DEFINITION]) if study is not None else None
    if before is not None and not options.objective and not options.direction:
        goals, epochs = before.goals, before.epochs
    else:
        facts = _facts(config, first, pool())
        goals, epochs = _goals(options, facts), facts["epochs"]
    definition = Definition(
        name=name,
        fixed=fixed,
        space=space,
        goals=goals,
        constraints=tuple(options.constraints),
        sampler=sampler,
        pruner=_pruner(pruner, goals, epochs),
        seed=options.seed,
        seeds=options.seeds,
        epochs=epochs,
        root=str(root),
        config_dir=str(config_dir.absolute()) if config_dir else None,
        execution=options.execution,
        stops=Stops(
            n_trials=options.n_trials,
            timeout=options.timeout,
            target=options.target,
            patience=options.patience,
            max_failures=options.max_failures,
        ),
        limits=Limits(
            timeout=options.trial_timeout,
            memory=options.trial_memory,
            gpus=options.gpus_per_trial,
            retries=options.retries,
        ),
    )
    if study is not None and before is not None:
        if options.fresh:
            study = None
            name = _unused(name, storage, root)
            storage = options.storage or journal_of(name, root)
            definition, folder = replace(definition, name=name), studies_folder(root) / name
        else:
            _check_same(study, before, definition)
    check_warm(definition, options)
    return Plan(definition, config, storage, folder, study)


def first_trial(fixed: Sequence[str], space: Sequence[Parameter]) -> list[str]:
    """Return the overrides of a trial that has the first of all choices, and the lowest values."""
    values: dict[str, Any] = {}
    for parameter in space:
        match json_to_distribution(parameter.distribution):
            case CategoricalDistribution(choices=choices):
                values[parameter.name] = choices[0]
            case FloatDistribution(low=low) | IntDistribution(low=low):
                values[parameter.name] = low
    return [*fixed, *propose(cast("optuna.Trial", optuna.trial.FixedTrial(values)), space)]


def begin(made: Plan, options: SweepOptions) -> optuna.Study:
    """Create the study, or go on with it under what of its definition may change.

    Raises:
        ConfigError: what it is to begin with does not fit.
    """
    definition = made.definition
    made.folder.mkdir(parents=True, exist_ok=True)
    study = made.study
    if study is None:
        study = optuna.create_study(
            study_name=definition.name,
            storage=open_storage(made.storage),
            directions=[goal.direction for goal in definition.goals],
        )
        study.set_user_attr(FOLDER, str(made.folder))
        study.set_user_attr(DEFINITION, definition.to_json())
        warm_up(study, definition, options)
    else:
        study.set_user_attr(DEFINITION, definition.to_json())
    return study


# --- parts ----------------------------------------------------------------------------------------


def _name(
    config: dict[str, Any], fixed: Sequence[str], space: Sequence[Parameter], options: SweepOptions
) -> str:
    """Name a study by what is tried: the same command finds it again."""
    words = [config[kind]["component"].rpartition("/")[2] for kind in ("architecture", "data")]
    identity = {
        "fixed": [text for text in fixed if not text.startswith("tracking.")],
        "space": [asdict(parameter) for parameter in space],
        "goals": [options.objective, options.direction, options.constraints, options.seeds],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return "-".join([*words, digest[:8]])


def _unused(name: str, storage: str, root: Path) -> str:
    number = 2
    while (
        _existing(f"{name}-{number}", storage)
        or (studies_folder(root) / f"{name}-{number}").exists()
    ):
        number += 1
    return f"{name}-{number}"


def _existing(name: str, storage: str) -> optuna.Study | None:
    if storage.startswith("journal:") and not Path(storage.removeprefix("journal://")).is_file():
        return None
    try:
        study = optuna.load_study(study_name=name, storage=open_storage(storage))
    except KeyError:
        return None
    if DEFINITION not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise ConfigError(
                f"the study {name!r} was not made by dlframe; choose another name with "
                "hydra.sweeper.study_name=<name>"
            )
        optuna.delete_study(study_name=name, storage=study._storage)
        return None
    return study


def _check_same(study: optuna.Study, before: Definition, now: Definition) -> None:
    name = now.name
    other = "choose another name with hydra.sweeper.study_name=<name>, or begin anew with --fresh"
    if [goal.metric for goal in before.goals] == [goal.metric for goal in now.goals]:
        for old, new in zip(before.goals, now.goals, strict=True):
            if old.direction != new.direction:
                raise ConfigError(
                    f"the study {name!r} exists and is to {old.direction} {old.metric}, not to "
                    f"{new.direction} it; {other}"
                )
    if before.fingerprint() != now.fingerprint():
        parts = ("fixed", "space", "goals", "constraints", "seeds")
        changed = [part for part in parts if getattr(before, part) != getattr(now, part)]
        raise ConfigError(
            f"the study {name!r} exists with another {' and '.join(changed)}, which would mix trials "
            f"that cannot be compared; {other}"
        )
    most, finished = now.stops.n_trials, done(study.get_trials(deepcopy=False), now)
    if most is not None and most < finished:
        raise ConfigError(
            f"n_trials counts all trials of the study {name!r}, which has {finished} already; got "
            f"{most}; give a larger hydra.sweeper.n_trials"
        )


def _facts(config: dict[str, Any], overrides: list[str], pool: Pool) -> dict[str, Any]:
    """Build a first trial's parts in a process of its own, which imports torch for this one."""
    with tempfile.TemporaryDirectory(prefix="dlframe-") as temporary:
        place = Path(temporary)
        order = Order(
            entry="dlframe.sweep.describe:describe",
            config=config,
            overrides=overrides,
            uid=new_uid(),
            tags={FACTS: str(place / "facts.json")},
        )
        outcome = pool.run(
            order, place, limits=Limits(), environment={}, on_report=lambda *_: False
        )
        if outcome.state != "finished":
            raise ConfigError(f"the first trial cannot be built: {outcome.said}")
        return read_json(place / "facts.json")


def _goals(options: SweepOptions, facts: dict[str, Any]) -> tuple[Goal, ...]:
    wanted = options.objective or facts["monitor"]
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    given = options.direction
    directions = [given] * len(names) if given is None or isinstance(given, str) else list(given)
    if not names or len(directions) != len(names):
        raise ConfigError(
            f"each objective has one direction; got {len(names)} of hydra.sweeper.objective and "
            f"{len(directions)} of hydra.sweeper.direction"
        )
    goals = []
    for name, direction in zip(names, directions, strict=True):
        plain = name.replace("best/val_", "val/", 1)
        if plain not in facts["metrics"]:
            raise ConfigError(
                f"no run logs the objective {name!r}; {did_you_mean(name, facts['metrics'])}there are "
                f"{', '.join(facts['metrics'])}"
            )
        mode = facts["mode"] if plain == facts["monitor"] else better(plain)
        mode = mode or ("min" if plain.startswith("cost/") else None)
        known = {"min": "minimize", "max": "maximize", None: None}[mode]
        found: Any = direction or known
        if found is None:
            raise ConfigError(
                f"whether {name!r} should become small or large is not known; say so with "
                "hydra.sweeper.direction=minimize, or maximize"
            )
        goals.append(Goal(plain, found))
    return tuple(goals)


def _pruner(wish: Chosen | str | None, goals: Sequence[Goal], epochs: int) -> Chosen | None:
    several = len(goals) > 1
    if wish == "auto":
        reported = not several and goals[0].metric.startswith("val/") and epochs > 1
        # Later than most would: where the first epochs rank trials wrongly, as in the table of
        # benchmarks/sweep_efficiency.py, earlier pruning ends with worse results.
        options = {"n_startup_trials": 10, "n_warmup_steps": epochs // 3}
        return Chosen("dlframe/median", options) if reported else None
    if wish is None:
        return None
    assert isinstance(wish, Chosen)
    if several:
        raise ConfigError(
            f"trials with several objectives cannot be pruned; got pruner {wish.component!r}; leave "
            "hydra/sweeper/pruner out, or optimize one objective"
        )
    return wish
