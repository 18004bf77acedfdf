"""An activation."""

from typing import Annotated

import torch
from torch import Tensor

from dlframe.interfaces import Activation
from dlframe.interfaces.options import Gt, Range


class Snake(Activation):
    """``x + sin^2(a x) / a``: grows like ``x`` and repeats with period ``pi / a``.

    Args:
        a: frequency; small values follow slow waves.

    Reference: Liu, Hartwig and Ueda 2020, arXiv:2006.08195.
    """

    def __init__(self, *, a: Annotated[float, Gt(0), Range(0.2, 20.0, log=True)] = 1.0) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of any shape to the same shape and dtype."""
        return x + torch.sin(self.a * x).square() / self.a
