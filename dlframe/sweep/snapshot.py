"""A study as it stands at one moment, which all that is said and drawn of it is taken from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Definition, Goal
from dlframe.sweep.marks import DEFINITION, FOLDER, is_idle
from dlframe.sweep.storage import studies_folder
from dlframe.sweep.tally import Numbers, Standing, numbers, standing, superseded

__all__ = ["Snapshot", "better", "definition_of", "feasible", "snapshot", "taken", "value_of"]


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
        sign = better(goal)
        return [min(complete, key=lambda trial: sign * value_of(trial))] if complete else []

    @property
    def improvements(self) -> list[tuple[int, float]]:
        """Of one goal: number and value of each trial that was better than all before it."""
        found: list[tuple[int, float]] = []
        sign = better(self.definition.goals[0])
        for trial in self.of("complete"):
            value = value_of(trial)
            if feasible(trial) and (not found or sign * value < sign * found[-1][1]):
                found.append((trial.number, value))
        return found


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


def better(goal: Goal) -> int:
    """Return what a goal's values are to be multiplied by for the smallest to be the best."""
    return 1 if goal.direction == "minimize" else -1


def value_of(trial: FrozenTrial, place: int = 0) -> float:
    """Return a completed trial's value of a goal."""
    assert trial.values is not None
    return float(trial.values[place])


def feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps to all constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())


def _front(trials: Sequence[FrozenTrial], goals: Sequence[Goal]) -> list[FrozenTrial]:
    """Return the trials that no other one is as good as everywhere and better somewhere."""
    losses = {
        trial.number: tuple(better(g) * value_of(trial, i) for i, g in enumerate(goals))
        for trial in trials
    }

    def beaten(own: tuple[float, ...]) -> bool:
        return any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in losses.values()
        )

    return sorted(
        (trial for trial in trials if not beaten(losses[trial.number])),
        key=lambda trial: losses[trial.number],
    )
