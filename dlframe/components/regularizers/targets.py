"""Targets as class probabilities, and label smoothing."""

from collections.abc import Callable
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.interfaces.options import Ge, Lt, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Batch, Spec

__all__ = ["LabelSmoothing", "class_count", "probabilities"]


def class_count(spec: Spec) -> int:
    """Return the number of classes; the model may have one output for two of them."""
    return len(spec.class_names) or spec.output_size


def probabilities(y: Tensor, classes: int) -> Tensor:
    """Turn class indices ``[B]`` into float32 ``[B, classes]``; float targets stay."""
    return y if y.is_floating_point() else F.one_hot(y, classes).float()


class LabelSmoothing(Regularizer):
    """Train on ``(1 - smoothing) * y + smoothing / C``, with ``y`` the probability of each class.

    Args:
        smoothing: share of the target that is spread evenly over all ``C`` classes; 0 changes
            nothing.

    Reference:
        Szegedy et al. 2016, section 7, arXiv:1512.00567.
    """

    def __init__(self, *, smoothing: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.3)] = 0.1) -> None:
        self.smoothing = smoothing
        self._classes = 0

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Note the number of classes; the network stays as it is."""
        self._classes = class_count(spec)
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return the batch with targets ``[B, C]`` float32, from indices or probabilities."""
        if self.smoothing == 0:
            return batch
        y = probabilities(batch.y, self._classes)
        return Batch(
            batch.x, y * (1 - self.smoothing) + self.smoothing / self._classes, clean=False
        )
