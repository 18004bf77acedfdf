"""Activations that mix the values along an axis."""

from torch import Tensor

from dlframe.errors import ConfigError
from dlframe.interfaces.activation import Activation

__all__ = ["LogSoftmax", "Softmax"]


class Softmax(Activation):
    """Positive values that sum to 1 along an axis.

    ``f(x)_i = exp(x_i) / sum_j exp(x_j)``; any shape and floating dtype, both kept.

    Args:
        dim: axis along which values compete; -1 is the last, 1 the channels of an image.

    Raises:
        ConfigError: the tensor lacks the axis, or the axis is the batch.

    Reference:
        doi:10.1007/978-3-642-76153-9_28.
    """

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape and dtype."""
        _check_axis("softmax", self.dim, x)
        return x.softmax(self.dim)

    def extra_repr(self) -> str:
        """Return the options, as printed in a model's summary."""
        return f"dim={self.dim}"


class LogSoftmax(Activation):
    """Logarithm of the softmax, computed without overflow.

    ``f(x)_i = x_i - log sum_j exp(x_j)``; any shape and floating dtype, both kept.

    Args:
        dim: axis along which values compete; -1 is the last, 1 the channels of an image.

    Raises:
        ConfigError: the tensor lacks the axis, or the axis is the batch.
    """

    def __init__(self, *, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape and dtype."""
        _check_axis("log_softmax", self.dim, x)
        return x.log_softmax(self.dim)

    def extra_repr(self) -> str:
        """Return the options, as printed in a model's summary."""
        return f"dim={self.dim}"


def _check_axis(name: str, dim: int, x: Tensor) -> None:
    axes = max(x.ndim, 1)
    if not -axes <= dim < axes or (axes > 1 and dim % axes == 0):
        raise ConfigError(
            f"activation={name} needs an axis of its input other than the batch; got dim={dim} for "
            f"a tensor of {x.ndim} axes; set activation.dim to 1 or -1"
        )
