"""Cross entropy of labels that are each true or false."""

from typing import Annotated, Literal

from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses.links import logit_count, sigmoid_link
from dlframe.components.losses.targets import labels, widen
from dlframe.components.losses.weights import positive_weight
from dlframe.errors import ConfigError
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.options import Gt, Range
from dlframe.interfaces.spec import Spec

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(Loss):
    """Negative log-likelihood of labels under the sigmoid of the outputs.

    ``mean -(p * t * log sigmoid(z) + (1 - t) * log sigmoid(-z))`` over all outputs, with logits
    ``z``, labels ``t`` between 0 and 1, and the weight ``p`` of positive labels. What the logits
    are depends on the task:

    - classification in two classes: ``z[B, 1]``, the logit of the second class; predictions
      ``[B, 2]``;
    - in ``C`` > 2 classes: ``z[B, C]``, each class against all others; predictions ``[B, C]`` are
      the sigmoids, scaled to sum to 1;
    - any other: one logit per label ``[B, L]``, pixel (values between 0 and 1) or sample (real or
      generated); predictions are the sigmoids.

    Classes come as indices ``[B]`` int64 or probabilities ``[B, C]`` float, the rest as float of
    the outputs' shape.

    Args:
        pos_weight: weight of positive labels: one number, a list with one per logit, ``balanced``
            for ``(N - n_c) / n_c`` with ``n_c`` of ``N`` training examples in class ``c``
            (classification only), or null for 1.

    Raises:
        ConfigError: the weight does not fit the task, or the targets do not fit the outputs.

    Reference:
        doi:10.1111/j.2517-6161.1958.tb00292.x.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        spec: Spec,
        *,
        pos_weight: Annotated[float, Gt(0), Range(0.1, 10.0, log=True)]
        | Literal["balanced"]
        | list[float]
        | None = None,
    ) -> None:
        super().__init__()
        self.exclusive = spec.task == "classification"
        weight = positive_weight("loss.pos_weight", pos_weight, spec, logit_count(spec))
        self.register_buffer("pos_weight", weight, persistent=False)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the logits."""
        outputs = widen(outputs)
        targets = labels("binary_cross_entropy", outputs, targets)
        weight = None if self.pos_weight is None else self.pos_weight.to(outputs.dtype)
        return F.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weight)

    def check(self, targets: Tensor) -> None:
        """Refuse values that are no probabilities."""
        if targets.is_floating_point() and (targets.min() < 0 or targets.max() > 1):
            raise ConfigError(
                "loss=binary_cross_entropy needs targets between 0 and 1; they range from "
                f"{float(targets.min()):.3g} to {float(targets.max()):.3g}; choose loss=mse"
            )

    def output_size(self, spec: Spec) -> int:
        """Return 1 for two classes, else one logit per class or label."""
        return logit_count(spec)

    def link(self, outputs: Tensor) -> Tensor:
        """Map logits to probabilities: of exclusive classes, or of each label."""
        return sigmoid_link(outputs, exclusive=self.exclusive)
