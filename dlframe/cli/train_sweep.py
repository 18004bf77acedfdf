"""``dlframe train`` with a search: plan it, have workers run it, say what came out."""

import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.config.settings import SweepOptions
from dlframe.config.signature import dataclass_options
from dlframe.config.validate import checked
from dlframe.errors import ConfigError, Stopped, sentence
from dlframe.tracking.redaction import without_credentials

if TYPE_CHECKING:
    from dlframe.sweep.begin import Plan
    from dlframe.sweep.definition import Chosen
    from dlframe.sweep.pool import Pool
    from dlframe.sweep.sweeper import Launcher

__all__ = ["best_of", "conduct"]

_EDITED = (
    "the files in --config-dir are not those that the study began with; it goes on with what it keeps "
    "of them in its folder, --fresh takes them as they are"
)


def best_of(name: str, root: Path, storage: str | None) -> tuple[list[str], Path | None]:
    """Return the overrides of a study's best trial, and the user's YAML files that they are for.

    Raises:
        ConfigError: there is no such study, or nothing completed in it.
    """
    from dlframe.sweep.snapshot import snapshot
    from dlframe.sweep.space import overrides_of
    from dlframe.sweep.storage import find_study

    found = snapshot(find_study(name, root, storage))
    if not found.best:
        raise ConfigError(
            f"no trial of the study {found.name!r} has completed; `dlframe study status {found.name}` "
            "says how it stands"
        )
    definition = found.definition
    overrides = [*definition.fixed, *overrides_of(found.best[0].params, definition.space)]
    return overrides, Path(definition.config_dir) if definition.config_dir else None


