"""Rectifiers: the identity above zero, something smaller below."""

from typing import Annotated

from torch import nn

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Gt, Positive, Range

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6"]


class ReLU(nn.ReLU):
    """Rectified linear unit.

    ``f(x) = max(0, x)``; any shape and floating dtype, both kept.

    Reference:
        doi:10.1109/TSSC.1969.300225.
    """

    def __init__(self) -> None:
        super().__init__()


class ReLU6(nn.ReLU6):
    """Rectifier cut off at six, which keeps low-precision arithmetic in range.

    ``f(x) = min(max(0, x), 6)``; any shape and floating dtype, both kept.

    Reference:
        arXiv:1801.04381.
    """

    def __init__(self) -> None:
        super().__init__()


class LeakyReLU(nn.LeakyReLU):
    """Rectifier with a small fixed slope below zero.

    ``f(x) = max(0, x) + negative_slope * min(0, x)``; any shape and floating dtype, both kept.

    Args:
        negative_slope: slope below zero.

    Reference:
        arXiv:1505.00853.
    """

    def __init__(
        self, *, negative_slope: Annotated[float, Ge(0), Range(0.001, 0.3, log=True)] = 0.01
    ) -> None:
        super().__init__(negative_slope)


class PReLU(nn.PReLU):
    """Rectifier whose slope below zero is learned, one number per place in the network.

    ``f(x) = max(0, x) + a * min(0, x)`` with the parameter ``a``; any shape and floating dtype,
    both kept. Weight decay pulls the slope to zero, that is to the plain rectifier.

    Args:
        init: slope below zero at the start.

    Reference:
        arXiv:1502.01852.
    """

    def __init__(self, *, init: float = 0.25) -> None:
        super().__init__(num_parameters=1, init=init)


class RReLU(nn.RReLU):
    """Rectifier whose slope below zero is drawn anew for each value in training.

    ``f(x) = max(0, x) + a * min(0, x)`` with ``a`` uniform between ``lower`` and ``upper``, and
    fixed to their mean in evaluation; any shape and floating dtype, both kept.

    Args:
        lower: smallest slope.
        upper: largest slope.

    Raises:
        ConfigError: ``lower`` is larger than ``upper``.

    Reference:
        arXiv:1505.00853.
    """

    def __init__(
        self,
        *,
        lower: Annotated[float, Ge(0)] = 0.125,
        upper: Annotated[float, Ge(0)] = 0.3333333333333333,
    ) -> None:
        if lower > upper:
            raise ConfigError(
                f"activation=rrelu needs lower <= upper; got lower={lower} and upper={upper}; "
                "swap them"
            )
        super().__init__(lower, upper)


class ELU(nn.ELU):
    """Exponential linear unit: saturates smoothly below zero, so that means stay near zero.

    ``f(x) = x`` above zero, ``alpha * (exp(x) - 1)`` below; any shape and floating dtype, both
    kept.

    Args:
        alpha: minus the limit towards minus infinity.

    Reference:
        arXiv:1511.07289.
    """

    def __init__(self, *, alpha: Annotated[float, Gt(0), Range(0.1, 2.0)] = 1.0) -> None:
        super().__init__(alpha)


class SELU(nn.SELU):
    """Scaled exponential linear unit: normalizes itself with the ``lecun`` initializer.

    ``f(x) = 1.0507 * x`` above zero, ``1.0507 * 1.6733 * (exp(x) - 1)`` below; any shape and
    floating dtype, both kept.

    Reference:
        arXiv:1706.02515.
    """

    def __init__(self) -> None:
        super().__init__()


class CELU(nn.CELU):
    """Exponential linear unit whose slope is continuous for every alpha.

    ``f(x) = max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``; any shape and floating dtype, both
    kept.

    Args:
        alpha: minus the limit towards minus infinity.

    Reference:
        arXiv:1704.07483.
    """

    def __init__(self, *, alpha: Positive = 1.0) -> None:
        super().__init__(alpha)
