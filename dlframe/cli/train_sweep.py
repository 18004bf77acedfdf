"""``dlframe train`` with a search: plan it, have workers run it, say what came out."""

import json
import re
import shlex
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
from dlframe.tracking.where import root_option

if TYPE_CHECKING:
    import optuna

    from dlframe.sweep.begin import Plan
    from dlframe.sweep.definition import Chosen
    from dlframe.sweep.pool import Pool
    from dlframe.sweep.snapshot import Snapshot
    from dlframe.sweep.sweeper import Launcher

__all__ = ["best_of", "conduct"]

_MOST_SHOWN = 5
_EDITED = (
    "the files in --config-dir are not those that the study began with; it goes on with what it keeps "
    "of them in its folder, --fresh takes them as they are"
)
_PLAIN = re.compile(r"[\w/.-]+")


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
    budget += f" of {definition.epochs} epochs at most" if definition.epochs else ""
    budget += f", {definition.seeds} seeds each" if definition.seeds > 1 else ""
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

    from dlframe.config.validate import settings
    from dlframe.sweep.begin import begin
    from dlframe.sweep.conduct import work
    from dlframe.sweep.existing import alone
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
    said: str | None = None
    try:
        with Watch(shown, as_json=as_json):
            work(made, study, options, launcher, pool, command)
        status = "FINISHED"
    except KeyboardInterrupt as stop:
        status = "KILLED"
        if options.fresh and isinstance(stop, Stopped):
            said = f"; the same command without --fresh goes on with the study {study.study_name}"
            raise Stopped(stop.number, said) from None
        raise
    except Exception as error:
        said = sentence(error)
        raise
    finally:
        note = None
        if parent is not None:
            parent.finish(status, said, study)
            note = parent.wait() if status != "KILLED" else None
        else:
            export(study, made.folder)
        _report(study, note, as_json=as_json, fresh=options.fresh)


def _report(study: "optuna.Study", note: str | None, *, as_json: bool, fresh: bool) -> None:
    """Say what came out of a study."""
    from dlframe.sweep.live import row
    from dlframe.sweep.snapshot import snapshot

    found = snapshot(study)
    if as_json:
        best = [row(trial, found) for trial in found.best]
        print(json.dumps({"study": found.name, **found.numbers.plain(), "best": best}), flush=True)
        return
    from rich.console import Console

    console = Console()
    where = root_option(Path(found.definition.root))
    goals = found.definition.goals
    lines = [("study", found.name), ("trials", found.numbers.line())]
    for trial in found.best[:_MOST_SHOWN]:
        values = zip(goals, trial.values or (), strict=False)
        told = ", ".join(f"{goal.metric} {value:.6g}" for goal, value in values)
        lines.append(("best", f"{told} in trial {trial.number}: " + _params(trial.params)))
    if len(found.best) > _MOST_SHOWN:
        lines.append(("", f"and {len(found.best) - _MOST_SHOWN} more that none is better than"))
    lines.append(("report", str(found.folder / "report.html")))
    if found.best:
        lines.append(
            (
                "train it",
                f"dlframe train {shlex.quote(f'+from={found.name}')}{_root_override(found)}",
            )
        )
    lines.append(("more", f"dlframe study status {shlex.quote(found.name)}{where}"))
    if fresh:
        lines.append(("go on", "the same command without --fresh goes on with this study"))
    lines += [("note", note)] if note else []
    for name, text in lines:
        console.print(f"{name:<11} {text}", highlight=False, soft_wrap=True, markup=False)


def _params(params: dict[str, Any]) -> str:
    return " ".join(
        f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items()
    )


def _root_override(found: "Snapshot") -> str:
    root = found.definition.root
    if Path(root) == Path("runs").absolute():
        return ""
    if not _PLAIN.fullmatch(root):  # Hydra, too, has marks of its own
        root = '"' + root.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return " " + shlex.quote(f"tracking.root={root}")