def conduct(
    arguments: Sequence[str],
    given: dict[str, Any],
    launcher: "Launcher",
    *,
    config_dir: Path | None,
    command: Sequence[str],
    as_json: bool,
) -> None:
    """Run a sweep from its plan to its result.

    Args:
        arguments: overrides, some of which sweep.
        given: of ``SweepOptions``, with ``sampler`` and ``pruner``.
        launcher: starts the workers.
        config_dir: a folder of the user's own YAML files.
        command: the command line.
        as_json: print results as JSON.

    Raises:
        ConfigError: it does not go together; said before any trial begins.
        DlframeError: no trial completed.
        Stopped: a signal ended it.
    """
    from dlframe.sweep.begin import plan
    from dlframe.sweep.pool import Pool
    from dlframe.sweep.worker import cores
    from dlframe.training.interruption import stopping_at_once

    options, sampler, pruner = _options(given)
    if launcher.many_machines and not options.storage:
        raise ConfigError(
            f"{launcher.name} may start workers on several machines, which no file serves; give "
            "hydra.sweeper.storage=postgresql://user@host/base"
        )
    if options.storage and options.storage.startswith("sqlite") and options.n_workers > 1:
        raise ConfigError(
            f"SQLite serves one worker; got n_workers={options.n_workers}; leave hydra.sweeper.storage "
            "out for a journal file, or use postgresql://user@host/base"
        )
    overrides = [text for text in arguments if not text.lstrip("+").startswith("sweep=")]
    with ExitStack() as started:
        # A worker has its own way with signals; before and after it nothing is lost by an end.
        started.enter_context(stopping_at_once(signal.SIGUSR1))

        @cache
        def pool() -> Pool:
            return started.enter_context(
                Pool(options.threads or max(1, cores() // options.n_workers))
            )

        made = plan(overrides, options, sampler, pruner, config_dir, pool)
        if not as_json:
            _show_plan(made, options)
        elif options.dry_run:
            print(json.dumps(_plain_plan(made)))
        elif made.edited:
            print(f"note: {_EDITED}", file=sys.stderr)
        if not options.dry_run:
            _run(made, options, launcher, pool, command=command, as_json=as_json)


def _options(given: dict[str, Any]) -> "tuple[SweepOptions, Chosen, Chosen | str | None]":
    from dlframe.sweep.definition import Chosen

    parts = {name: dict(given.pop(name, None) or {}) for name in ("sampler", "pruner")}
    chosen = {name: part.pop("component", None) for name, part in parts.items()}
    values = checked("hydra.sweeper", given, dataclass_options(SweepOptions), "hydra.sweeper")
    pruner: Chosen | str | None = None
    if chosen["pruner"] == "auto":
        pruner = "auto"
    elif chosen["pruner"] is not None:
        pruner = Chosen(chosen["pruner"], parts["pruner"])
    sampler = Chosen(chosen["sampler"] or "dlframe/tpe", parts["sampler"])
    return SweepOptions(**values), sampler, pruner


def _show_plan(made: "Plan", options: SweepOptions) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dlframe.sweep.repetitions import words
    from dlframe.sweep.space import combinations, describe

    definition = made.definition
    table = Table(title=f"study {definition.name}", title_justify="left")
    for name in ("searched", "values", "where"):
        table.add_column(name, overflow="fold")
    for line in describe(definition.space):
        table.add_row(*(escape(cell) for cell in line))  # [l2] is no markup
    console = Console(stderr=not options.dry_run)
    console.print(table)
    goals = ", ".join(f"{goal.direction} {goal.metric}" for goal in definition.goals)
    most = definition.stops.n_trials
    points = combinations(definition.space)
    budget = "no limit of trials" if most is None else f"{most} trials"
    epochs = f"{definition.epochs} epoch{'s' if definition.epochs > 1 else ''}"
    budget += f" of {epochs} at most" if definition.epochs else ""
    budget += f", {words(definition)} each" if definition.repeats > 1 else ""
    budget += f", {options.n_workers} at a time" if options.n_workers > 1 else ""
    budget += f"; the space has {points:,} points" if points is not None else ""
    pruner = definition.pruner.component if definition.pruner else "none"
    for name, text in (
        ("goal", goals),
        ("budget", budget),
        ("sampler", definition.sampler.component),
        ("pruner", pruner),
        ("folder", str(made.folder)),
    ):
        console.print(f"{name:<11} {text}", highlight=False, soft_wrap=True, markup=False)
    for text in _remarks(made, options):
        console.print(f"            {text}", highlight=False, soft_wrap=True, markup=False)


def _remarks(made: "Plan", options: SweepOptions) -> list[str]:
    """Say which study of its name this is."""
    name, said = made.definition.name, []
    if made.study is not None:
        said.append("goes on with this study of an earlier command; --fresh begins another")
    if made.edited:
        said.append(_EDITED)
    if any(goal.metric.startswith("test/") for goal in made.definition.goals):
        said.append(
            "the goal is measured on the test part, which then says nothing of new data any more; the "
            "usual one is of the validation part"
        )
    if options.fresh:
        said.append(f"the same command without --fresh goes on with {name}")
    return said


def _plain_plan(made: "Plan") -> dict[str, Any]:
    from dlframe.sweep.space import combinations, describe

    definition = made.definition
    return {
        "study": definition.name,
        "exists": made.study is not None,
        "edited": made.edited,
        "storage": without_credentials(made.storage),
        "folder": str(made.folder),
        "fixed": list(definition.fixed),
        "space": [dict(zip(("name", "values", "when"), line, strict=True))
                  for line in describe(definition.space)],
        "points": combinations(definition.space),
        "goals": [asdict(goal) for goal in definition.goals],
        "n_trials": definition.stops.n_trials,
        "epochs": definition.epochs,
        "sampler": definition.sampler.component,
        "pruner": definition.pruner.component if definition.pruner else None,
    }  # fmt: skip


def _run(
    made: "Plan",
    options: SweepOptions,
    launcher: "Launcher",
    pool: "Callable[[], Pool]",
    *,
    command: Sequence[str],
    as_json: bool,
) -> None:
    import optuna

    from dlframe.cli.sweep_result import report
    from dlframe.config.validate import settings
    from dlframe.sweep.begin import begin
    from dlframe.sweep.conduct import work
    from dlframe.sweep.existing import alone
    from dlframe.sweep.hints import about
    from dlframe.sweep.live import Watch
    from dlframe.sweep.marks import PARENT
    from dlframe.sweep.parent import Parent
    from dlframe.sweep.plots import export
    from dlframe.sweep.storage import open_storage

    tracking = settings(made.config, "tracking")
    parent = None
    with alone(made.folder):
        study = begin(made, options)
        if tracking["enabled"]:
            known = study.user_attrs.get(PARENT)
            parent = Parent(made.definition, tracking, command, known, storage=made.storage)
            study.set_user_attr(PARENT, parent.id)
    shown = optuna.load_study(study_name=study.study_name, storage=open_storage(made.storage))
    status: Any = "FAILED"
    said = why = note = None
    ended: BaseException | None = None
    try:
        with Watch(shown, as_json=as_json):
            why = work(made, study, options, launcher, pool, command)
        status = "FINISHED"
    except KeyboardInterrupt as stop:
        status, ended = "KILLED", stop
        if options.fresh and isinstance(stop, Stopped):
            name = study.study_name
            ended = Stopped(
                stop.number, f"; the same command without --fresh goes on with the study {name}"
            )
    except Exception as error:
        said, ended = sentence(error), error
    try:
        if parent is not None:
            parent.finish(status, said, study)
            note = parent.wait() if status != "KILLED" else None
        else:
            export(study, made.folder)
    except KeyboardInterrupt as stop:
        ended = ended or stop
        export_it = about("export", made.definition, made.storage)
        note = f"stopped before all figures were drawn and recorded; `{export_it}` draws them"
    report(study, made.storage, why=why, note=note, as_json=as_json, fresh=options.fresh)
    if ended is not None:
        raise ended
