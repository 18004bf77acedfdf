"""A study as it stands at one moment, which all that is said and drawn of it is taken from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Definition, Goal
from dlframe.sweep.goals import feasible, sign_of, value_of
from dlframe.sweep.marks import DEFINITION, FOLDER, is_idle
from dlframe.sweep.storage import studies_folder
from dlframe.sweep.tally import Numbers, Standing, numbers, standing, superseded

__all__ = ["Snapshot", "definition_of", "snapshot", "taken"]


def definition_of(study: optuna.Study) -> Definition:
    """Return what a study is.

    Raises:
        ConfigError: it is not one of dlframe's, or of another version.
    """
    text = study.user_attrs.get(DEFINITION)
    if text is None:
        raise ConfigError(
            f"the study {study.study_name!r} was not made by dlframe, so that its trials cannot be "
            "told apart; begin one with hydra.sweeper.study_name=<name>"
        )
    return Definition.from_json(text)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study at one moment.

    Args:
        name: its name.
        definition: what it is.
        trials: all but those that nobody needed, in the order of their numbers.
        standings: how each of them stands, by number.
        numbers: how many stand how.
        folder: the study's folder.
        taken: when.
        study: the study itself.
    """

    name: str
    definition: Definition
    trials: Sequence[FrozenTrial]
    standings: dict[int, Standing]
    numbers: Numbers
    folder: Path
    taken: datetime
    study: optuna.Study = field(repr=False, compare=False)

    def of(self, *standings: Standing) -> list[FrozenTrial]:
        """Return the trials that stand like one of these."""
        return [trial for trial in self.trials if self.standings[trial.number] in standings]

    @cached_property
    def best(self) -> list[FrozenTrial]:
        """The best trials: of one goal at most one, of several all that no other beats in each.

        Those that break a constraint are never among them.
        """
        complete = [trial for trial in self.of("complete") if feasible(trial)]
        if len(self.definition.goals) > 1:
            return _front(complete, self.definition.goals)
        [goal] = self.definition.goals
        sign = sign_of(goal)
        return [min(complete, key=lambda trial: sign * value_of(trial))] if complete else []


def snapshot(study: optuna.Study) -> Snapshot:
    """Return how a study stands now.

    Raises:
        ConfigError: it is not one of dlframe's, or of another version.
        StorageError: its storage does not answer.
    """
    definition = definition_of(study)
    every = study.get_trials(deepcopy=False)
    replaced = superseded(every)
    found = {trial.number: standing(trial, definition, replaced) for trial in every}
    folder = study.user_attrs.get(FOLDER)
    name = study.study_name
    return Snapshot(
        name=name,
        definition=definition,
        trials=[trial for trial in every if not is_idle(trial)],
        standings={number: how for number, how in found.items() if how is not None},
        numbers=numbers(every, definition),
        folder=Path(folder) if folder else studies_folder(Path(definition.root)) / name,
        taken=datetime.now(),
        study=study,
    )


def taken(study: optuna.Study | Snapshot) -> Snapshot:
    """Return a snapshot as it is, and of a study how it stands now."""
    return study if isinstance(study, Snapshot) else snapshot(study)


def _front(trials: Sequence[FrozenTrial], goals: Sequence[Goal]) -> list[FrozenTrial]:
    """Return the trials that no other one is as good as everywhere and better somewhere."""
    signs = np.array([sign_of(goal) for goal in goals])
    losses = np.array([trial.values for trial in trials]).reshape(-1, len(goals)) * signs
    left, front = np.lexsort(losses.T[::-1]), []  # by the first goal, then by the next
    while len(left):  # nothing beats the first that is left, and what it beats is done with
        own = losses[left]
        front += left[(own == own[0]).all(axis=1)].tolist()
        left = left[(own < own[0]).any(axis=1)]
    return [trials[place] for place in front]
