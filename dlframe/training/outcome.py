"""What a training came to."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlframe.interfaces import Task
from dlframe.tracking.earlier import earlier
from dlframe.tracking.spool import Spool
from dlframe.training import diagnosis
from dlframe.training.case import Finding
from dlframe.training.record import PRUNED

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run", "best_of", "finished"]


@dataclass(slots=True)
class Run:
    """The outcome of one training.

    Args:
        id: the run's own id, by which ``dlframe test``, ``predict`` and ``load`` find it.
        folder: where its config, checkpoints and figures lie.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        metrics: the last value of each metric, ``test/*`` and ``best/*`` among them.
        epochs: metrics of each epoch, with the number of optimizer steps as ``step``.
        seconds: wall-clock time of training and test.
        tracking_uri: the MLflow store.
        mlflow_run_id: the run's id there, once it has been delivered.
        note: what the user should know, such as a backlog of undelivered records.
        summaries: the single values that are recorded beside the metrics: ``cost/*`` and ``final/*``.
        pruned: whether it was stopped early, as one that was not worth its end.
        findings: what ailed the training, the most telling first; empty for a healthy one.
    """

    id: str
    folder: Path
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    tracking_uri: str | None = None
    mlflow_run_id: str | None = None
    note: str | None = None
    summaries: dict[str, float] = field(default_factory=dict)
    pruned: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def history(self) -> "pd.DataFrame":
        """The metrics of each epoch as a table, indexed by epoch."""
        import pandas as pd

        if not self.epochs:
            return pd.DataFrame(index=pd.Index([], dtype="int64", name="epoch"))
        return pd.DataFrame(self.epochs).groupby("epoch").last()


def finished(folder: Path) -> Run:
    """Return the outcome of a run whose process was killed when it had recorded all.

    Args:
        folder: the run's folder.
    """
    recorded = earlier(folder).values
    with closing(Spool(folder)) as spool:
        tags = [record.body["values"] for record in spool.of_kinds("tags")]
    single = ("cost/", "final/")
    return Run(
        folder.name,
        folder,
        metrics={key: value for key, value in recorded.items() if not key.startswith(single)},
        seconds=recorded.get("cost/seconds", 0.0),
        summaries={key: value for key, value in recorded.items() if key.startswith(single)},
        pruned=any(PRUNED in values for values in tags),
        findings=diagnosis.read(folder),
    )


def best_of(epochs: Sequence[Mapping[str, float]], task: Task) -> dict[str, float]:
    """Return the validation metrics of the epoch whose weights were kept, as ``best/val_*``."""
    sign = 1.0 if task.mode == "min" else -1.0
    seen = [v for v in epochs if task.monitor in v and not math.isnan(v[task.monitor])]
    if not seen:
        return {}
    best = min(seen, key=lambda values: sign * values[task.monitor])
    found = {f"best/{k.replace('/', '_')}": v for k, v in best.items() if k.startswith("val/")}
    return found | {"best/epoch": best["epoch"], "best/step": best["step"]}
