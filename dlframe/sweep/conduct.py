"""A study from its first worker to its last, whichever of them are killed on the way."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from dlframe.config.settings import SweepOptions
from dlframe.errors import DlframeError, sentence
from dlframe.sweep.begin import Plan, first_trial
from dlframe.sweep.definition import Definition
from dlframe.sweep.hints import about
from dlframe.sweep.ledger import Ledger
from dlframe.sweep.pool import Pool
from dlframe.sweep.stops import gave_up
from dlframe.sweep.sweeper import Launcher, WorkerTask
from dlframe.sweep.tally import done, numbers
from dlframe.sweep.worker import Worker, cores

__all__ = ["work"]

_JOBS = "jobs"
"""Where a launcher's own files lie, in the study's folder."""


def work(
    made: Plan,
    study: optuna.Study,
    options: SweepOptions,
    launcher: Launcher,
    pool: Callable[[], Pool],
    command: Sequence[str],
) -> str:
    """Have workers started until the study is over; return why it is.

    A launcher ends with the first of its jobs that is killed; as long as trials get done, it is used
    again.

    Args:
        made: the study's plan.
        study: the study.
        options: of the sweep.
        launcher: starts workers.
        pool: gives one for the trials of this process's own worker.
        command: the command line, for the record of the runs.

    Raises:
        DlframeError: too many trials failed, or none completed, or the workers ended before their time.
        Stopped: a signal ended it.
    """
    definition, began = made.definition, time.time()
    first = first_trial(definition.fixed, definition.space)
    ledger = Ledger(study, definition, f"conductor-{time.time_ns()}")
    threads, jobs = options.threads, options.n_workers
    if threads is None and launcher.one_machine:  # a job cannot know of those beside it
        threads = max(1, cores() // jobs)
    until = began + (definition.stops.timeout or math.inf)
    ends = time.monotonic() + (definition.stops.timeout or math.inf)
    task: Any = WorkerTask(definition.name, made.storage, threads, tuple(command), until)
    place = made.folder / _JOBS
    # What a launcher writes there holds the config and the storage's address, passwords and all.
    place.mkdir(mode=0o700, exist_ok=True)
    if launcher.is_local:  # its jobs run one after another: one of them runs all trials
        own = pool() if options.execution == "process" else None
        task, jobs = partial(_work_here, study, options.n_workers, tuple(command), own, until), 1
    again = "the same command" + (" without --fresh" if options.fresh else "")
    while True:
        before = done(study.get_trials(deepcopy=False), definition)
        problem: Exception | None = None
        try:
            launcher(task, first, jobs, place)
        except Exception as error:  # a killed job's, which says nothing of the study
            problem = error
        ledger.reap()
        trials = study.get_trials(deepcopy=False)
        if (failed := gave_up(trials, definition, began)) is not None:
            raise DlframeError(
                f"{failed}; `{about('status', definition, made.storage)}` says why, and {again} goes on"
            )
        over = ledger.over()
        if over is None and time.monotonic() >= ends:
            over = f"the {definition.stops.timeout:g} seconds of a command are over"
        if over is not None:
            _check_some(trials, definition, made.storage)
            return over
        if done(trials, definition) == before:
            if problem is not None:
                raise problem
            raise DlframeError(
                f"the workers of the study {definition.name!r} ended before its trials were done; "
                f"{again} goes on"
            )
        if problem is not None:
            print(f"dlframe: {sentence(problem)}; the workers are started again", file=sys.stderr)


def _work_here(
    study: optuna.Study,
    slots: int,
    command: Sequence[str],
    pool: Pool | None,
    until: float,
    config: Any,
) -> None:
    Worker(study, slots=slots, command=command, pool=pool, until=until).work()


def _check_some(trials: Sequence[FrozenTrial], definition: Definition, storage: str) -> None:
    """Make sure that something came out of the study.

    Raises:
        DlframeError: no trial of its own has completed.
    """
    found = numbers(trials, definition)
    if found.complete == 0:
        raise DlframeError(
            f"no trial of the study {definition.name!r} has completed, {found.failed} failed; "
            f"`{about('status', definition, storage)}` says why"
        )
