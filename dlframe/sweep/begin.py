"""From a command's options to a study: a new one, or that which the same command began before."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from dlframe.config.folds import FOLDS, all_folds, first_fold
from dlframe.config.settings import SweepOptions
from dlframe.config.validate import settings
from dlframe.errors import ConfigError, did_you_mean
from dlframe.sweep.definition import Chosen, Definition, Goal, Limits, Parameter, Stops
from dlframe.sweep.describe import FACTS
from dlframe.sweep.existing import check_own, check_same, latest, name_of, unused
from dlframe.sweep.frozen import Composer
from dlframe.sweep.goals import read_constraint
from dlframe.sweep.marks import DEFINITION, FOLDER
from dlframe.sweep.order import Order
from dlframe.sweep.own_files import KEPT, read_files, write_files
from dlframe.sweep.pool import Pool
from dlframe.sweep.samplers import make_sampler
from dlframe.sweep.snapshot import definition_of
from dlframe.sweep.space import build_space, propose
from dlframe.sweep.storage import check_name, check_place, journal_of, open_storage, studies_folder
from dlframe.sweep.warm import Start, gather, has_begun, warm_up
from dlframe.tracking.recorder import new_uid
from dlframe.tracking.whole import read_json

__all__ = ["Plan", "begin", "first_trial", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A study before it is begun.

    Args:
        definition: what it is.
        config: of a first trial.
        storage: the address of where it is kept.
        folder: where its results go.
        study: that of an earlier command; None for a new one.
        start: what it begins with.
        files: the user's own YAML files, by path.
        edited: whether they are others than those that the study goes on with.
    """

    definition: Definition
    config: dict[str, Any]
    storage: str
    folder: Path
    study: optuna.Study | None
    start: Start
    files: dict[str, bytes]
    edited: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the overrides of a command come to.

    Args:
        fixed: those that all trials share.
        space: what is searched.
        first: overrides of a first trial.
        config: of that trial.
    """

    fixed: tuple[str, ...]
    space: tuple[Parameter, ...]
    first: list[str]
    config: dict[str, Any]


def plan(
    overrides: Sequence[str],
    options: SweepOptions,
    sampler: Chosen,
    pruner: Chosen | str | None,
    config_dir: Path | None,
    pool: Callable[[], Pool],
) -> Plan:
    """Find out what a command asks for, and whether all of it goes together; nothing is written.

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
    draft = _drafted(overrides, options, config_dir)
    for text in options.constraints:
        read_constraint(text)
    # Refuses what it cannot search, or options that do not fit; workers make their own.
    make_sampler(sampler, seed=0, space=draft.space)
    root = Path(settings(draft.config, "tracking")["root"]).absolute()
    base = options.study_name or name_of(draft.config, draft.fixed, draft.space, options)
    check_name(base)
    study = None
    if options.fresh:
        name = unused(base, options.storage, root)
    else:
        name, study = latest(base, options.storage, root)
    folder = studies_folder(root) / name
    before = definition_of(study) if study is not None else None
    files, kept = read_files(config_dir, root), str(folder / KEPT) if config_dir else None
    edited = False
    if before is not None:
        base, kept = before.base or name, before.config_dir
        own = Path(kept) if kept else None
        if config_dir is not None and files != read_files(own, root):
            edited, draft = True, _drafted(overrides, options, own)
    folds = all_folds(draft.config) or 1
    goals, epochs = _aims(options, draft, before, pool)
    definition = Definition(
        name=name,
        base=base,
        fixed=draft.fixed,
        space=draft.space,
        goals=goals,
        constraints=tuple(options.constraints),
        sampler=sampler,
        pruner=_pruner(pruner, goals, epochs, options.seeds * folds),
        seed=options.seed,
        seeds=options.seeds,
        folds=folds,
        epochs=epochs,
        root=str(root),
        config_dir=kept,
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
    start = Start()
    if study is not None and before is not None:
        check_same(study, before, definition)
    if study is None or not has_begun(study, options):
        start = gather(definition, options, settings(draft.config, "tracking")["uri"])
    return Plan(
        definition=definition,
        config=draft.config,
        storage=options.storage or journal_of(name, root),
        folder=folder,
        study=study,
        start=start,
        files=files,
        edited=edited,
    )


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

    To be called while no other command begins it, see ``alone``: then several at once work together.

    Raises:
        ConfigError: another study has come to have the name, or workers elsewhere are at work on it.
    """
    definition, study = made.definition, made.study
    if study is None:
        study = optuna.create_study(
            study_name=definition.name,
            storage=open_storage(made.storage),
            directions=[goal.direction for goal in definition.goals],
            load_if_exists=True,
        )
    check_place(study, made.storage)
    if check_own(study):
        check_same(study, definition_of(study), definition)
    else:
        _check_directions(study, definition)
        if definition.config_dir is not None:
            write_files(made.files, Path(definition.config_dir))
        study.set_user_attr(FOLDER, str(made.folder))
    study.set_user_attr(DEFINITION, definition.to_json())
    if not has_begun(study, options):
        warm_up(study, made.start, options)
    return study


# --- parts ----------------------------------------------------------------------------------------


def _drafted(overrides: Sequence[str], options: SweepOptions, config_dir: Path | None) -> _Draft:
    fixed, space = build_space(overrides, options.params, auto=options.auto, config_dir=config_dir)
    if any(own.key.lstrip("+") == FOLDS for own in space):
        raise ConfigError(
            f"{FOLDS} is not searched, since a trial is the mean over all its folds; give one number"
        )
    first = first_trial(fixed, space)
    return _Draft(fixed, space, first, Composer(config_dir)(first))


def _check_directions(study: optuna.Study, definition: Definition) -> None:
    """Make sure that an empty study, which a killed command may have left, is for these goals."""
    found = [direction.name.lower() for direction in study.directions]
    if found != [goal.direction for goal in definition.goals]:
        raise ConfigError(
            f"the study {study.study_name!r} exists, without trials, and is to {' and '.join(found)}; "
            "choose another name with hydra.sweeper.study_name=<name>"
        )


def _aims(
    options: SweepOptions, draft: _Draft, before: Definition | None, pool: Callable[[], Pool]
) -> tuple[tuple[Goal, ...], int]:
    """Return the goals and the epochs of a trial; what a study knows of itself need not be found."""
    given = options.objective or options.direction
    if before is not None and not given and before.constraints == tuple(options.constraints):
        return before.goals, before.epochs
    facts = _facts(first_fold(draft.config), draft.first, pool())
    _check_constraints(options, facts["metrics"])
    return _goals(options, facts), facts["epochs"]


def _check_constraints(options: SweepOptions, metrics: Sequence[str]) -> None:
    for text in options.constraints:
        name = read_constraint(text).metric
        if name.replace("best/val_", "val/", 1) not in metrics:
            raise ConfigError(
                f"no run logs {name!r}, which the constraint {text!r} is about; "
                f"{did_you_mean(name, metrics)}there are {', '.join(metrics)}"
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


def _pruner(
    wish: Chosen | str | None, goals: Sequence[Goal], epochs: int, seeds: int
) -> Chosen | None:
    several = len(goals) > 1
    if wish == "auto":
        reported = seeds > 1 or (goals[0].metric.startswith("val/") and epochs > 1)
        if several or not reported:
            return None
        # Of all in benchmarks/sweep_efficiency.py the one that saves most and never ends worse. A trial
        # of several seeds reports the mean of whole trainings, which is no curve.
        if seeds == 1:
            return Chosen("dlframe/power_law")
        return Chosen("dlframe/median", {"n_startup_trials": 10})
    if wish is None:
        return None
    assert isinstance(wish, Chosen)
    if several:
        raise ConfigError(
            f"trials with several objectives cannot be pruned; got pruner {wish.component!r}; leave "
            "hydra/sweeper/pruner out, or optimize one objective"
        )
    return wish
