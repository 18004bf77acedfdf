"""Initializers: where the weights start."""

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["Initializer"]


class Initializer(ABC):
    """Fills one weight tensor in place, before training.

    It is called for each weight of two or more dimensions of linear, convolutional, recurrent,
    attention and embedding layers; their biases are set to zero first (except where
    ``keeps_defaults``). All parameters of the constructor are options.

    Attributes:
        keeps_defaults: whether the layers' own initialization stays untouched.

    Example:
        >>> class Small(Initializer):
        ...     def __init__(self, *, std: float = 0.01):
        ...         self.std = std
        ...     def __call__(self, weight):
        ...         weight.normal_(0.0, self.std)
    """

    keeps_defaults: bool = False

    @abstractmethod
    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` ``[out, in, ...]`` in place; called without gradient tracking."""
