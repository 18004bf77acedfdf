"""The loss for counts."""

import math

from torch import Tensor

from dlframe.components.losses.targets import values, widen
from dlframe.errors import ConfigError
from dlframe.interfaces.loss import Loss

__all__ = ["PoissonNLL"]

# Rates beyond e**30 (about 1e13) grow only linearly in the output, so that no start can overflow.
_LARGEST = 30.0


class PoissonNLL(Loss):
    """Negative log-likelihood of counts under Poisson rates; the outputs are the rates' logarithms.

    ``mean exp(z) - t * z`` over outputs ``z`` and counts ``t`` of one shape, float. Targets stay in
    the data's units. Predictions are the rates ``exp(z)``; above ``z = 30`` the exponential goes on
    as its tangent.

    A negative target makes the loss NaN, since the formula would fall without end.

    Args:
        full: whether to add ``log t!``, which makes the loss a likelihood that can be compared with
            other models' and leaves gradients as they are.

    Raises:
        ConfigError: a target is negative, or the targets' shape is not the outputs'.

    Reference:
        doi:10.2307/2344614.
    """

    raw_targets = True

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.full = full

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over log rates ``[B, T]``."""
        outputs = widen(outputs)
        targets = values("poisson_nll", outputs, targets)
        losses = _rate(outputs) - targets * outputs
        if self.full:
            losses = losses + (targets + 1).lgamma()
        return losses.masked_fill(targets < 0, math.nan).mean()

    def check(self, targets: Tensor) -> None:
        """Refuse negative targets, which no rate explains."""
        lowest = float(targets.min())
        if lowest < 0:
            raise ConfigError(
                f"loss=poisson_nll needs counts of at least 0; the lowest target is {lowest:g}; "
                "choose loss=mse"
            )

    def link(self, outputs: Tensor) -> Tensor:
        """Map log rates ``[B, T]`` to rates ``[B, T]``."""
        return _rate(widen(outputs))


def _rate(log_rate: Tensor) -> Tensor:
    return log_rate.clamp(max=_LARGEST).exp() * (1 + (log_rate - _LARGEST).relu())
