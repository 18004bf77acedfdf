"""A worker: asks the study for a trial, trains it in a process of its own, tells the result; again."""

import math
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import numpy as np
import optuna

from dlframe.errors import Stopped, sentence
from dlframe.sweep.definition import Definition
from dlframe.sweep.ledger import LEASE, Ledger
from dlframe.sweep.marks import DEFINITION
from dlframe.sweep.patience import wait_again, wait_no_more
from dlframe.sweep.pool import Pool
from dlframe.sweep.pruners import make_pruner
from dlframe.sweep.samplers import make_sampler
from dlframe.sweep.trials import Trials
from dlframe.tracking.console import let_go_of_closed_terminals
from dlframe.training.interruption import signals

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
        until: s since 1970 after which nothing goes on; None counts the study's timeout from here.
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
        until: float | None = None,
        lease: float = LEASE,
        entry: str = "dlframe.sweep.trial:train",
    ) -> None:
        self.id = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(2)}"
        self.study, self.slots = study, slots
        self.definition = Definition.from_json(study.user_attrs[DEFINITION])
        self._lease = lease
        self._ledger = Ledger(study, self.definition, self.id, lease)
        self._stopping, self._hurry = threading.Event(), threading.Event()
        self._news = threading.Condition()
        self._number: int | None = None
        self._error: BaseException | None = None
        self._owns_pool = pool is None and self.definition.execution == "process"
        self._pool = Pool(threads or max(1, cores() // slots)) if self._owns_pool else pool
        left = self.definition.stops.timeout if until is None else until - time.time()
        self._deadline = time.monotonic() + (math.inf if left is None else left)
        self._trials = Trials(
            study,
            self.definition,
            self._ledger,
            pool=self._pool if self.definition.execution == "process" else None,
            command=command,
            entry=entry,
            stopping=self._stopping,
            should_stop=self._ends,
            should_hurry=self._hurry.is_set,
        )

    def _choose(self) -> None:
        """Set sampler and pruner up; the first worker of a new study draws what bare Optuna draws."""
        definition, seed = self.definition, self.definition.seed
        place = self._ledger.place()
        if seed is not None and place != (0, 0):
            # Else every worker, and every command that goes on, would propose the same values again.
            seed = int(np.random.SeedSequence([seed, *place]).generate_state(1)[0])
        steps = definition.repeats if definition.repeats > 1 else definition.epochs
        self.study.sampler = make_sampler(definition.sampler, seed=seed, space=definition.space)
        self.study.pruner = make_pruner(definition.pruner, max_resource=max(1, steps))

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
        wait_again()
        with self._signals():
            self._ledger.beat()
            self._choose()
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
            wait_no_more()
            raise Stopped(self._number, "; the same command goes on with the study")

    def _slot(self) -> None:
        pause = _POLL
        try:
            while not self._ends():
                trial = self._ledger.take()
                if trial is not None:
                    pause = _POLL
                    self._trials.run(trial)
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
                self._ledger.look()
            except Exception as error:  # without its signs of life the worker will be given up
                print(f"dlframe: worker {self.id}: {sentence(error)}", file=sys.stderr)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in order at the first signal, and at once at the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (*signals(), signal.SIGUSR1)
        before = {number: signal.signal(number, self._request) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            self._hurry.set()
            wait_no_more()
            return
        self._number = number
        self._stopping.set()
        if number == signal.SIGHUP:
            let_go_of_closed_terminals()
        os.write(2, b"dlframe: stopping the trials at work; once more stops at once\n")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
