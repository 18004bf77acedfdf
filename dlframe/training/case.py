"""What a diagnosis looks at, and what it comes to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from dlframe.plugin import registry

__all__ = ["Case", "Finding", "advice", "also", "chosen"]


class Finding(TypedDict):
    """Something that ails a training.

    Args:
        name: what it is called, such as ``vanishing_gradients``.
        seen: what was seen, with the numbers.
        means: what that usually means.
        mend: overrides that usually mend it, as on the command line.
    """

    name: str
    seen: str
    means: str
    mend: list[str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training to be diagnosed.

    Args:
        config: its config, validated.
        history: what was measured, in order, with ``epoch`` and ``step``.
        rows: the table of its layers; empty where they were not watched.
        class_counts: training examples per class, where there are classes.
        scaled: whether the loss sees regression targets of variance 1.
        players: parts that are trained against each other; one is the whole network.
        error: what the training ended with, if it diverged.
    """

    config: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    rows: Sequence[Mapping[str, Any]] = ()
    class_counts: Sequence[int] = ()
    scaled: bool = False
    players: int = 1
    error: str | None = None
    _curves: dict[str, list[float]] = field(default_factory=dict, repr=False, compare=False)

    def curve(self, name: str) -> list[float]:
        """Return a metric's values, one for each epoch in which it was measured."""
        if name not in self._curves:
            found = {each["epoch"]: each[name] for each in self.history if name in each}
            self._curves[name] = list(found.values())
        return self._curves[name]

    @property
    def task(self) -> str:
        """Short name of the task."""
        return str(self.config["task"]["component"]).rpartition("/")[2]

    @property
    def loss(self) -> str:
        """Short name of the loss."""
        return str(self.config["loss"]["component"]).rpartition("/")[2]

    @property
    def judged(self) -> bool:
        """Whether the loss says how good the network is, as it does not in a game of two."""
        return self.players == 1 and len(self.curve("train/loss")) > 1

    @property
    def majority(self) -> float | None:
        """Share of the most frequent class in the training part, where there are classes."""
        total = sum(self.class_counts)
        return max(self.class_counts) / total if total and self.task == "classification" else None

    @property
    def ignorant(self) -> float | None:
        """Loss of who knows nothing but the frequencies of the classes, or the mean of the targets.

        None where it is not known for the loss.
        """
        total = sum(self.class_counts)
        weighted = self.config["loss"].get("class_weights") is not None
        plain = self.loss in ("cross_entropy", "binary_cross_entropy") and not weighted
        if self.task == "classification" and total and plain:
            shares = [count / total for count in self.class_counts if count]
            return -sum(share * math.log(share) for share in shares)
        return 1.0 if self.task == "regression" and self.loss == "mse" and self.scaled else None

    @property
    def level(self) -> float:
        """A loss that counts as large: that of who knows nothing, or else that of the first epoch."""
        return self.ignorant or abs(self.curve("train/loss")[0]) or 1.0

    @property
    def settles(self) -> bool:
        """Whether the learning rate is brought down to next to nothing by the end."""
        rates = self.curve("optim/lr")
        return bool(rates) and rates[-1] < 0.2 * max(rates)


def chosen(case: Case, kind: str) -> str:
    """Return the short name of the component that is chosen."""
    return str(case.config[kind]["component"]).rpartition("/")[2]


def also(case: Case, regularizer: str) -> str:
    """Return the override that adds a regularizer to those chosen."""
    names = [name for name in case.config["regularizer"] if name != regularizer]
    return f"regularizer=[{','.join([*names, regularizer])}]"


def advice(case: Case, *overrides: str) -> list[str]:
    """Return those overrides that this config takes, and that change it."""
    return [override for override in overrides if _changes(case, override)]


def _changes(case: Case, override: str) -> bool:
    key, _, value = override.partition("=")
    group, _, option = key.partition(".")
    if option:
        node = case.config.get(group, {})
        return option in node and str(node[option]).lower() != value.lower()
    if group == "regularizer":
        words = value.strip("[]").split(",")
        known = all(registry().knows("regularizer", word) for word in words)
        return known and set(words) != set(case.config["regularizer"])
    return registry().knows(group, value) and chosen(case, group) != value
