"""A loss."""

from torch import Tensor

from dlframe.interfaces import Loss
from dlframe.interfaces.options import Positive


class Charbonnier(Loss):
    """``mean(sqrt((y - t)^2 + eps^2) - eps)``: zero at the answer, smooth, robust to outliers.

    Args:
        eps: errors below it count squared, errors above it absolutely; in the targets' scale.

    Reference: Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553.
    """

    def __init__(self, *, eps: Positive = 0.1) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of values ``[B, ...]`` and targets of the same shape."""
        error = outputs.float() - targets
        return ((error.square() + self.eps**2).sqrt() - self.eps).mean()
