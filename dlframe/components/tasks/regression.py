"""One or more numbers for each example."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from dlframe.components.tasks.figures import residuals
from dlframe.components.tasks.metrics import R2
from dlframe.components.tasks.supervised import SupervisedTask
from dlframe.interfaces import Batch, Loss, Spec, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Regression"]


class Regression(SupervisedTask):
    """One or more numbers for each example.

    Targets and predictions are ``[B, T]`` float32 in the data's units. The loss compares the
    outputs with ``(y - mean) / scale``, mean and standard deviation of the training targets, and
    predictions are ``link(outputs) * scale + mean``; a loss with ``raw_targets``, or data that does
    not ask for it, leaves the targets as they are.

    Metrics are in the data's units: MAE, MSE, RMSE over all columns, and R2, the mean over the
    columns (NaN with fewer than two examples).

    Args:
        spec: what the data gives.
        loss: the loss to train with.
    """

    def __init__(self, spec: Spec, loss: Loss) -> None:
        super().__init__(spec=spec, loss=loss)
        self.names = spec.target_names or tuple(f"target_{i}" for i in range(spec.output_size))
        self._scaled = bool(spec.target_mean) and bool(spec.target_scale) and not loss.raw_targets
        self._scales: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def targets(self, batch: Batch) -> Tensor:
        """Return the targets ``[B, T]``, standardized where that is asked for."""
        if not self._scaled:
            return batch.y
        mean, scale = self._mean_and_scale(batch.y)
        return (batch.y - mean) / scale

    def predictions(self, outputs: Tensor) -> Tensor:
        """Map raw outputs to predictions ``[B, T]`` in the data's units."""
        values = super().predictions(outputs)
        if not self._scaled:
            return values
        mean, scale = self._mean_and_scale(values)
        return values * scale + mean

    def _mean_and_scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as tensors, kept per device, as each copy would wait for the device."""
        if like.device not in self._scales:
            self._scales[like.device] = (
                torch.tensor(self.spec.target_mean, dtype=like.dtype, device=like.device),
                torch.tensor(self.spec.target_scale, dtype=like.dtype, device=like.device),
            )
        return self._scales[like.device]

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return MAE; with MSE, RMSE and R2 from validation on."""
        if stage == "train":
            return MetricCollection({"mae": MeanAbsoluteError()}, compute_groups=False)
        return MetricCollection(
            {
                "mae": MeanAbsoluteError(),
                "mse": MeanSquaredError(),
                "rmse": MeanSquaredError(squared=False),
                "r2": R2(),
            }
        )

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw predicted against actual values, and the residuals' histogram."""
        predicted, actual = predictions.float().cpu().numpy(), targets.float().cpu().numpy()
        return {"residuals": residuals(predicted, actual, self.names)}

    def columns(self, predictions: Tensor) -> Mapping[str, NDArray[np.generic]]:
        """Return one column per target."""
        values = predictions.detach().float().cpu().numpy()
        return {name: values[:, i] for i, name in enumerate(self.names)}
