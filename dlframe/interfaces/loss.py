"""Losses: how wrong the outputs are, as one number."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from dlframe.interfaces.spec import Spec

__all__ = ["Loss"]


class Loss(nn.Module, ABC):
    """The mean, over a batch, of how far the outputs are from the targets.

    The constructor may take ``spec``; all other parameters are options. A plain ``nn.Module`` or
    function ``(outputs, targets) -> scalar`` will do: dlframe then takes the defaults below.

    Targets are class indices ``[B]`` int64, class probabilities ``[B, C]`` float32 (after mixup or
    label smoothing), 0/1 labels ``[B, L]`` float32, or values of the outputs' shape float32.

    Attributes:
        raw_targets: whether regression targets must keep the data's units (counts, for Poisson)
            instead of being standardized.

    Example:
        >>> class Squared(Loss):
        ...     def forward(self, outputs, targets):
        ...         return (outputs - targets).square().mean()
    """

    raw_targets: bool = False

    @abstractmethod
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a scalar with gradient, from raw outputs ``[B, ...]`` and targets."""

    def check(self, targets: Tensor) -> None:
        """Look at all training targets once, before training starts.

        Raises:
            ConfigError: the loss is not defined for them.
        """

    def output_size(self, spec: Spec) -> int:
        """How many numbers the model must give per example (default: the size of the target)."""
        return spec.output_size

    def link(self, outputs: Tensor) -> Tensor:
        """Turn raw outputs into predictions on the targets' scale (the inverse link function).

        Softmax gives class probabilities ``[B, C]``, the exponential a rate, a quantile loss picks
        the median; the default is the identity. One logit ``[B, 1]`` for two classes becomes
        ``[B, 2]``.
        """
        return outputs
