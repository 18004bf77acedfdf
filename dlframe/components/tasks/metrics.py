"""Metrics that torchmetrics lacks in the form the tasks need: defined and silent on any data."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat

__all__ = ["R2", "FrechetDistance", "RocAuc", "TokenMetric"]


class RocAuc(Metric):
    """Area under the ROC curve of each class or label against the rest, averaged without weights.

    A class that no example, or every example, of the data belongs to has no such curve: it is left
    out of the average. Without any class left the value is NaN. Where all classes are present it
    equals scikit-learn's ``roc_auc_score(..., multi_class="ovr", average="macro")``.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add probabilities ``[B, C]`` and class indices ``[B]`` or 0/1 labels ``[B, C]``."""
        if targets.ndim == 1:
            targets = one_hot(targets, predictions.shape[1])
        self.scores.append(predictions)
        self.targets.append(targets.long())

    def compute(self) -> Tensor:
        """Return the average area, between 0 and 1, or NaN."""
        scores, targets = dim_zero_cat(self.scores), dim_zero_cat(self.targets)
        positives = targets.sum(0)
        defined = ((positives > 0) & (positives < len(targets))).nonzero().flatten().tolist()
        areas = [binary_auroc(scores[:, c], targets[:, c], validate_args=False) for c in defined]
        return torch.stack(areas).mean() if areas else scores.new_tensor(torch.nan)


class R2(Metric):
    """Coefficient of determination, ``1 - sum (y - p)^2 / sum (y - mean(y))^2``.

    The mean over the target's columns. A constant column counts as 1 where it is predicted exactly
    and 0 otherwise, as in scikit-learn. With fewer than two examples the value is NaN.
    """

    # The examples are kept: sums of squares, as torchmetrics' R2Score keeps them, lose all digits
    # where the targets' mean is large beside their spread.

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predictions", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add predicted and true values, both ``[B, T]``."""
        self.predictions.append(predictions)
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """Return the coefficient, at most 1, or NaN."""
        predictions, targets = dim_zero_cat(self.predictions), dim_zero_cat(self.targets)
        if len(targets) < 2:
            return predictions.new_tensor(torch.nan)
        residual = (targets - predictions).square().sum(0)
        total = (targets - targets.mean(0)).square().sum(0)
        constant = (targets == targets[0]).all(0)  # the mean of equal numbers may be rounded
        unexplained = torch.where(constant, (residual > 0).to(total), residual / total)
        return (1 - unexplained).mean()


class FrechetDistance(Metric):
    """How far the generated inputs' distribution is from the data's, by mean and spread per value.

    ``mean over j of (m_j - m'_j)^2 + (s_j - s'_j)^2`` with mean ``m`` and standard deviation ``s``
    of value ``j`` over the generated and the real examples: the squared Fréchet distance of two
    normal distributions with diagonal covariance, divided by the number of values. It is zero for a
    generator that has each value's mean and spread right, and grows when it collapses to few
    samples.

    Args:
        values: number of values of one example.

    Reference: Heusel et al. 2017, arXiv:1706.08500, there on the features of a trained network.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    count: Tensor
    sums: Tensor
    squares: Tensor

    def __init__(self, values: int) -> None:
        super().__init__()
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("sums", default=torch.zeros(2, values), dist_reduce_fx="sum")
        self.add_state("squares", default=torch.zeros(2, values), dist_reduce_fx="sum")

    def update(self, samples: Tensor, real: Tensor) -> None:
        """Add generated and real examples, both ``[B, *input_shape]``."""
        both = torch.stack((samples.flatten(1), real.flatten(1)))
        self.count = self.count + len(real)
        self.sums = self.sums + both.sum(1)
        self.squares = self.squares + both.square().sum(1)

    def compute(self) -> Tensor:
        """Return the distance, zero or more, in squared units of the data."""
        mean = self.sums / self.count
        spread = (self.squares / self.count - mean.square()).clamp_min(0).sqrt()
        return ((mean[0] - mean[1]).square() + (spread[0] - spread[1]).square()).mean()


class TokenMetric(Metric):
    """A mean over all tokens of a part but padding, which is 0.

    ``nats`` is ``s * mean(n)`` with the tokens' negative log-likelihoods ``n`` and a scale ``s``,
    ``perplexity`` is ``exp(mean(n))``, and ``accuracy`` the share of tokens that were the likeliest.
    Without any token the value is NaN.

    Args:
        kind: which of them.
        scale: ``s``.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(
        self, kind: Literal["nats", "perplexity", "accuracy"], *, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.kind, self.scale = kind, scale
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add nats and hits ``[B, T, 2]``, zeros where the tokens ``[B, T]`` are padding."""
        self.total = self.total + predictions[..., int(self.kind == "accuracy")].sum()
        self.count = self.count + (targets != 0).sum()

    def compute(self) -> Tensor:
        """Return the value, or NaN."""
        mean = self.total / self.count
        return mean.exp() if self.kind == "perplexity" else self.scale * mean
