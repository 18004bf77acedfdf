"""A worker: asks the study for a trial, trains it in a process of its own, tells the result; again."""

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import optuna

from dlframe.errors import DlframeError, Stopped, sentence
from dlframe.sweep.definition import Definition
from dlframe.sweep.frozen import Composer
from dlframe.sweep.goals import Broken, broken_by, values_of
from dlframe.sweep.gpus import Gpus
from dlframe.sweep.ledger import LEASE, Ledger
from dlframe.sweep.marks import DEFINITION, FOLDER, PARENT, RETRY_OF, UID, WORKER
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.patience import Patient
from dlframe.sweep.pool import Pool, run_inline
from dlframe.sweep.pruners import make_pruner
from dlframe.sweep.samplers import make_sampler
from dlframe.sweep.space import propose
from dlframe.tracking.recorder import new_uid
from dlframe.tracking.spool import FILE

__all__ = ["Worker", "cores"]

_POLL, _LONGEST_POLL = 0.05, 1.0


class Worker:
    """Runs trials of a study, as many at a time as it has slots, until none is left.

    Args:
        study: the study, as a storage gave it.
        slots: trials at the same time.
        threads: CPU threads of each; None shares this process's cores among the slots.
        pool: of processes for the trials; None starts one, which ends with the worker.
        command: the command line, for the record of the runs.
        lease: see ``Ledger``.
        entry: ``module:function`` that a trial carries out; what a study's storage holds must never
            decide on it.

    Attributes:
        id: its own, which names its host and process.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        slots: int = 1,
        threads: int | None = None,
        pool: Pool | None = None,
        command: Sequence[str] = (),
        lease: float = LEASE,
        entry: str = "dlframe.sweep.trial:train",
    ) -> None:
        self.id = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(2)}"
        self.study, self.slots = study, slots
        self.definition = Definition.from_json(study.user_attrs[DEFINITION])
        self._command, self._entry = list(command), entry
        self._parent: str | None = study.user_attrs.get(PARENT)
        self._folder = Path(study.user_attrs[FOLDER])
        self._lease = lease
        self._ledger = Ledger(study, self.definition, self.id, lease)
        config_dir = self.definition.config_dir
        self._composer = Composer(Path(config_dir) if config_dir else None)
        self._gpus = Gpus(self.definition.limits.gpus)
        self._stopping, self._hurry = threading.Event(), threading.Event()
        self._news = threading.Condition()
        self._number: int | None = None
        self._error: BaseException | None = None
        self._owns_pool = pool is None and self.definition.execution == "process"
        self._pool = Pool(threads or max(1, cores() // slots)) if self._owns_pool else pool
        self._deadline = float("inf")
        if self.definition.stops.timeout is not None:
            self._deadline = time.monotonic() + self.definition.stops.timeout
        self._choose()

    def _choose(self) -> None:
        """Set sampler and pruner up; the first worker of a new study draws what bare Optuna draws."""
        definition, seed = self.definition, self.definition.seed
        before = sum(key.startswith(WORKER) for key in self.study.user_attrs)
        trials = len(self.study.get_trials(deepcopy=False))
        if seed is not None and (before or trials):
            # Else every worker, and every command that goes on, would propose the same values again.
            seed = int(np.random.SeedSequence([seed, before, trials]).generate_state(1)[0])
        self.study.sampler = make_sampler(definition.sampler, seed=seed, space=definition.space)
        self.study.pruner = make_pruner(definition.pruner, max_resource=max(1, definition.epochs))

    # --- the loop ---------------------------------------------------------------------------------

    def work(self) -> None:
        """Run trials until the study is over, its time is up, or somebody stops it.

        Raises:
            Stopped: a signal asked for it; the trials at work are begun again by the next command.
            StorageError: the study's storage went away and did not come back.
        """
        slots = [
            threading.Thread(target=self._slot, name=f"dlframe-slot-{i}", daemon=True)
            for i in range(self.slots)
        ]
        with self._signals():
            self._ledger.beat()
            threading.Thread(target=self._beat, name="dlframe-lease", daemon=True).start()
            try:
                for slot in slots:
                    slot.start()
                for slot in slots:
                    while slot.is_alive():  # a signal's handler runs between two waits
                        slot.join(0.2)
            finally:
                self._stopping.set()
                for slot in slots:
                    slot.join()
                if self._owns_pool and self._pool is not None:
                    self._pool.close()
                self._ledger.beat(last=True)
        if self._error is not None:
            raise self._error
        if self._number is not None:
            raise Stopped(self._number, "; the same command goes on with the study")

    def _slot(self) -> None:
        pause = _POLL
        try:
            while not self._ends():
                self._ledger.reap()
                trial = self._ledger.take()
                if trial is not None:
                    pause = _POLL
                    self._run(trial)
                    with self._news:
                        self._news.notify_all()
                elif self._ledger.over() is not None:
                    return
                else:  # another worker has the last trials, and may be lost with them
                    with self._news:
                        self._news.wait(pause)
                    pause = min(_LONGEST_POLL, 2 * pause)
        except BaseException as error:
            self._error = self._error or error
            self._stopping.set()

    def _ends(self) -> bool:
        if time.monotonic() > self._deadline:
            self._stopping.set()
        return self._stopping.is_set()

    def _beat(self) -> None:
        while not self._stopping.wait(self._lease / 3):
            try:
                self._ledger.beat()
            except Exception as error:  # without its signs of life the worker will be given up
                print(f"dlframe: worker {self.id}: {sentence(error)}", file=sys.stderr)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in order at the first signal, and at once at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.signal(number, self._request) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            self._hurry.set()
            if isinstance(self.study._storage, Patient):  # one that is away is waited for no more
                self.study._storage.hurry.set()
            return
        self._number = number
        self._stopping.set()
        os.write(2, b"dlframe: stopping the trials at work; once more stops at once\n")

    # --- one trial --------------------------------------------------------------------------------

    def _run(self, trial: optuna.Trial) -> None:
        number, definition = trial.number, self.definition
        overrides = [*definition.fixed, *propose(trial, definition.space)]
        try:
            config = self._composer(overrides)
        except DlframeError as error:
            self._ledger.fail(number, "config", str(error))
            return
        known = self._take_over(trial)
        with self._gpus.lease(self._stopping) as environment:
            if definition.seeds == 1:
                outcome = self._train(trial, config, overrides, environment, known)
            else:
                outcome = self._train_all(trial, config, overrides, environment)
        self._tell(trial, outcome)

    def _take_over(self, trial: optuna.Trial) -> set[int]:
        """Let the pruner know what an earlier attempt reported, from whose checkpoint this goes on.

        Returns:
            The epochs that are known already.
        """
        earlier = trial.user_attrs.get(RETRY_OF)
        if earlier is None or len(self.definition.goals) > 1:
            return set()
        before = self.study.get_trials(deepcopy=False)[earlier].intermediate_values
        for step, value in before.items():
            trial.report(value, step)
        return set(before)

    def _train(
        self,
        trial: optuna.Trial,
        config: dict[str, Any],
        overrides: list[str],
        environment: Mapping[str, str],
        known: set[int],
        *,
        seed: int | None = None,
    ) -> Outcome:
        """Train one run of a trial; the only one, or that with one of several seeds."""
        own = trial.user_attrs.get(UID)
        root = Path(config["tracking"]["root"]).absolute()
        uid = own if seed is None and own and (root / own / FILE).is_file() else new_uid()
        if uid != own and not seed:  # of several, the first stands for all
            trial.set_user_attr(UID, uid)
        if seed is not None:
            config = {**config, "seed": (config["seed"] + seed) % 2**32}
        tags = {"dlframe.study": self.study.study_name, "dlframe.trial": str(trial.number)}
        order = Order(
            entry=self._entry,
            config={**config, "trainer": {**config["trainer"], "progress": "off"}},
            overrides=overrides,
            command=self._command,
            uid=uid,
            parent=self._parent,
            tags=tags,
            objective=self.definition.goals[0].metric if len(self.definition.goals) == 1 else None,
        )
        place = (
            self._folder
            / "trials"
            / (f"{trial.number}" if seed is None else f"{trial.number}-{seed}")
        )
        place.mkdir(parents=True, exist_ok=True)

        def on_report(step: int, values: dict[str, float]) -> bool:
            return seed is None and self._reported(trial, step, values, known)

        if self.definition.execution == "inline":
            return run_inline(order, place, on_report)
        assert self._pool is not None
        return self._pool.run(
            order,
            place,
            limits=self.definition.limits,
            environment=environment,
            on_report=on_report,
            should_stop=self._ends,
            should_hurry=self._hurry.is_set,
        )

    def _reported(
        self, trial: optuna.Trial, step: int, values: Mapping[str, float], known: set[int]
    ) -> bool:
        """Hand a value of one epoch on; return whether the trial is not worth going on with."""
        goals = self.definition.goals
        if len(goals) > 1 or goals[0].metric not in values or step in known:
            return False
        known.add(step)
        trial.report(values[goals[0].metric], step)
        return trial.should_prune()

    def _train_all(
        self,
        trial: optuna.Trial,
        config: dict[str, Any],
        overrides: list[str],
        environment: Mapping[str, str],
    ) -> Outcome:
        """Train a run with each seed; a trial whose mean is bad so far is not tried with the rest."""
        found: list[Outcome] = []
        for seed in range(self.definition.seeds):
            outcome = self._train(trial, config, overrides, environment, set(), seed=seed)
            if outcome.state != "finished":
                return outcome
            found.append(outcome)
            names = set.intersection(*(set(each.metrics) for each in found))
            means = {n: float(np.mean([each.metrics[n] for each in found])) for n in sorted(names)}
            outcome = replace(outcome, metrics=means)
            if len(self.definition.goals) == 1:
                trial.report(values_of(self.definition.goals, means)[0], seed + 1)
                if seed + 1 < self.definition.seeds and trial.should_prune():
                    said = f"its mean over {seed + 1} seeds promised nothing"
                    return replace(outcome, state="pruned", said=said)
        return outcome

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        number = trial.number
        if outcome.state == "pruned":
            self._ledger.prune(number, outcome.said or "it promised nothing")
            return
        if outcome.state != "finished":
            why: Any = "stopped" if outcome.state == "stopped" else outcome.reason or "exception"
            self._ledger.fail(number, why, outcome.said or "it ended without a word")
            return
        try:
            values = values_of(self.definition.goals, outcome.metrics)
            for text in self.definition.constraints:
                trial.set_constraint(text, broken_by(text, outcome.metrics))
        except Broken as error:
            self._ledger.fail(number, "value", str(error))
            return
        self._ledger.complete(number, values)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
