"""What ends a training early, a signal or an error, and what the user is told of it."""

import errno
import signal
import traceback
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dlframe.errors import ConfigError, DataError, Stopped, StorageError
from dlframe.tracking.where import root_option
from dlframe.training.checkpoint import LAST
from dlframe.training.prepare import CHECKPOINT

__all__ = ["advice", "is_stop", "report", "signal_of", "translated"]


def advice(folder: Path) -> str:
    """Say how to go on with a run that was stopped."""
    if not (folder / CHECKPOINT).with_name(LAST).is_file():
        return ""
    return f"; `dlframe resume {folder.name}{root_option(folder.parent)}` goes on"


def is_stop(error: BaseException) -> bool:
    """Whether somebody asked for the end."""
    return isinstance(error, (KeyboardInterrupt, SIGTERMException))


def signal_of(stop: BaseException) -> int:
    """Return the number of the signal that a stop came by."""
    if isinstance(stop, Stopped):
        return stop.number
    return signal.SIGTERM if isinstance(stop, SIGTERMException) else signal.SIGINT


def report(error: BaseException) -> str:
    """Return the traceback."""
    return "".join(traceback.format_exception(error))


def translated(error: BaseException, folder: Path) -> BaseException:
    """A user's error as one sentence; a programming error as it is."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        return StorageError(
            f"the run cannot write to {str(folder)!r} ({error.strerror}); free space there or choose "
            "another folder with tracking.root"
        )
    if isinstance(error, torch.OutOfMemoryError):
        return DataError(
            f"the device has too little memory ({str(error).splitlines()[0]}); lower data.batch_size, "
            "or use trainer.precision=bf16-mixed"
        )
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return ConfigError(
            "batch normalization needs at least two examples per step; raise data.batch_size, or "
            "choose another architecture.normalization"
        )
    if isinstance(error, MisconfigurationException):
        return ConfigError(f"trainer: {error}")
    return error
