"""The trials of one worker: what each is to train, what it reports, and what came of it."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError

from dlframe.config.folds import all_folds
from dlframe.errors import DlframeError
from dlframe.sweep.definition import Definition
from dlframe.sweep.frozen import Composer
from dlframe.sweep.goals import Broken, broken_by, values_of
from dlframe.sweep.gpus import Gpus
from dlframe.sweep.ledger import Ledger
from dlframe.sweep.marks import FOLDER, PARENT, RETRY_OF, UID, UIDS
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.pool import Pool, run_inline
from dlframe.sweep.repetitions import repetitions, words
from dlframe.sweep.space import propose
from dlframe.tracking.recorder import new_uid
from dlframe.tracking.spool import FILE

__all__ = ["Trials"]


class Trials:
    """Trains trials of a study and tells what came of them.

    Args:
        study: the study.
        definition: the study's.
        ledger: of the worker.
        pool: of processes for the trials; None trains in this one.
        command: the command line, for the record of the runs.
        entry: see ``Worker``.
        stopping: is set when the worker is to end.
        should_stop: see ``Pool.run``.
        should_hurry: see ``Pool.run``.
    """

    def __init__(
        self,
        study: optuna.Study,
        definition: Definition,
        ledger: Ledger,
        *,
        pool: Pool | None,
        command: Sequence[str],
        entry: str,
        stopping: threading.Event,
        should_stop: Callable[[], bool],
        should_hurry: Callable[[], bool],
    ) -> None:
        self._study, self._definition, self._ledger = study, definition, ledger
        self._pool, self._command, self._entry = pool, list(command), entry
        self._stopping = stopping
        self._should_stop, self._should_hurry = should_stop, should_hurry
        self._parent: str | None = study.user_attrs.get(PARENT)
        self._folder = Path(study.user_attrs[FOLDER])
        config_dir = definition.config_dir
        self._composer = Composer(Path(config_dir) if config_dir else None)
        self._gpus = Gpus(definition.limits.gpus)

    def run(self, trial: optuna.Trial) -> None:
        """Train a trial and tell its end."""
        try:
            self._run(trial)
        except UpdateFinishedTrialError:  # and whoever closed it has it begun again
            print(
                f"dlframe: trial {trial.number} was closed by another worker, to which this one seemed "
                "lost; its training here has been ended",
                file=sys.stderr,
            )

    def _run(self, trial: optuna.Trial) -> None:
        number, definition = trial.number, self._definition
        overrides = [*definition.fixed, *propose(trial, definition.space)]
        try:
            config = self._composer(overrides)
        except DlframeError as error:
            self._ledger.fail(number, "config", str(error))
            return
        if (all_folds(config) or 1) != definition.folds:
            said = f"all trials have the same data.folds; this one has {config['data']['folds']}"
            self._ledger.fail(number, "config", f"{said}: set it on the command line")
            return
        # Wherever this worker was started, all runs of a study lie together.
        config = {**config, "tracking": {**config["tracking"], "root": definition.root}}
        with self._gpus.lease(self._stopping) as environment:
            if definition.repeats == 1:
                outcome = self._train(trial, config, overrides, environment)
            else:
                outcome = self._train_all(trial, config, overrides, environment)
        self._tell(trial, outcome)

    # --- training ---------------------------------------------------------------------------------

    def _train(
        self,
        trial: optuna.Trial,
        config: dict[str, Any],
        overrides: list[str],
        environment: Mapping[str, str],
    ) -> Outcome:
        """Train the run of a trial, or go on with that of an earlier attempt."""
        uid = self._begun(trial.user_attrs.get(UID))
        known = self._take_over(trial) if uid is not None else set()
        if uid is None:
            uid = new_uid()
            trial.set_user_attr(UID, uid)

        def on_report(step: int, values: dict[str, float]) -> bool:
            return self._reported(trial, step, values, known)

        order = self._order(trial, config, overrides, uid)
        return self._carry_out(order, f"{trial.number}", environment, on_report)

    def _train_all(
        self,
        trial: optuna.Trial,
        config: dict[str, Any],
        overrides: list[str],
        environment: Mapping[str, str],
    ) -> Outcome:
        """Train a run for each repetition; a trial whose mean is bad so far is not gone on with."""
        found: list[Outcome] = []
        uids: list[str] = list(trial.user_attrs.get(UIDS, ()))
        for index, repetition in enumerate(repetitions(self._definition)):
            if index == len(uids) or self._begun(uids[index]) is None:
                uids[index:] = [new_uid()]
                trial.set_user_attr(UIDS, uids)
                if index == 0:
                    trial.set_user_attr(UID, uids[0])
            order = self._order(trial, repetition.config(config), overrides, uids[index])
            place = f"{trial.number}-{repetition.name}"
            outcome = self._carry_out(order, place, environment, lambda step, values: False)
            if outcome.state != "finished":
                return outcome
            found.append(outcome)
            names = set.intersection(*(set(each.metrics) for each in found))
            means = {n: float(np.mean([each.metrics[n] for each in found])) for n in sorted(names)}
            outcome = replace(outcome, metrics=means)
            if len(self._definition.goals) == 1:
                try:
                    value = values_of(self._definition.goals, means)[0]
                except Broken:  # which the end of the trial says
                    return outcome
                trial.report(value, index + 1)
                if index + 1 < self._definition.repeats and trial.should_prune():
                    said = (
                        f"its mean over {index + 1} of {words(self._definition)} promised nothing"
                    )
                    return replace(outcome, state="pruned", said=said)
        return outcome

    def _begun(self, uid: str | None) -> str | None:
        """Return the id of a run if there is something of it to go on with."""
        there = uid is not None and (Path(self._definition.root) / uid / FILE).is_file()
        return uid if there else None

    def _take_over(self, trial: optuna.Trial) -> set[int]:
        """Let the pruner know what the attempt reported from whose checkpoint this one goes on.

        Returns:
            The epochs that are known already.
        """
        earlier = trial.user_attrs.get(RETRY_OF)
        if earlier is None or len(self._definition.goals) > 1:
            return set()
        before = self._study.get_trials(deepcopy=False)[earlier].intermediate_values
        for step, value in before.items():
            trial.report(value, step)
        return set(before)

    def _order(
        self, trial: optuna.Trial, config: dict[str, Any], overrides: list[str], uid: str
    ) -> Order:
        goals = self._definition.goals
        return Order(
            entry=self._entry,
            config={**config, "trainer": {**config["trainer"], "progress": "off"}},
            overrides=overrides,
            command=self._command,
            uid=uid,
            parent=self._parent,
            tags={"dlframe.study": self._study.study_name, "dlframe.trial": str(trial.number)},
            objective=goals[0].metric if len(goals) == 1 else None,
        )

    def _carry_out(
        self,
        order: Order,
        name: str,
        environment: Mapping[str, str],
        on_report: Callable[[int, dict[str, float]], bool],
    ) -> Outcome:
        place = self._folder / "trials" / name
        place.mkdir(parents=True, exist_ok=True)
        if self._pool is None:
            return run_inline(order, place, on_report)
        return self._pool.run(
            order,
            place,
            limits=self._definition.limits,
            environment=environment,
            on_report=on_report,
            should_stop=self._should_stop,
            should_hurry=self._should_hurry,
        )

    def _reported(
        self, trial: optuna.Trial, step: int, values: Mapping[str, float], known: set[int]
    ) -> bool:
        """Hand a value of one epoch on; return whether the trial is not worth going on with."""
        goals = self._definition.goals
        if len(goals) > 1 or goals[0].metric not in values or step in known:
            return False
        known.add(step)
        trial.report(values[goals[0].metric], step)
        return trial.should_prune()

    # --- the end ----------------------------------------------------------------------------------

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
            values = values_of(self._definition.goals, outcome.metrics)
            for text in self._definition.constraints:
                trial.set_constraint(text, broken_by(text, outcome.metrics))
        except Broken as error:
            self._ledger.fail(number, "value", str(error))
            return
        self._ledger.complete(number, values)
