"""Penalties on the size of the weights.

Weights are the trainable parameters with two axes or more. Biases and the gains of normalization,
which have one, are left out: they add little to what a network can fit, and some must be large.
"""

import torch
from torch import Tensor, nn

from dlframe.interfaces.options import Strength
from dlframe.interfaces.regularizer import Regularizer

__all__ = ["L1", "L2", "ElasticNet"]


class L1(Regularizer):
    """Add ``weight * sum |w|`` to the loss, which drives weights to exactly zero.

    The sum is over trainable parameters with two axes or more; biases and gains are left out.

    Args:
        weight: strength of the penalty; 0 adds nothing.

    Reference:
        Tibshirani 1996, doi:10.1111/j.2517-6161.1996.tb02080.x.
    """

    def __init__(self, *, weight: Strength = 1e-5) -> None:
        self.weight = weight

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the scalar ``weight * sum |w|`` float32, or None."""
        return _penalty(model, self.weight, 0.0)


class L2(Regularizer):
    """Add ``weight * sum w^2`` to the loss, which keeps weights small.

    The sum is over trainable parameters with two axes or more; biases and gains are left out. Under
    plain gradient descent this equals a weight decay of ``2 * weight``.

    Args:
        weight: strength of the penalty; 0 adds nothing.

    Reference:
        Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634.
    """

    def __init__(self, *, weight: Strength = 1e-4) -> None:
        self.weight = weight

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the scalar ``weight * sum w^2`` float32, or None."""
        return _penalty(model, 0.0, self.weight)


class ElasticNet(Regularizer):
    """Add ``l1 * sum |w| + l2 * sum w^2`` to the loss.

    The sums are over trainable parameters with two axes or more; biases and gains are left out.

    Args:
        l1: strength of the absolute part; 0 leaves it out.
        l2: strength of the squared part; 0 leaves it out.

    Reference:
        Zou and Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x.
    """

    def __init__(self, *, l1: Strength = 1e-5, l2: Strength = 1e-4) -> None:
        self.l1 = l1
        self.l2 = l2

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the scalar ``l1 * sum |w| + l2 * sum w^2`` float32, or None."""
        return _penalty(model, self.l1, self.l2)


def _penalty(model: nn.Module, l1: float, l2: float) -> Tensor | None:
    weights = [w for w in model.parameters() if w.requires_grad and w.ndim >= 2]
    terms = [l1 * w.abs().sum() for w in weights if l1]
    terms += [l2 * w.square().sum() for w in weights if l2]
    return torch.stack(terms).sum() if terms else None
