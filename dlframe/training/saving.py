"""When checkpoints are written: the best at each validation, the last every so often."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from dlframe.interfaces import Task
from dlframe.training.checkpoint import BEST, LAST
from dlframe.training.interruption import Interruption
from dlframe.training.loader import Chunk
from dlframe.training.module import TrainingModule

__all__ = ["Saving"]


class Saving(ModelCheckpoint):
    """Keeps the best checkpoint, and the last one so that little work is lost when a run is killed.

    The last is written after so many seconds at the end of a call, within an epoch too, when the run is
    asked to stop, and when it ends.

    Args:
        folder: where to.
        task: says which value picks the best.
        every: seconds from one writing of the last checkpoint to the next.
        interruption: asks the run to stop.
    """

    def __init__(self, folder: Path, task: Task, every: float, interruption: Interruption) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor=task.monitor,
            mode=task.mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
            auto_insert_metric_name=False,
        )
        self._last = folder / LAST
        self._every, self._interruption = every, interruption
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Begin to measure time."""
        super().on_train_start(trainer, module)
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, chunk: Chunk, index: int
    ) -> None:
        """Write the last checkpoint if it is time; the end of an epoch has a place of its own."""
        assert isinstance(module, TrainingModule)
        if not chunk.ends_epoch and not module.accumulating:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Likewise, after all else that ends an epoch."""
        super().on_train_epoch_end(trainer, module)
        self._save_if_due(trainer)
        self._interruption.check()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write the last checkpoint."""
        super().on_train_end(trainer, module)
        self._save_last(trainer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a score of before; the run's folder may have been moved since."""
        best = str(Path(str(self.dirpath)) / BEST) if state["best_model_path"] else ""
        places = {"dirpath": self.dirpath, "best_model_path": best, "kth_best_model_path": best}
        scores = dict.fromkeys([best] if best else [], state["best_model_score"])
        super().load_state_dict(state | places | {"best_k_models": scores})

    def _save_if_due(self, trainer: L.Trainer) -> None:
        overdue = time.monotonic() - self._saved_at >= self._every
        due = overdue or self._interruption.requested
        if trainer.world_size > 1:  # all processes take part in saving, or none
            said = torch.tensor(due, device=trainer.strategy.root_device)
            torch.distributed.broadcast(said, src=0)
            due = bool(said)
        if due:
            self._save_last(trainer)

    def _save_last(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self._last)
        self._saved_at = time.monotonic()
