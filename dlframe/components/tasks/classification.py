"""One class for each example."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from dlframe.components.tasks.figures import confusion_matrix
from dlframe.components.tasks.metrics import RocAuc
from dlframe.components.tasks.supervised import SupervisedTask
from dlframe.interfaces import Loss, Spec, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Classification"]

_MOST_COLUMNS = 20


class Classification(SupervisedTask):
    """One class for each example, of two or more.

    Targets are class indices ``[B]`` int64, in training also class probabilities ``[B, C]``;
    predictions are class probabilities ``[B, C]`` float32, ``C = 2`` also where the loss takes one
    logit. The best checkpoint is the one with the highest validation accuracy.

    Metrics: accuracy is the share of examples whose most probable class is right; precision, recall
    and F1 are averaged over the classes without weights, those left out that occur neither in
    targets nor in predictions; ROC AUC likewise over one class against the rest, those left out
    that the data lacks (NaN where that leaves none).

    Args:
        spec: what the data gives.
        loss: the loss to train with.
    """

    monitor: ClassVar[str] = "val/accuracy"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(self, spec: Spec, loss: Loss) -> None:
        super().__init__(spec=spec, loss=loss)
        size = spec.output_size
        self.names = spec.class_names or tuple(str(i) for i in range(size))

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return accuracy; precision, recall and F1 from validation on; ROC AUC in the test."""
        classes = len(self.names)
        # Arguments are not validated: the targets are known to be class indices, and looking
        # through them would wait for the device at each batch.
        accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
        if stage == "train":
            return MetricCollection({"accuracy": accuracy}, compute_groups=False)
        made: dict[str, Metric | MetricCollection] = {
            "accuracy": accuracy,
            "precision": MulticlassPrecision(classes, average="macro", validate_args=False),
            "recall": MulticlassRecall(classes, average="macro", validate_args=False),
            "f1": MulticlassF1Score(classes, average="macro", validate_args=False),
        }
        if stage == "test":
            made["roc_auc"] = RocAuc()
        return MetricCollection(made)

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw the confusion matrix."""
        counts = np.zeros((len(self.names), len(self.names)), dtype=np.int64)
        np.add.at(counts, (targets.cpu().numpy(), predictions.argmax(1).cpu().numpy()), 1)
        return {"confusion_matrix": confusion_matrix(counts, self.names)}

    def columns(self, predictions: Tensor) -> Mapping[str, NDArray[np.generic]]:
        """Return class name, its probability, and those of (the first twenty) classes."""
        values = predictions.detach().float().cpu().numpy()
        made: dict[str, NDArray[np.generic]] = {
            "prediction": np.array(self.names)[values.argmax(1)],
            "probability": values.max(1),
        }
        return made | {f"p_{n}": values[:, i] for i, n in enumerate(self.names[:_MOST_COLUMNS])}
