"""The types of options: bounds that are checked, and ranges that a sweep explores. Imports no torch.

Write an option's type as an annotation of the component's signature. Bounds come from
``annotated_types`` and are checked before anything is built; ``Range`` says where a search should look.

Example:
    >>> from typing import Annotated
    >>> def sgd(params, *, lr: Annotated[float, Gt(0), Range(1e-4, 1.0, log=True)] = 0.1): ...
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

__all__ = [
    "COMMON_OPTIONS",
    "DataOptions",
    "Dropout",
    "Ge",
    "Gt",
    "Le",
    "LearningRate",
    "Lt",
    "NonNegative",
    "NonNegativeInt",
    "Normalization",
    "Positive",
    "PositiveInt",
    "Probability",
    "Range",
    "Seed",
    "Strength",
]


@dataclass(frozen=True, slots=True)
class Range:
    """Where a search should look for a good value.

    Args:
        low: smallest value tried.
        high: largest value tried.
        log: whether to search evenly in the logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty range, or a logarithmic one that reaches zero."""
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range needs low < high, and low > 0 with log; got {self}")


Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Probability = Annotated[float, Ge(0), Le(1)]
LearningRate = Annotated[float, Gt(0), Range(1e-5, 1e-1, log=True)]
Strength = Annotated[float, Ge(0), Range(1e-6, 1e-1, log=True)]
Dropout = Annotated[float, Ge(0), Lt(1), Range(0.0, 0.6)]
Normalization = Literal["none", "batch", "layer", "group", "instance"]


@dataclass(kw_only=True)
class DataOptions:
    """Options of every data component: how examples are split and served.

    Args:
        batch_size: examples per optimizer step (on each device); ``all`` is full-batch descent, 1 is
            stochastic descent.
        validation: fraction of the examples outside the test part that validate each epoch.
        test: fraction of all examples kept for the final test, where the data has no fixed test part.
        split_seed: seed of the splits, apart from the run's ``seed`` so that seeds can be compared
            on equal data.
        stratify: keep class frequencies equal in all parts, where there are classes.
        folds: cross-validation: train so many times, each time with another part of the examples as
            the test part (as the validation part, where the test part is fixed); in order of time,
            each time with a longer history.
        fold: train with this part only, from 0; null trains with each.
        limit: use only so many examples, drawn at random (in order of time: the first); null uses all.
        sampler: which examples an epoch trains on: ``shuffled`` takes each once; ``balanced`` as many
            of each class, so that those of rare classes repeat and some of frequent ones wait for
            another epoch (use it, or ``class_weights`` of a loss, not both).
        scale_target: standardize regression targets inside the model (metrics stay in the data's
            units).
        on_device: keep the data in the device's memory: ``auto`` does so where it takes at most a
            quarter of the free memory.
    """

    batch_size: PositiveInt | Literal["all"] = 64
    validation: Annotated[float, Gt(0), Lt(1)] = 0.15
    test: Annotated[float, Gt(0), Lt(1)] = 0.15
    split_seed: Seed = 0
    stratify: bool = True
    folds: Annotated[int, Ge(2)] | None = None
    fold: NonNegativeInt | None = None
    limit: PositiveInt | None = None
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    scale_target: bool = True
    on_device: Literal["auto", "always", "never"] = "auto"


COMMON_OPTIONS: Mapping[str, type] = {"data": DataOptions}
"""Options that every component of a kind has besides its own."""
