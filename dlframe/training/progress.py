"""The progress bar: one line for the run, refreshed a few times a second whatever the step costs."""

import sys
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["ProgressBar"]


class ProgressBar(L.Callback):
    """Shows epochs, optimizer steps and the latest values on stderr.

    Args:
        steps: batches of the whole training, or None where it is open.
        monitor: the validation value to show.
    """

    def __init__(self, steps: int | None, monitor: str) -> None:
        self._monitor = monitor
        self._total = steps
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=Console(file=sys.stderr),
            refresh_per_second=4,
            transient=False,
        )

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Open the bar."""
        self._done = module.loader.epoch * module.loader.batches  # more than 0 for a resumed run
        self._progress.start()
        self._task = self._progress.add_task(
            "training", total=self._total, completed=self._done, values=""
        )

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        """Move it to the number of batches done."""
        epochs = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        self._progress.update(
            self._task,
            completed=self._done + module.sums.batches,
            description=f"epoch {trainer.current_epoch + 1}{epochs}",
        )

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        """Show the epoch's values."""
        self._done += module.sums.batches
        shown = [
            f"{key} {float(trainer.callback_metrics[key]):.4g}"
            for key in dict.fromkeys(("train/loss", "val/loss", self._monitor))
            if key in trainer.callback_metrics
        ]
        self._progress.update(self._task, completed=self._done, values="  ".join(shown))

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Leave the bar on the screen."""
        self._progress.update(self._task, total=self._done or None)
        self._progress.stop()

    def on_exception(
        self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._progress.stop()
