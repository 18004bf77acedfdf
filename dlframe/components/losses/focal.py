"""The focal loss, which turns attention to examples that are still wrong."""

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses.links import sigmoid_link, softmax_link
from dlframe.components.losses.targets import class_probabilities, labels, widen
from dlframe.components.losses.weights import class_weights
from dlframe.errors import ConfigError
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.options import Ge, Gt, Lt, Range
from dlframe.interfaces.spec import Spec

__all__ = ["Focal"]


class Focal(Loss):
    """Cross entropy in which examples count less the better they are predicted already.

    Classification: ``mean_b sum_c -alpha_c * t_bc * (1 - p_bc)**gamma * log p_bc`` with
    ``p = softmax(z)``, logits ``z[B, C]`` and targets ``t``: class indices ``[B]`` int64 or class
    probabilities ``[B, C]`` float. Multi-label: the mean over examples and labels of the two-class
    form with ``p = sigmoid(z)``, logits and 0/1 labels ``[B, L]`` float, positive labels weighted
    by ``alpha`` and negative ones by ``1 - alpha``. Predictions are the softmax or the sigmoids.

    Args:
        gamma: how fast well-predicted examples fade; 0 gives the cross entropy.
        alpha: weight of each class: a list, or ``balanced`` for ``N / (C * n_c)`` with ``n_c`` of
            ``N`` training examples in class ``c`` (classification only). With labels or two classes
            one number weighs positives (the second class), and 1 less it the negatives. Null leaves
            all weights at 1.

    Raises:
        ConfigError: alpha does not fit the task, or the targets do not fit the outputs.

    Reference:
        arXiv:1708.02002.
    """

    alpha: Tensor | None

    def __init__(
        self,
        spec: Spec,
        *,
        gamma: Annotated[float, Ge(0), Range(0.5, 5.0)] = 2.0,
        alpha: Annotated[float, Gt(0), Lt(1), Range(0.05, 0.95)]
        | Literal["balanced"]
        | list[float]
        | None = None,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.multilabel = spec.task == "multilabel"
        made = _label_weights(alpha, spec) if self.multilabel else _class_weights(alpha, spec)
        self.register_buffer("alpha", made, persistent=False)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of logits ``[B, C]``."""
        outputs = widen(outputs)
        alpha = None if self.alpha is None else self.alpha.to(outputs.dtype)
        if self.multilabel:
            return self._of_labels(outputs, labels("focal", outputs, targets), alpha)
        return self._of_classes(outputs, class_probabilities("focal", outputs, targets), alpha)

    def _of_classes(self, outputs: Tensor, targets: Tensor, alpha: Tensor | None) -> Tensor:
        log_p = outputs.log_softmax(1)
        # Kept off zero, where the power's slope is infinite for gamma below 1.
        wrong = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        losses = -targets * wrong**self.gamma * log_p
        if alpha is not None:
            losses = losses * alpha
        return losses.sum(1).mean()

    def _of_labels(self, outputs: Tensor, targets: Tensor, alpha: Tensor | None) -> Tensor:
        log_p, log_q = F.logsigmoid(outputs), F.logsigmoid(-outputs)
        positive = -targets * (self.gamma * log_q).exp() * log_p
        negative = -(1 - targets) * (self.gamma * log_p).exp() * log_q
        if alpha is not None:
            positive, negative = alpha * positive, (1 - alpha) * negative
        return (positive + negative).mean()

    def link(self, outputs: Tensor) -> Tensor:
        """Map logits ``[B, C]`` to probabilities of classes or of each label, ``[B, C]``."""
        return sigmoid_link(outputs, exclusive=False) if self.multilabel else softmax_link(outputs)


_Alpha = float | Literal["balanced"] | list[float] | None


def _class_weights(alpha: _Alpha, spec: Spec) -> Tensor | None:
    if isinstance(alpha, float):
        if spec.output_size != 2:
            raise ConfigError(
                f"one number for loss.alpha needs two classes or labels; got {alpha} with "
                f"{spec.output_size} classes; give one weight per class, or balanced"
            )
        return torch.tensor([1 - alpha, alpha])
    return class_weights("loss.alpha", alpha, spec)


def _label_weights(alpha: _Alpha, spec: Spec) -> Tensor | None:
    if alpha is None:
        return None
    if alpha == "balanced":
        raise ConfigError(
            "loss.alpha=balanced needs classes that exclude each other, as in task=classification; "
            f"got task={spec.task}; give the weight of positive labels as a number"
        )
    listed = [alpha] * spec.output_size if isinstance(alpha, float) else alpha
    if len(listed) != spec.output_size or not all(0 < weight < 1 for weight in listed):
        raise ConfigError(
            f"loss.alpha needs one weight between 0 and 1 for each of the {spec.output_size} "
            f"labels; got {listed}"
        )
    return torch.tensor(listed)
