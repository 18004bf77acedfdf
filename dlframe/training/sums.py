"""What one pass over a part adds up: losses, rows, and predictions for the metrics."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

__all__ = ["EpochSums", "EvaluationSums"]

Reduce = Callable[[list[float]], list[float]]
"""Adds up numbers over all processes."""

_BATCHES = 256
"""Batches whose predictions are given to the metrics together, which cost as much for one."""
_NUMBERS = 2**24
"""Predicted numbers that may wait for that (64 MiB in float32)."""
_EVALUATION_SEED = 0


class EpochSums:
    """Adds up one epoch after another; its state can be kept in the middle of one.

    All of it depends on the batches and their order alone, so that neither the number of steps per
    call nor an interruption changes the last digit of a metric.

    Args:
        metrics: the task's metrics of the training part.

    Attributes:
        batches: batches so far.
        rows: their rows.
    """

    def __init__(self, metrics: MetricCollection) -> None:
        self._metrics = metrics
        self.clear()

    def clear(self) -> None:
        """Begin a new epoch."""
        self.batches, self.rows = 0, 0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}  # not each batch has each value: some players wait
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._numbers = 0
        self._metrics.reset()

    def count(self, rows: int) -> None:
        """Count a batch of ``rows``."""
        self.batches += 1
        self.rows += rows

    def add(self, key: str, mean: Tensor, rows: int) -> None:
        """Add the mean of a batch of ``rows``."""
        total = mean * rows
        self._sums[key] = self._sums[key] + total if key in self._sums else total
        self._counts[key] = self._counts.get(key, 0) + rows

    def total(self, key: str) -> float:
        """Return what the batches so far add up to: their means times their rows."""
        return float(self._sums.get(key, 0.0))

    def predicted(self, predictions: Tensor, targets: Tensor) -> None:
        """Give a batch's predictions and targets to the metrics, by and by."""
        self._waiting.append((predictions, targets))
        self._numbers += predictions.numel()
        if len(self._waiting) == _BATCHES or self._numbers >= _NUMBERS:
            self._update()

    def _update(self) -> None:
        if self._waiting:
            predictions, targets = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
            self._metrics.update(predictions.float(), targets)
        self._waiting, self._numbers = [], 0

    def results(self, reduce: Reduce) -> dict[str, float]:
        """Return the epoch's means and metrics over all processes."""
        self._update()
        keys = list(self._sums)
        counts = [float(self._counts[key]) for key in keys]
        added = reduce([*counts, *(float(self._sums[key]) for key in keys)])
        pairs = zip(added[len(keys) :], added[: len(keys)], strict=True)
        values = {key: total / rows for key, (total, rows) in zip(keys, pairs, strict=True)}
        if any(metric.update_called for metric in self._metrics.values()):
            values |= {key: float(value) for key, value in self._metrics.compute().items()}
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the epoch will be added to."""
        return {
            "batches": self.batches,
            "rows": self.rows,
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "waiting": list(self._waiting),
            "metrics": {name: _state(metric) for name, metric in self._metrics.items()},
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from what ``state_dict`` returned."""
        self.clear()
        self.batches, self.rows = state["batches"], state["rows"]
        self._sums = {key: total.to(device) for key, total in state["sums"].items()}
        self._counts = dict(state["counts"])
        self._waiting = [(p.to(device), t.to(device)) for p, t in state["waiting"]]
        self._numbers = sum(predictions.numel() for predictions, _ in self._waiting)
        for name, metric in self._metrics.items(copy_state=False):
            _restore(metric, state["metrics"][name], device)


class EvaluationSums:
    """Adds up an evaluation; draws the same random numbers each time and disturbs no others.

    Args:
        stage: ``val`` or ``test``, the first part of the results' names.
        metrics: the task's metrics.
    """

    def __init__(self, stage: str, metrics: MetricCollection) -> None:
        self._stage, self._metrics = stage, metrics
        self._loss, self._rows = 0.0, 0

    def begin(self, device: torch.device) -> None:
        """Forget earlier sums; from here to ``results`` the random numbers are the evaluation's own."""
        self._loss, self._rows = 0.0, 0
        self._metrics.reset()
        self._own = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        self._own.__enter__()
        torch.manual_seed(_EVALUATION_SEED)

    def add(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch's mean loss, predictions and targets."""
        self._loss += float(loss) * len(targets)
        self._rows += len(targets)
        if len(targets):
            self._metrics.update(predictions, targets)

    def results(self, reduce: Reduce) -> dict[str, float]:
        """Return loss and metrics over all processes."""
        self._own.__exit__(None, None, None)
        loss, rows = reduce([self._loss, float(self._rows)])
        values = {"loss": loss / rows}
        values |= {key: float(value) for key, value in self._metrics.compute().items()}
        return {f"{self._stage}/{key}": value for key, value in values.items()}


def _state(metric: Metric) -> dict[str, Any]:
    return {"updates": metric._update_count, "values": dict(metric.metric_state)}


def _restore(metric: Metric, state: dict[str, Any], device: torch.device) -> None:
    metric._update_count = state["updates"]
    for name, value in state["values"].items():
        held = [part.to(device) for part in value] if isinstance(value, list) else value.to(device)
        setattr(metric, name, held)
