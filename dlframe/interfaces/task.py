"""Tasks: what one step, one prediction and one metric are."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dlframe.interfaces.loss import Loss
from dlframe.interfaces.spec import Batch, Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torchmetrics import MetricCollection

__all__ = ["Stage", "Step", "Task"]

Stage = Literal["train", "val", "test"]


@dataclass(slots=True)
class Step:
    """What a task's step gives.

    Args:
        loss: scalar with gradient.
        predictions: detached predictions ``[B, ...]`` for training metrics, or None.
        logs: further scalars to record, averaged over the epoch.
    """

    loss: Tensor
    predictions: Tensor | None = None
    logs: Mapping[str, Tensor] = field(default_factory=dict)


class Task(ABC):
    """Owns the step, the prediction and the metrics; dlframe owns the loop.

    The constructor takes ``spec`` and ``loss`` from dlframe; all other parameters are options.

    Attributes:
        monitor: the value that picks the best checkpoint, such as ``val/loss``.
        mode: whether the monitored value should become small or large.
        needs: the class that the network must derive from.
        makes_inputs: whether predictions have the shape and the scale of preprocessed inputs; users
            then get them in the data's units.
        from_noise: whether ``predict`` takes noise ``[B, network.latent_size]`` instead of inputs.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[Literal["min", "max"]] = "min"
    needs: ClassVar[type[nn.Module]] = nn.Module
    makes_inputs: ClassVar[bool] = False
    from_noise: ClassVar[bool] = False

    def __init__(self, *, spec: Spec, loss: Loss) -> None:
        self.spec = spec
        self.loss = loss

    def output_size(self) -> int:
        """How many numbers the model must give per example."""
        return self.loss.output_size(self.spec)

    def players(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Name the parts that are trained by an optimizer of their own, in the order of their steps.

        One part, the whole model, unless the task trains several against each other.
        """
        return {"model": model}

    def every(self, player: str) -> int:
        """How many optimizer steps go by from one move of ``player`` to its next.

        All move in the first step of a training, the first player in each.
        """
        return 1

    def prepare(self, batch: Batch) -> Batch:
        """Set the targets of a batch before regularizers see it (an autoencoder's are its inputs)."""
        return batch

    def targets(self, batch: Batch) -> Tensor:
        """Return what the loss will be given as targets for a batch of the data."""
        return self.prepare(batch).y

    @abstractmethod
    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        """Evaluate the loss that ``player`` is to lower on one batch."""

    @abstractmethod
    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return predictions for ``x[B, *input_shape]``, in the data's units.

        Class probabilities ``[B, C]``, label probabilities ``[B, L]``, values ``[B, T]``, or
        whatever the task produces.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss and the predictions of a prepared batch, without regularization."""

    @abstractmethod
    def metrics(self, stage: Stage) -> "MetricCollection":
        """Return new metrics that are updated with ``(predictions, targets)`` of each batch.

        Those of ``train`` must be cheap.
        """

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw the test part's predictions; keys are file names without suffix."""
        return {}

    def columns(self, predictions: Tensor) -> Mapping[str, NDArray[np.generic]]:
        """Return predictions ``[N, ...]`` as named columns of length ``N``, for a file or a table."""
        values = predictions.detach().cpu().flatten(1).numpy()
        return {f"output_{i}": values[:, i] for i in range(values.shape[1])}
