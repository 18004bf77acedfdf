"""A training that is watched: it reports each validation, and stops when it is told that it may."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from dlframe.tracking.earlier import recorded_metrics
from dlframe.training.channel import Report
from dlframe.training.module import TrainingModule

__all__ = ["Watched"]


class Watched(L.Callback):
    """Reports the metrics of each validation with the number of its epoch; all processes stop together.

    A training that is gone on with reports those of before first, since who hears may not know them;
    of their answers the last one counts. Those of an epoch that is trained anew are reported as they
    were.

    Args:
        report: of the process that speaks for all; None for the others.

    Attributes:
        pruned: whether the training was stopped.
    """

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._recorded: dict[tuple[str, int], float] = {}
        self.pruned = False

    def remember(self, folder: Path) -> None:
        """Take in what earlier attempts recorded in the run's folder."""
        if self._report is not None:
            found = recorded_metrics(folder)
            self._recorded = {(key, step): value for key, step, value in found if _is_told(key)}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Report what an earlier attempt has reached."""
        assert isinstance(module, TrainingModule)
        if module.history:
            self._decide(trainer, module.history)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Report this validation."""
        assert isinstance(module, TrainingModule)
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._decide(trainer, module.history[-1:])

    def _decide(self, trainer: L.Trainer, history: list[dict[str, float]]) -> None:
        stop = False
        for each in history if self._report is not None else ():
            step = int(each["step"])
            values = {
                key: self._recorded.get((key, step), value)
                for key, value in each.items()
                if _is_told(key)
            }
            if values and self._report is not None:
                stop = self._report(int(each["epoch"]), values)
        if trainer.strategy.broadcast(stop):
            self.pruned = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Keep that it was stopped, since it then will be when it is gone on with."""
        return {"pruned": True} if self.pruned else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.pruned = state["pruned"]


def _is_told(metric: str) -> bool:
    return metric.startswith("val/")
