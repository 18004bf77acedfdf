"""The next steps of one or more series."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from dlframe.components.tasks.figures import forecasts
from dlframe.components.tasks.regression import Regression
from dlframe.interfaces import Loss, Spec, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Forecasting"]


class Forecasting(Regression):
    """The next ``H`` steps of ``C`` channels, all at once.

    Targets and predictions are ``[B, C * H]`` float32 in the data's units: all steps of the first
    channel, then those of the next. They are standardized for the loss as in regression, each
    channel with one mean and one standard deviation for all of its steps.

    Metrics are those of regression, over all steps and channels, and from validation on ``mae_scaled``
    and ``mse_scaled`` in standard deviations of the channel, where the data is standardized: channels
    of different units then count alike, and data sets can be compared.

    Args:
        spec: what the data gives.
        loss: the loss to train with.
    """

    def __init__(self, spec: Spec, loss: Loss) -> None:
        super().__init__(spec, loss)
        self.horizon = spec.horizon or len(self.names)

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return regression's metrics; from validation on those in standard deviations, too."""
        metrics = super().metrics(stage)
        if stage != "train" and self.spec.target_scale:
            for name, power in (("mae_scaled", 1), ("mse_scaled", 2)):
                metrics.add_metrics({name: _ScaledError(self.spec.target_scale, power)})
        return metrics

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw some forecasts, and how the error grows with the steps ahead."""
        shape = (len(targets), -1, self.horizon)
        predicted, actual = (t.float().cpu().reshape(shape).numpy() for t in (predictions, targets))
        names = [name.rpartition("+")[0] or name for name in self.names[:: self.horizon]]
        return {"forecasts": forecasts(predicted, actual, names)}


class _ScaledError(Metric):
    """Mean of ``|(prediction - target) / scale| ** power`` over examples and columns.

    Args:
        scale: of each column, in the data's units.
        power: 1 for the absolute, 2 for the squared error.
    """

    higher_is_better = False
    is_differentiable = True
    full_state_update = False
    scale: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, scale: tuple[float, ...], power: int) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add predicted and true values, both ``[B, C * H]``."""
        errors = ((predictions - targets) / self.scale).abs() ** self.power
        self.total = self.total + errors.sum()
        self.count = self.count + errors.numel()

    def compute(self) -> Tensor:
        """Return the mean, zero or more."""
        return self.total / self.count
