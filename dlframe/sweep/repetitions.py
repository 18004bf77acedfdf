"""How often a trial is trained: on each fold with each seed; its value is the mean."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlframe.sweep.definition import Definition

__all__ = ["Repetition", "differing", "repetitions", "words"]


@dataclass(frozen=True, slots=True)
class Repetition:
    """One training of several.

    Args:
        seed: what is added to the config's.
        fold: the fold; None where the config says which.
        name: tells it from the others of its trial.
    """

    seed: int
    fold: int | None
    name: str

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's config for this training."""
        data = config["data"] if self.fold is None else {**config["data"], "fold": self.fold}
        return {**config, "seed": (config["seed"] + self.seed) % 2**32, "data": data}


def repetitions(definition: Definition) -> Iterator[Repetition]:
    """Yield a trial's trainings in their order: all folds with the first seed, then with the next.

    The mean over the first ones, which decides whether a trial is gone on with, is so soon one over
    all examples.
    """
    for seed in range(definition.seeds):
        for fold in range(definition.folds):
            parts = [f"{seed}"] if definition.seeds > 1 else []
            parts += [f"fold{fold}"] if definition.folds > 1 else []
            yield Repetition(seed, fold if definition.folds > 1 else None, "-".join(parts))


def words(definition: Definition) -> str:
    """Return what a trial is averaged over; nothing for a single run."""
    found = [f"{definition.seeds} seeds"] if definition.seeds > 1 else []
    found += [f"{definition.folds} folds"] if definition.folds > 1 else []
    return " x ".join(found)


def differing(definition: Definition) -> set[str]:
    """Return the config keys in which the trainings of a trial differ."""
    found = {"seed"} if definition.seeds > 1 else set()
    return found | ({"data.fold"} if definition.folds > 1 else set())
