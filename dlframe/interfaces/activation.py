"""Activations: the non-linearities inside a network."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Activation"]


class Activation(nn.Module, ABC):
    """A function of each value (or of an axis): same shape, same dtype.

    All parameters of the constructor are options. Any ``nn.Module`` class (``torch.nn:ReLU``) or
    function that returns a module will do; deriving from this class is optional. A new module is made
    for each place in the network, so trainable parameters are not shared.

    Example:
        >>> class Swish(Activation):
        ...     def __init__(self, *, beta: float = 1.0):
        ...         super().__init__()
        ...         self.beta = beta
        ...     def forward(self, x):
        ...         return x * (self.beta * x).sigmoid()
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of any shape and floating dtype to the same shape and dtype."""
