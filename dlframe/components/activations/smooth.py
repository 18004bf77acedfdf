"""Smooth rectifiers and their piecewise stand-ins."""

from typing import Annotated, Literal

from torch import nn

from dlframe.interfaces.options import Gt, Range

__all__ = ["GELU", "Hardswish", "Mish", "SiLU", "Softplus"]


class GELU(nn.GELU):
    """Gaussian error linear unit: each value times the chance that a standard normal lies below it.

    ``f(x) = x * Phi(x)``; any shape and floating dtype, both kept.

    Args:
        approximate: ``none`` evaluates the error function, ``tanh`` the faster formula
            ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Reference:
        arXiv:1606.08415.
    """

    def __init__(self, *, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__(approximate)


class SiLU(nn.SiLU):
    """Sigmoid linear unit, also called swish.

    ``f(x) = x * sigmoid(x)``; any shape and floating dtype, both kept.

    Reference:
        arXiv:1702.03118, arXiv:1710.05941.
    """

    def __init__(self) -> None:
        super().__init__()


class Mish(nn.Mish):
    """Self-regularized smooth rectifier.

    ``f(x) = x * tanh(log(1 + exp(x)))``; any shape and floating dtype, both kept.

    Reference:
        arXiv:1908.08681.
    """

    def __init__(self) -> None:
        super().__init__()


class Softplus(nn.Softplus):
    """Smooth rectifier with positive values.

    ``f(x) = log(1 + exp(beta * x)) / beta``; any shape and floating dtype, both kept.

    Args:
        beta: sharpness; the larger, the nearer to the rectifier.

    Reference:
        Dugas et al., Incorporating second-order functional knowledge for better option pricing,
        NIPS 2000.
    """

    def __init__(self, *, beta: Annotated[float, Gt(0), Range(0.5, 5.0)] = 1.0) -> None:
        super().__init__(beta)


class Hardswish(nn.Hardswish):
    """Piecewise stand-in for ``silu`` without an exponential.

    ``f(x) = x * min(max(0, x + 3), 6) / 6``; any shape and floating dtype, both kept.

    Reference:
        arXiv:1905.02244.
    """

    def __init__(self) -> None:
        super().__init__()
