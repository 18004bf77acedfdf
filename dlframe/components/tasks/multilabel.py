"""Several labels for each example."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MultilabelAccuracy,
    MultilabelF1Score,
    MultilabelPrecision,
    MultilabelRecall,
)

from dlframe.components.tasks.figures import label_counts
from dlframe.components.tasks.metrics import RocAuc
from dlframe.components.tasks.supervised import SupervisedTask
from dlframe.interfaces import Loss, Spec, Stage
from dlframe.interfaces.options import Gt, Lt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Multilabel"]


class Multilabel(SupervisedTask):
    """Several labels for each example, each present or absent.

    Targets are 0/1 labels ``[B, L]`` float32; predictions are the labels' probabilities ``[B, L]``
    float32.

    Metrics: accuracy is the share of single labels that are right; precision, recall and F1 are
    averaged over the labels without weights; ROC AUC likewise, those left out that all or no
    examples of the data have (NaN where that leaves none).

    Args:
        spec: what the data gives.
        loss: the loss to train with.
        threshold: probability above which a label counts as present.
    """

    def __init__(
        self, spec: Spec, loss: Loss, *, threshold: Annotated[float, Gt(0), Lt(1)] = 0.5
    ) -> None:
        super().__init__(spec=spec, loss=loss)
        self.threshold = threshold
        self.names = spec.class_names or tuple(str(i) for i in range(spec.output_size))

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return accuracy; precision, recall and F1 from validation on; ROC AUC in the test."""
        labels, threshold = len(self.names), self.threshold
        # Arguments are not validated: torchmetrics would refuse labels that are floating numbers,
        # and looking through them would wait for the device at each batch.
        accuracy = MultilabelAccuracy(labels, threshold, validate_args=False)
        if stage == "train":
            return MetricCollection({"accuracy": accuracy}, compute_groups=False)
        made: dict[str, Metric | MetricCollection] = {
            "accuracy": accuracy,
            "precision": MultilabelPrecision(labels, threshold, validate_args=False),
            "recall": MultilabelRecall(labels, threshold, validate_args=False),
            "f1": MultilabelF1Score(labels, threshold, validate_args=False),
        }
        if stage == "test":
            made["roc_auc"] = RocAuc()
        return MetricCollection(made)

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw how often each label was found, missed and invented."""
        present, found = targets.cpu().numpy() > 0.5, predictions.cpu().numpy() > self.threshold
        counts = np.stack(
            [
                (present & found).sum(0),
                (present & ~found).sum(0),
                (~present & found).sum(0),
                (~present & ~found).sum(0),
            ],
            axis=1,
        )
        return {"confusion_matrix": label_counts(counts, self.names)}

    def columns(self, predictions: Tensor) -> Mapping[str, NDArray[np.generic]]:
        """Return for each label its probability ``p_<label>`` and the 0/1 decision ``<label>``."""
        values = predictions.detach().float().cpu().numpy()
        made: dict[str, NDArray[np.generic]] = {}
        for i, name in enumerate(self.names):
            made[f"p_{name}"] = values[:, i]
            made[name] = (values[:, i] > self.threshold).astype(np.int64)
        return made
