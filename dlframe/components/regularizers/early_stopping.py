"""Stopping in time."""

from collections.abc import Sequence
from typing import Any, Literal

import lightning
from lightning.pytorch import callbacks

from dlframe.errors import ConfigError, did_you_mean
from dlframe.interfaces.options import NonNegative, PositiveInt
from dlframe.interfaces.regularizer import Regularizer

__all__ = ["EarlyStopping"]


class EarlyStopping(Regularizer):
    """Stop the training when a validation value has not improved for ``patience`` validations.

    Args:
        monitor: name of the recorded value, such as ``val/loss`` or ``val/accuracy``.
        mode: whether the value should become small (``min``) or large (``max``).
        patience: validations without improvement that are waited out.
        min_delta: smallest change, in the value's own units, that counts as an improvement.

    Reference:
        Prechelt 1998, doi:10.1007/3-540-49430-8_3.
    """

    def __init__(
        self,
        *,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        patience: PositiveInt = 10,
        min_delta: NonNegative = 0.0,
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta

    def callbacks(self) -> Sequence[Any]:
        """Return the callback that watches the value; one never recorded is a ConfigError."""
        return (
            _EarlyStopping(
                monitor=self.monitor,
                mode=self.mode,
                patience=self.patience,
                min_delta=self.min_delta,
                check_finite=False,  # dlframe itself stops at the step whose loss is not finite
                check_on_train_epoch_end=False,
                verbose=False,
            ),
        )


class _EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, with an error that names the values there are."""

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        known = trainer.callback_metrics
        if not trainer.sanity_checking and self.monitor not in known:
            raise ConfigError(
                f"regularizer.early_stopping.monitor must be a recorded value, but "
                f"{self.monitor!r} is none; {did_you_mean(self.monitor, known)}"
                f"recorded are {', '.join(sorted(known))}"
            )
        super().on_validation_end(trainer, pl_module)
