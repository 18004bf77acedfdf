"""A regularizer."""

import torch
from torch import Tensor, nn

from dlframe.interfaces import Regularizer
from dlframe.interfaces.options import Strength


class Orthogonality(Regularizer):
    """Add ``weight * sum |W W^T - I|^2`` over all weights, flattened to ``W[out, in]``.

    The smaller side is taken where a layer is taller than wide.

    Args:
        weight: strength of the penalty; 0 adds nothing.

    Reference: Bansal, Chen and Wang 2018, arXiv:1810.09102.
    """

    def __init__(self, *, weight: Strength = 1e-4) -> None:
        self.weight = weight

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the scalar penalty, or None where it is switched off."""
        terms = []
        for parameter in model.parameters():
            if self.weight and parameter.requires_grad and parameter.ndim >= 2:
                matrix = parameter.flatten(1)
                if matrix.shape[0] > matrix.shape[1]:
                    matrix = matrix.T
                identity = torch.eye(len(matrix), device=matrix.device)
                terms.append((matrix @ matrix.T - identity).square().sum())
        return self.weight * torch.stack(terms).sum() if terms else None
