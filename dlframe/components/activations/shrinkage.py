"""Shrinkage functions: small values vanish, large ones pass."""

from torch import nn

from dlframe.interfaces.options import NonNegative

__all__ = ["Hardshrink", "Softshrink", "Tanhshrink"]


class Hardshrink(nn.Hardshrink):
    """Hard threshold: sets small values to zero and keeps the others as they are.

    ``f(x) = x`` where ``|x| > lambd``, else 0; any shape and floating dtype, both kept.

    Args:
        lambd: size up to which a value is set to zero.

    Reference:
        doi:10.1093/biomet/81.3.425.
    """

    def __init__(self, *, lambd: NonNegative = 0.5) -> None:
        super().__init__(lambd)


class Softshrink(nn.Softshrink):
    """Soft threshold: moves every value towards zero, small ones all the way.

    ``f(x) = sign(x) * max(0, |x| - lambd)``; any shape and floating dtype, both kept.

    Args:
        lambd: how far a value is moved.

    Reference:
        doi:10.1109/18.382009.
    """

    def __init__(self, *, lambd: NonNegative = 0.5) -> None:
        super().__init__(lambd)


class Tanhshrink(nn.Tanhshrink):
    """What the hyperbolic tangent leaves over: cubic near zero, linear far away.

    ``f(x) = x - tanh(x)``; any shape and floating dtype, both kept.
    """

    def __init__(self) -> None:
        super().__init__()
