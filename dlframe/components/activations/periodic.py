"""Periodic activations."""

from typing import Annotated

from torch import Tensor

from dlframe.interfaces.activation import Activation
from dlframe.interfaces.options import Gt, Range

__all__ = ["Sin"]


class Sin(Activation):
    """Sine, for functions with fine detail (implicit representations of signals).

    ``f(x) = sin(omega * x)``; any shape and floating dtype, both kept.

    Args:
        omega: angular frequency, in radians per unit of ``x``; the paper takes 30 with weights
            that start 30 times smaller.

    Reference:
        arXiv:2006.09661.
    """

    def __init__(self, *, omega: Annotated[float, Gt(0), Range(0.5, 30.0, log=True)] = 1.0) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape and dtype."""
        return (self.omega * x).sin()

    def extra_repr(self) -> str:
        """Return the options, as printed in a model's summary."""
        return f"omega={self.omega}"
