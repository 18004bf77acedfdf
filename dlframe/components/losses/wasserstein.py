"""The loss of a Wasserstein critic."""

from torch import Tensor

from dlframe.components.losses.targets import labels, widen
from dlframe.interfaces.loss import Loss

__all__ = ["Wasserstein"]


class Wasserstein(Loss):
    """A critic's scores, to be raised on real examples and lowered on generated ones.

    ``-mean (2 t - 1) z`` with scores ``z[B, 1]`` and labels ``t`` of 1 (real) or 0. Over as many real
    as generated examples it is half of ``mean D(G(z)) - mean D(x)``, whose negative estimates the
    Wasserstein distance where ``D`` rises by at most 1 per unit; that needs a gradient penalty
    (``task.gradient_penalty``) or spectral normalization.

    Raises:
        ConfigError: the targets do not fit the outputs.

    Reference: Arjovsky et al. 2017, arXiv:1701.07875.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of scores ``[B, 1]``."""
        outputs = widen(outputs)
        targets = labels("wasserstein", outputs, targets)
        return ((1 - 2 * targets) * outputs).mean()
