"""Losses between a distribution over classes and the softmax of the outputs."""

from typing import Annotated, Literal

from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses.links import softmax_link
from dlframe.components.losses.targets import class_probabilities, class_targets, widen
from dlframe.components.losses.weights import class_weights as weigh
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.options import Ge, Lt, Range
from dlframe.interfaces.spec import Spec

__all__ = ["CrossEntropy", "KLDivergence"]


class CrossEntropy(Loss):
    """Negative log-likelihood of the classes under the softmax of the outputs.

    ``mean_b sum_c -w_c * t_bc * log softmax(z_b)_c`` with logits ``z[B, C]`` and targets ``t``:
    class indices ``[B]`` int64 or class probabilities ``[B, C]`` float. The mean is over examples
    also where classes are weighted (it is not divided by the batch's weights, as torch does for
    class indices), so weights keep their effect in a batch of one. Predictions are the softmax.

    Args:
        label_smoothing: share of each target that is spread evenly over all classes.
        class_weights: weight of each class: a list in the order of the classes, ``balanced`` for
            ``N / (C * n_c)`` with ``n_c`` of ``N`` training examples in class ``c``, or null for 1.

    Raises:
        ConfigError: the weights do not fit the classes, or the targets do not fit the outputs.

    Reference:
        arXiv:1512.00567 (label smoothing).
    """

    weights: Tensor | None

    def __init__(
        self,
        spec: Spec,
        *,
        label_smoothing: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.3)] = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        weights = weigh("loss.class_weights", class_weights, spec)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits ``[B, C]``."""
        outputs = widen(outputs)
        targets = class_targets("cross_entropy", outputs, targets)
        if self.weights is None:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        losses = F.cross_entropy(
            outputs,
            targets,
            self.weights.to(outputs.dtype),
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return losses.mean()

    def link(self, outputs: Tensor) -> Tensor:
        """Map logits ``[B, C]`` to class probabilities ``[B, C]``."""
        return softmax_link(outputs)


class KLDivergence(Loss):
    """Kullback-Leibler divergence of the softmax of the outputs from the target distribution.

    ``mean_b sum_c t_bc * (log t_bc - log softmax(z_b)_c)`` with logits ``z[B, C]`` and targets
    ``t``: class probabilities ``[B, C]`` float or class indices ``[B]`` int64, where it equals the
    cross entropy. It is zero where the softmax gives the targets. Predictions are the softmax.

    Raises:
        ConfigError: the targets do not fit the outputs.

    Reference:
        doi:10.1214/aoms/1177729694.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean divergence of logits ``[B, C]``."""
        outputs = widen(outputs)
        targets = class_probabilities("kl", outputs, targets)
        return F.kl_div(outputs.log_softmax(1), targets, reduction="batchmean")

    def link(self, outputs: Tensor) -> Tensor:
        """Map logits ``[B, C]`` to class probabilities ``[B, C]``."""
        return softmax_link(outputs)
