"""Initializers that keep the scale of signals from layer to layer."""

from typing import Annotated, Literal

from torch import Tensor, nn

from dlframe.interfaces.initializer import Initializer
from dlframe.interfaces.options import Gt, NonNegative, Range

__all__ = ["Kaiming", "LeCun", "Orthogonal", "Xavier"]


class Xavier(Initializer):
    """Variance between what the forward and the backward pass ask for; for tanh and sigmoid.

    ``std = gain * sqrt(2 / (fan_in + fan_out))``, the fans being the connections that a unit
    receives and gives; weights ``[out, in, ...]`` of two or more dimensions.

    Args:
        distribution: ``uniform``, between plus and minus ``sqrt(3) * std``, or ``normal``.
        gain: factor for the activation, such as 5/3 for tanh.

    Reference:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010.
    """

    def __init__(
        self,
        *,
        distribution: Literal["uniform", "normal"] = "uniform",
        gain: Annotated[float, Gt(0), Range(0.1, 5.0, log=True)] = 1.0,
    ) -> None:
        self.gain = gain
        self.fill = nn.init.xavier_uniform_ if distribution == "uniform" else nn.init.xavier_normal_

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        self.fill(weight, self.gain)


class Kaiming(Initializer):
    """Variance that keeps signals alive through rectifiers, which drop half of it.

    ``std = gain / sqrt(fan)``, the gain being that of the nonlinearity (``sqrt(2)`` for relu);
    weights ``[out, in, ...]`` of two or more dimensions.

    Args:
        mode: ``fan_in`` keeps the scale of activations, ``fan_out`` that of gradients.
        nonlinearity: the activation whose gain is taken.
        negative_slope: slope below zero, for ``leaky_relu``.
        distribution: ``normal``, or ``uniform`` between plus and minus ``sqrt(3) * std``.

    Reference:
        arXiv:1502.01852.
    """

    def __init__(
        self,
        *,
        mode: Literal["fan_in", "fan_out"] = "fan_in",
        nonlinearity: Literal["relu", "leaky_relu", "tanh", "sigmoid", "selu", "linear"] = "relu",
        negative_slope: NonNegative = 0.01,
        distribution: Literal["normal", "uniform"] = "normal",
    ) -> None:
        self.mode = mode
        self.nonlinearity = nonlinearity
        self.negative_slope = negative_slope
        self.fill = (
            nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_
        )

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        self.fill(weight, self.negative_slope, self.mode, self.nonlinearity)


class LeCun(Initializer):
    """Variance that keeps the scale of signals through linear layers; the start ``selu`` needs.

    ``std = 1 / sqrt(fan_in)``; weights ``[out, in, ...]`` of two or more dimensions.

    Args:
        distribution: ``normal``, or ``uniform`` between plus and minus ``sqrt(3) * std``.

    Reference:
        doi:10.1007/978-3-642-35289-8_3, arXiv:1706.02515.
    """

    def __init__(self, *, distribution: Literal["normal", "uniform"] = "normal") -> None:
        self.fill = (
            nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_
        )

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        self.fill(weight, nonlinearity="linear")


class Orthogonal(Initializer):
    """Random rotations: the rows (or the columns, if there are more rows) are orthogonal.

    ``W W^T = gain**2 * I``, or ``W^T W``, for the weight ``[out, in, ...]`` of two or more
    dimensions, flattened to a matrix with ``out`` rows.

    Args:
        gain: length of the rows or columns.

    Reference:
        arXiv:1312.6120.
    """

    def __init__(self, *, gain: Annotated[float, Gt(0), Range(0.1, 5.0, log=True)] = 1.0) -> None:
        self.gain = gain

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        # torch cannot fill a weight that is not contiguous, such as a channels-last kernel.
        weight.copy_(nn.init.orthogonal_(weight.contiguous(), self.gain))
