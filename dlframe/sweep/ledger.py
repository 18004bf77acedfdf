"""What the workers of a study agree on through its storage: who runs what, and how much is left."""

import json
import os
import threading
import time
from collections.abc import Collection, Sequence
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlframe.sweep.definition import Definition
from dlframe.sweep.marks import ATTEMPT, OWNER, REASON, RETRY_OF, SAID, UID, WORKER, Reason, reason
from dlframe.sweep.stops import why_over
from dlframe.sweep.tally import attempt, done, superseded, unfinished_retries

__all__ = ["Ledger"]

LEASE = 60.0
"""Seconds without a sign of life after which a worker of another machine counts as lost."""


class Ledger:
    """One worker's view of a study.

    Args:
        study: the study.
        definition: the study's.
        worker: id of this worker, which nobody else has.
        lease: seconds without a sign of life after which a worker is given up that cannot be looked
            up, because it is on another machine.
    """

    def __init__(
        self, study: optuna.Study, definition: Definition, worker: str, lease: float = LEASE
    ) -> None:
        self.study, self.definition, self.worker = study, definition, worker
        self._lease, self._taking = lease, threading.Lock()
        self._mine: set[int] = set()
        self._seen: dict[str, tuple[Any, float]] = {}
        self._beats, self._began = 0, time.time()
        self._next_look = 0.0

    # --- signs of life ----------------------------------------------------------------------------

    def beat(self, *, last: bool = False) -> None:
        """Give a sign of life.

        Args:
            last: say that the worker has ended, whose trials are then nobody's.
        """
        self._beats += 1
        started = psutil.Process().create_time()
        place = {"host": os.uname().nodename, "pid": os.getpid(), "started": started}
        self.study.set_user_attr(
            WORKER + self.worker, {**place, "beat": self._beats, "at": time.time(), "ended": last}
        )

    def _is_lost(self, worker: str | None, known: dict[str, Any]) -> bool:
        """Whether a worker is gone; who cannot be looked up is watched for a while first."""
        found = known.get(WORKER + worker) if worker is not None else None
        if found is not None and found["ended"]:
            return True
        if found is not None and found["host"] == os.uname().nodename:
            return not _is_alive(found["pid"], found["started"])
        key, sign = worker or "", json.dumps(found)
        before = self._seen.get(key)
        if before is None or before[0] != sign:
            self._seen[key] = (sign, time.monotonic())
            return False
        return time.monotonic() - before[1] > self._lease

    def reap(self, *, at_once: bool = False) -> list[int]:
        """Close the trials of workers that are gone, which are then begun again; return their numbers.

        Args:
            at_once: look although that was done a moment ago.
        """
        now = time.monotonic()
        if now < self._next_look and not at_once:
            return []
        self._next_look = now + min(2.0, self._lease / 4)
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        known: dict[str, Any] | None = None
        lost = []
        for trial in running:
            owner = trial.user_attrs.get(OWNER)
            if trial.number in self._mine:
                continue
            if known is None:
                known = self.study.user_attrs
            # Who was killed between asking and signing has left a trial that never began.
            sign = owner if owner is not None else f"trial {trial.number}"
            gone = owner == self.worker or self._is_lost(sign, known)
            if gone and self._close(trial, owner):
                lost.append(trial.number)
        return lost

    def _close(self, trial: FrozenTrial, owner: str | None) -> bool:
        if owner is None:
            return self.fail(trial.number, "surplus", "its worker was lost before it began")
        return self.fail(trial.number, "lost", f"its worker {owner} is gone")

    # --- trials -----------------------------------------------------------------------------------

    def take(self) -> optuna.Trial | None:
        """Ask for the next trial; None where nothing is to be begun now."""
        with self._taking:
            trials = self.study.get_trials(deepcopy=False)
            if why_over(trials, self.definition, self._began) is not None:
                return None
            if not self._has_room(trials):
                return None
            for failed in unfinished_retries(trials, self.definition):
                trial = self._begin_again(failed)
                if not self._is_surplus(trial, "another worker took it up"):
                    return trial
            trial = self.study.ask()
            self._mine.add(trial.number)
            if self._is_surplus(trial, "another worker took the last one"):
                return None
            trial.set_user_attr(OWNER, self.worker)
            return trial

    def over(self) -> str | None:
        """Say why the study is over; None while trials are running or left."""
        trials = self.study.get_trials(deepcopy=False)
        if any(trial.state == TrialState.RUNNING for trial in trials):
            return None
        if (why := why_over(trials, self.definition, self._began)) is not None:
            return why
        return None if self._has_room(trials) else "all trials are done"

    def fail(self, number: int, why: Reason, said: str) -> bool:
        """Close a trial that did not complete; False where somebody else has closed it."""
        return self._tell(number, TrialState.FAIL, why, said)

    def prune(self, number: int, said: str) -> bool:
        """Close a trial that was ended early."""
        return self._tell(number, TrialState.PRUNED, "pruned", said)

    def complete(self, number: int, values: Sequence[float]) -> bool:
        """Close a trial with its values."""
        return self._tell(number, TrialState.COMPLETE, None, None, values)

    def _tell(
        self,
        number: int,
        state: TrialState,
        why: Reason | None,
        said: str | None,
        values: Sequence[float] | None = None,
    ) -> bool:
        storage, study = self.study._storage, self.study
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        try:
            if why is not None:
                storage.set_trial_user_attr(trial_id, REASON, why)
            if said is not None:
                storage.set_trial_user_attr(trial_id, SAID, said)
            study.tell(number, values, state)
        except UpdateFinishedTrialError:
            return False
        except ValueError:  # which is also how ``tell`` says that it came second
            if storage.get_trial(trial_id).state.is_finished():
                return False
            raise
        finally:
            self._mine.discard(number)
        return True

    def _begin_again(self, failed: FrozenTrial) -> optuna.Trial:
        further = 0 if reason(failed) == "stopped" else 1
        attrs: dict[str, Any] = {
            OWNER: self.worker,
            RETRY_OF: failed.number,
            ATTEMPT: attempt(failed) + further,
        }
        if UID in failed.user_attrs:
            attrs[UID] = failed.user_attrs[UID]
        # It is this worker's from the start: one put in the queue would wait for ever if another
        # worker queued the same and took up its own.
        made = create_trial(
            state=TrialState.RUNNING,
            user_attrs=attrs,
            system_attrs={"fixed_params": failed.params},
        )
        trial_id = self.study._storage.create_new_trial(self.study._study_id, made)
        trial = optuna.Trial(self.study, trial_id)
        self._mine.add(trial.number)
        return trial

    def _has_room(self, trials: Sequence[FrozenTrial]) -> bool:
        most = self.definition.stops.n_trials
        if most is None:
            return True
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        return done(trials, self.definition) + running < most

    def _is_surplus(self, trial: optuna.Trial, said: str) -> bool:
        """Close a trial if workers of several processes have begun more at once than were left."""
        most = self.definition.stops.n_trials
        twin = trial.user_attrs.get(RETRY_OF)
        if twin is None and (most is None or trial.number < most):
            return False
        trials = self.study.get_trials(deepcopy=False)
        before = [each for each in trials if each.number < trial.number]
        if twin is not None:
            too_many = any(
                each.user_attrs.get(RETRY_OF) == twin and reason(each) != "surplus"
                for each in before
            )
        else:
            assert most is not None
            alive = sum(each.state in (TrialState.RUNNING, TrialState.WAITING) for each in before)
            too_many = _finished(before, trials, self.definition) + alive >= most
        if too_many:
            self.fail(trial.number, "surplus", said)
        return too_many


def _finished(
    part: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], definition: Definition
) -> int:
    replaced: Collection[int] = superseded(trials)
    return done([each for each in part if each.number not in replaced], definition)


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A process that began at another time has only inherited the number.
        same = abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
