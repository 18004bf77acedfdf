"""Initializers that draw no random numbers."""

from torch import Tensor, nn

from dlframe.interfaces.initializer import Initializer

__all__ = ["Constant", "Default", "Dirac", "Zeros"]


class Default(Initializer):
    """Leaves weights and biases as the layers themselves initialize them."""

    keeps_defaults = True

    def __init__(self) -> None:
        pass

    def __call__(self, weight: Tensor) -> None:
        """Leave ``weight`` as it is."""


class Zeros(Initializer):
    """All weights zero, to show why a start must not be symmetric.

    ``w = 0``, any shape. Units of a layer stay equal to each other, and where two such layers
    follow one another no gradient reaches the first: the network hardly learns.
    """

    def __init__(self) -> None:
        pass

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        nn.init.zeros_(weight)


class Constant(Initializer):
    """All weights the same number, which leaves the units of a layer equal to each other.

    ``w = value``, any shape.

    Args:
        value: the number.
    """

    def __init__(self, *, value: float = 0.1) -> None:
        self.value = value

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        nn.init.constant_(weight, self.value)


class Dirac(Initializer):
    """Layers that start by passing their input on.

    ``w[i, i, centre] = 1``, zero elsewhere, for weights ``[out, in, ...]`` of two or more
    dimensions: the identity matrix, and for convolutions the kernel that leaves an image as it is.
    Of a layer with more outputs than inputs, the outputs beyond start at zero.

    Reference:
        arXiv:1706.00388, arXiv:1504.00941 (recurrent networks).
    """

    def __init__(self) -> None:
        pass

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        weight.zero_()
        matrix = weight
        while matrix.ndim > 2:
            matrix = matrix.select(-1, matrix.shape[-1] // 2)
        matrix.fill_diagonal_(1.0)
