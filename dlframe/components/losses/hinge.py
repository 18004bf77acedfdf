"""The hinge loss, which asks for a margin between right and wrong."""

from typing import Literal

from torch import Tensor

from dlframe.components.losses.links import logit_count, sigmoid_link, softmax_link
from dlframe.components.losses.targets import class_probabilities, labels, widen
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.spec import Spec

__all__ = ["Hinge"]


class Hinge(Loss):
    """How far the outputs stay below a margin of 1 on the right side.

    Labels ``t`` of 0 or 1, and two classes by one score ``z[B, 1]``:
    ``mean t * max(0, 1 - z) + (1 - t) * max(0, 1 + z)`` over all outputs. Classification in ``C`` >
    2 classes ``y`` by scores ``z[B, C]``: with ``crammer_singer``
    ``mean_b max(0, 1 - z_by + max_{c != y} z_bc)``, with ``one_vs_all`` the mean over examples and
    classes of the labels' form. Classes come as indices ``[B]`` int64 or probabilities ``[B, C]``
    float, over which the loss is averaged; labels as float of the outputs' shape.

    Predictions are not calibrated: the sigmoid of one score per class or label (scaled to sum to 1
    over classes), the softmax with ``crammer_singer``.

    Args:
        multiclass: for more than two classes, whether the right class competes with its strongest
            rival (``crammer_singer``) or each class with all others (``one_vs_all``).

    Raises:
        ConfigError: the targets do not fit the outputs.

    Reference:
        doi:10.1007/BF00994018; Crammer and Singer, On the algorithmic implementation of multiclass
        kernel-based vector machines, JMLR 2 (2001); arXiv:1705.02894 (adversarial training).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        multiclass: Literal["crammer_singer", "one_vs_all"] = "crammer_singer",
    ) -> None:
        super().__init__()
        self.exclusive = spec.task == "classification"
        self.rivals = self.exclusive and logit_count(spec) > 1 and multiclass == "crammer_singer"

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the scores."""
        outputs = widen(outputs)
        if self.rivals:
            targets = class_probabilities("hinge", outputs, targets)
            margins = outputs - _strongest_rival(outputs)
            return (targets * (1 - margins).relu()).sum(1).mean()
        targets = labels("hinge", outputs, targets)
        return (targets * (1 - outputs).relu() + (1 - targets) * (1 + outputs).relu()).mean()

    def output_size(self, spec: Spec) -> int:
        """Return 1 for two classes, else one score per class or label."""
        return logit_count(spec)

    def link(self, outputs: Tensor) -> Tensor:
        """Map scores to numbers between 0 and 1 that order like probabilities."""
        if self.rivals:
            return softmax_link(outputs)
        return sigmoid_link(outputs, exclusive=self.exclusive)


def _strongest_rival(outputs: Tensor) -> Tensor:
    """Return for each class the largest score of the other classes, ``[B, C]``."""
    scores, classes = outputs.topk(2, dim=1)
    best, winner, second = scores[:, :1], classes[:, :1], scores[:, 1:]
    return best.expand_as(outputs).scatter(1, winner, second)
