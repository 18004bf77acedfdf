"""An autoencoder gives its input back."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from dlframe.components.tasks.figures import image_rows, residuals
from dlframe.components.tasks.supervised import at_least_single
from dlframe.interfaces import Autoencoder, Batch, Loss, Spec, Stage, Step, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Reconstruction"]


class Reconstruction(Task):
    """An autoencoder gives its input back; no labels are used.

    The loss is ``loss(x', x)`` with raw outputs ``x'[B, *input_shape]``, plus what the network adds
    of its own (the divergence of a variational autoencoder), in training and evaluation.
    Predictions are the reconstructions ``link(x')``, with shape and scale of the preprocessed
    inputs; metrics are MSE and MAE over all values.

    Args:
        spec: what the data gives.
        loss: the loss between reconstruction and input.
    """

    needs: ClassVar[type[nn.Module]] = Autoencoder
    makes_inputs: ClassVar[bool] = True

    def __init__(self, spec: Spec, loss: Loss) -> None:
        super().__init__(spec=spec, loss=loss)

    def output_size(self) -> int:
        """Return the number of values of one input."""
        return math.prod(self.spec.input_shape)

    def prepare(self, batch: Batch) -> Batch:
        """Make the inputs the targets."""
        return Batch(batch.x, batch.x, batch.clean)

    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        """Evaluate the loss on one batch; log its two parts."""
        outputs, own = cast("Autoencoder", model).reconstruct(batch.x)
        error = self.loss(outputs, batch.y)
        logs = {"reconstruction_loss": error.detach(), "latent_loss": own.detach()}
        return Step(error + own, self._predictions(outputs.detach()), logs)

    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the reconstructions ``[B, *input_shape]``."""
        return self._predictions(cast("Autoencoder", model).reconstruct(x)[0])

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss, the network's own part included, and the reconstructions."""
        outputs, own = cast("Autoencoder", model).reconstruct(batch.x)
        return self.loss(outputs, batch.y) + own, self._predictions(outputs)

    def _predictions(self, outputs: Tensor) -> Tensor:
        return at_least_single(self.loss.link(outputs))

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return MAE; with MSE from validation on."""
        if stage == "train":
            return MetricCollection({"mae": MeanAbsoluteError()}, compute_groups=False)
        return MetricCollection({"mae": MeanAbsoluteError(), "mse": MeanSquaredError()})

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw originals above reconstructions, for images; else values against each other."""
        predicted, actual = predictions.float().cpu().numpy(), targets.float().cpu().numpy()
        if self.spec.input == "image":
            return {"reconstructions": image_rows(actual, predicted)}
        names = ("all values",)
        return {"residuals": residuals(predicted.reshape(-1, 1), actual.reshape(-1, 1), names)}

    def columns(self, predictions: Tensor) -> Mapping[str, NDArray[np.generic]]:
        """Return one column per value of the reconstruction, under the features' names."""
        named = super().columns(predictions.float())
        if len(self.spec.feature_names) != len(named):
            return named
        return dict(zip(self.spec.feature_names, named.values(), strict=True))
