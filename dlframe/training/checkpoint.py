"""Checkpoints that are whole or not there, whatever ends the writing of one."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from dlframe.errors import StorageError

__all__ = ["WholeCheckpointIO"]


_ALMOST_FULL = 2**20


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there, over the one before.

    Lightning writes into the system's folder for temporary files, which is another disk more often than
    not; moving the file then means copying, and a full disk leaves half a file in place of a good one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to the file ``path``.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        place = Path(path)
        part = place.with_name(f"{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, part)
            os.replace(part, place)
        except (OSError, RuntimeError) as error:  # torch makes another error of a full disk
            raise StorageError(
                f"the checkpoint {str(place)!r} cannot be written ({_reason(error, place)}); free "
                "space there or choose another folder with tracking.root"
            ) from error
        finally:
            part.unlink(missing_ok=True)


def _reason(error: OSError | RuntimeError, place: Path) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if place.parent.is_dir() and shutil.disk_usage(place.parent).free < _ALMOST_FULL:
        return os.strerror(errno.ENOSPC)
    return str(error).splitlines()[0]
