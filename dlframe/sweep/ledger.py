"""What the workers of a study agree on through its storage: who runs what, and how much is left."""

import json
import threading
import time
from collections.abc import Collection, Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlframe.sweep.definition import Definition
from dlframe.sweep.marks import (
    ATTEMPT,
    FIXED,
    OWNER,
    REASON,
    RETRY_OF,
    SAID,
    WORKER,
    Reason,
    given,
    inherited,
    reason,
)
from dlframe.sweep.patience import read_once
from dlframe.sweep.stops import why_over
from dlframe.sweep.tally import attempt, done, superseded, unfinished_retries
from dlframe.sweep.workers import is_alive, sign_of_life

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
        self._lease = lease
        self._taking, self._seeing = threading.Lock(), threading.Lock()
        self._mine: set[int] = set()
        self._taken: set[int] = set()
        self._quiet: dict[str, tuple[str, float]] = {}
        self._beats, self._began, self._looked = 0, time.time(), time.monotonic()
        self._next_look = 0.0

    # --- signs of life ----------------------------------------------------------------------------

    def beat(self, *, last: bool = False) -> None:
        """Give a sign of life.

        Args:
            last: say that the worker has ended, whose trials are then nobody's.
        """
        self._beats += 1
        sign = sign_of_life(self._began, self._beats, ended=last)
        self.study.set_user_attr(WORKER + self.worker, sign)

    def place(self) -> tuple[int, int]:
        """Return how many workers had joined before this one was known, and its place among them.

        No two workers have the same, however they join at once: those that saw as many saw the same.
        """
        signs = {key: sign for key, sign in self.study.user_attrs.items() if key.startswith(WORKER)}
        order = sorted(signs, key=lambda key: (signs[key].get("began", 0.0), key))
        return len(order) - 1, order.index(WORKER + self.worker)

    def look(self) -> dict[str, Any]:
        """See who gives signs of life; return the study's attributes.

        How long a worker has been quiet counts only while this one could see: where a storage is away
        for all of them, nobody is lost by that.
        """
        known = self.study.user_attrs
        with self._seeing:
            now = time.monotonic()
            passed, self._looked = now - self._looked, now
            if passed > self._lease / 2:
                self._quiet.clear()
            for key in {*self._quiet, *(key for key in known if key.startswith(WORKER))}:
                sign = json.dumps(known.get(key))
                before, quiet = self._quiet.get(key, ("", 0.0))
                self._quiet[key] = (sign, quiet + passed if sign == before else 0.0)
        return known

    def _is_lost(self, key: str, known: dict[str, Any]) -> bool:
        """Whether a worker is gone; who cannot be looked up is watched for a while first."""
        alive = is_alive(known[key]) if key in known else None
        if alive is not None:
            return not alive
        with self._seeing:
            _, quiet = self._quiet.setdefault(key, (json.dumps(known.get(key)), 0.0))
        return quiet > self._lease

    def reap(self) -> list[int]:
        """Close the trials of workers that are gone, to be begun again; return their numbers."""
        with self._taking:  # a trial that is just being taken is in the storage before it is mine
            return self._reap(self.study.get_trials(deepcopy=False))

    def _reap(self, trials: Sequence[FrozenTrial]) -> list[int]:
        self._next_look = time.monotonic() + min(2.0, self._lease / 4)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        others = [trial for trial in running if trial.number not in self._mine]
        if not others:
            return []
        known = self.look()
        return [trial.number for trial in others if self._close_lost(trial, known)]

    def _close_lost(self, trial: FrozenTrial, known: dict[str, Any]) -> bool:
        """Close a trial if its worker is gone."""
        owner = trial.user_attrs.get(OWNER)
        if owner == self.worker:
            # Its reply was lost, and it was asked for a second time; or its end could not be told.
            why: Reason = "lost" if trial.number in self._taken else "surplus"
            return self.fail(trial.number, why, "this worker does not train it")
        if owner is not None:
            gone = self._is_lost(WORKER + owner, known)
            # What was to be closed already stays what it was to be closed as.
            why = reason(trial) or "lost"
            return gone and self.fail(trial.number, why, f"its worker {owner} is gone")
        # Who was killed between asking and signing has left a trial that never began.
        gone = self._is_lost(f"trial {trial.number}", known)
        if not gone or not self.fail(
            trial.number, "surplus", "its worker was lost before it began"
        ):
            return False
        if values := given(trial):
            marks = {key: v for key, v in trial.user_attrs.items() if key not in (REASON, SAID)}
            self.study.enqueue_trial(values, user_attrs=marks)
        return True

    # --- trials -----------------------------------------------------------------------------------

    def take(self) -> optuna.Trial | None:
        """Ask for the next trial; None where nothing is to be begun now.

        Trials of workers that are gone are closed first.
        """
        with self._taking:
            trials = self.study.get_trials(deepcopy=False)
            if time.monotonic() >= self._next_look and self._reap(trials):
                trials = self.study.get_trials(deepcopy=False)
            if why_over(trials, self.definition, self._began) is not None:
                return None
            if not self._has_room(trials):
                return None
            for failed in unfinished_retries(trials, self.definition):
                trial = self._begin_again(failed)
                if not self._is_surplus(trial, "another worker took it up"):
                    return trial
            with read_once(self.study._storage, trials):
                trial = self.study.ask()
            self._note(trial)
            if self._is_surplus(trial, "another worker took the last one"):
                return None
            trial.set_user_attr(OWNER, self.worker)
        if (
            FIXED not in trial._cached_frozen_trial.system_attrs
        ):  # whose values are given draws no others
            with read_once(self.study._storage, trials):
                _ = trial.relative_params  # else it is sampled at the first question for a value
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
        attrs |= inherited(failed)
        # It is this worker's from the start: one put in the queue would wait for ever if another
        # worker queued the same and took up its own.
        made = create_trial(
            state=TrialState.RUNNING,
            user_attrs=attrs,
            system_attrs={FIXED: given(failed)},
        )
        trial_id = self.study._storage.create_new_trial(self.study._study_id, made)
        trial = optuna.Trial(self.study, trial_id)
        self._note(trial)
        return trial

    def _note(self, trial: optuna.Trial) -> None:
        self._mine.add(trial.number)
        self._taken.add(trial.number)

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
