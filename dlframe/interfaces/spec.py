"""What the data says of itself, and the batch that flows from it. Imports no torch at run time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "InputKind", "Spec"]

InputKind = Literal["features", "image", "sequence", "tokens"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Shapes, names and scales of a data set; flows to architecture, loss, task and metrics.

    Args:
        input: kind of input: ``features`` ``[F]``, ``image`` ``[C, H, W]``, ``sequence`` ``[T, D]``
            (float32) or ``tokens`` ``[T]`` (int64).
        input_shape: shape of one example, without the batch axis.
        output_size: numbers that the model gives per example. It starts as the size of the target
            (classes, labels or target columns); the loss may ask for another.
        task: short name of the task that the data was prepared for.
        class_names: names of the classes or labels, in the order of the outputs; empty otherwise.
        class_counts: training examples per class or label, same order.
        feature_names: names of the input columns where the input is ``features``.
        feature_groups: how many consecutive input columns each raw column became, where the input is
            ``features``; empty where each is its own.
        target_names: names of the target columns.
        target_mean: training mean per target column (regression), in the data's units.
        target_scale: training standard deviation per target column (regression), likewise.
        vocabulary_size: number of different tokens where the input is ``tokens``; token 0 fills up
            rows that are shorter than others.
        characters_per_token: characters of text to a token, on average over the training part, where
            tokens make up the whole text; 0 where they do not, or the input is something else.
        horizon: how many steps ahead are asked for, where the targets are the future of the first
            channels of a ``sequence``: all steps of the first channel, then those of the next. Inputs
            and targets then have one scale per channel. 0 elsewhere.
    """

    input: InputKind
    input_shape: tuple[int, ...]
    output_size: int
    task: str
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    feature_names: tuple[str, ...] = ()
    feature_groups: tuple[int, ...] = ()
    target_names: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    vocabulary_size: int = 0
    characters_per_token: float = 0.0
    horizon: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they are recorded with the run."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spec:
        """Inverse of ``to_dict``; accepts lists where tuples were."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)


@dataclass(slots=True)
class Batch:
    """Examples of one optimizer step.

    Args:
        x: inputs ``[B, *input_shape]``, float32 (int64 for tokens).
        y: targets: class indices ``[B]`` int64; class probabilities or labels ``[B, C]`` float32;
            values ``[B, T]`` float32; for unsupervised tasks whatever the task's ``prepare`` sets.
        clean: whether ``y`` still holds the data's own targets; a regularizer that mixes or softens
            them sets it to False, and training metrics then leave the batch out.
    """

    x: Tensor
    y: Tensor
    clean: bool = field(default=True)
