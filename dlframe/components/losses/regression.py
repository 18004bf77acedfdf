"""Losses on the difference between values and outputs of one shape."""

import math
from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses.targets import values, widen
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.options import Gt, Range

__all__ = ["Huber", "LogCosh", "MeanAbsoluteError", "MeanSquaredError"]


class MeanSquaredError(Loss):
    """Mean squared error, lowest at the mean of the targets.

    ``mean (y - t)**2`` over outputs ``y`` and targets ``t`` of one shape, float. In adversarial
    training it is the least-squares loss on real (1) and generated (0) samples.

    Raises:
        ConfigError: the targets' shape is not the outputs'.

    Reference:
        arXiv:1611.04076 (adversarial training).
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over outputs ``[B, ...]``."""
        outputs = widen(outputs)
        return F.mse_loss(outputs, values("mse", outputs, targets))


class MeanAbsoluteError(Loss):
    """Mean absolute error, lowest at the median of the targets.

    ``mean |y - t|`` over outputs ``y`` and targets ``t`` of one shape, float.

    Raises:
        ConfigError: the targets' shape is not the outputs'.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over outputs ``[B, ...]``."""
        outputs = widen(outputs)
        return F.l1_loss(outputs, values("mae", outputs, targets))


class Huber(Loss):
    """Squared for small errors, absolute for large ones, so that outliers pull less.

    ``mean h(y - t)`` with ``h(e) = e**2 / 2`` where ``|e| <= delta``, else
    ``delta * (|e| - delta / 2)``, over outputs ``y`` and targets ``t`` of one shape, float.

    Args:
        delta: error at which the loss turns linear, in units of the targets (standard deviations
            where dlframe standardizes them).

    Raises:
        ConfigError: the targets' shape is not the outputs'.

    Reference:
        doi:10.1214/aoms/1177703732.
    """

    def __init__(self, *, delta: Annotated[float, Gt(0), Range(0.1, 10.0, log=True)] = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over outputs ``[B, ...]``."""
        outputs = widen(outputs)
        return F.huber_loss(outputs, values("huber", outputs, targets), delta=self.delta)


class LogCosh(Loss):
    """Between squared and absolute error like Huber's, but smooth everywhere.

    ``mean log cosh(y - t)`` over outputs ``y`` and targets ``t`` of one shape, float; about
    ``(y - t)**2 / 2`` near zero and ``|y - t| - log 2`` far away.

    Raises:
        ConfigError: the targets' shape is not the outputs'.

    Reference:
        arXiv:2208.04564.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over outputs ``[B, ...]``."""
        outputs = widen(outputs)
        error = (outputs - values("log_cosh", outputs, targets)).abs()
        # log cosh e = e + log((1 + exp(-2e)) / 2), which cannot overflow for e >= 0.
        return (error + F.softplus(-2 * error) - math.log(2)).mean()
