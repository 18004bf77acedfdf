"""Checkpoints that are whole or not there, and known to be whole before they are used.

A file is written beside its place, forced to the disk, and renamed. Its SHA-256 goes into a manifest
before the renaming, next to that of the file it replaces, so that at every moment the manifest knows
each file in its place; after it, the manifest knows one file of each name. Torch itself does not
notice a flipped bit in a tensor.
"""

import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from dlframe.errors import CheckpointError, StorageError

__all__ = ["BEST", "LAST", "WholeCheckpointIO", "check", "digest", "newest", "read"]

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
_MANIFEST = "manifest.json"
_KNOWN = 3
"""Hashes that the manifest keeps of a name whose renaming was cut short: one of them is the file's."""
_ALMOST_FULL = 2**20


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, with their hashes in a manifest.

    Training goes on while the disk confirms what was written: that, the hash and the renaming are left
    to a thread, one file at a time.

    Lightning writes into the system's folder for temporary files, which is another disk more often than
    not; moving the file then means copying, and a full disk leaves half a file in place of a good one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="dlframe-checkpoint")
        self._pending: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to the file ``path``; a ``last`` that is there becomes ``previous``.

        Raises:
            StorageError: the disk is full or cannot be written, now or for the checkpoint before.
        """
        self.wait()
        place = Path(path)
        part = place.with_name(f"{place.name}.part")
        with _writing(part, place):
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, part)
        self._pending = self._behind.submit(_put, part, place)

    def wait(self) -> None:
        """Return when all checkpoints are in their places.

        Raises:
            StorageError: the last one could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def teardown(self) -> None:
        """Wait; called by Lightning whenever a training ends."""
        self.wait()


@contextmanager
def _writing(part: Path, place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch makes another error of a full disk
        part.unlink(missing_ok=True)
        raise StorageError(
            f"the checkpoint {str(place)!r} cannot be written ({_reason(error, place)}); free "
            "space there or choose another folder with tracking.root"
        ) from error


def _put(part: Path, place: Path) -> None:
    with _writing(part, place):
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        _replace(part, place)


def _replace(part: Path, place: Path) -> None:
    folder = place.parent
    try:
        known = _manifest(folder)
    except CheckpointError:  # the files it spoke of are unknown from now on, the new one is not
        known = {}
    new, old = digest(part), known.get(place.name, [])
    rotates = place.name == LAST and place.exists() and bool(old)
    if rotates:
        known[PREVIOUS] = [*old, *known.get(PREVIOUS, [])][: 2 * _KNOWN]
    known[place.name] = [new, *old][:_KNOWN]
    _write_manifest(folder, known)
    if rotates:
        _keep(place, folder / PREVIOUS)
        known[PREVIOUS] = old
    os.replace(part, place)
    _sync(folder)
    known[place.name] = [new]
    _write_manifest(folder, known)


def _keep(place: Path, previous: Path) -> None:
    """Give ``previous`` the file at ``place``, which stays there: at no moment is it missing."""
    link = previous.with_name(f"{previous.name}.part")
    link.unlink(missing_ok=True)
    try:
        os.link(place, link)
    except OSError:  # a file system without links, such as FAT
        os.replace(place, previous)
    else:
        os.replace(link, previous)
        link.unlink(missing_ok=True)  # it is still there if both were one file already


def check(path: Path) -> None:
    """Compare a checkpoint with the manifest beside it; one unknown there must only be readable.

    Raises:
        CheckpointError: the file is missing, or is not the one that was written under this name.
    """
    if not path.is_file():
        raise CheckpointError(f"the checkpoint {str(path)!r} is missing")
    found = digest(path)  # before the manifest, which would not know a file written in between
    known = _manifest(path.parent).get(path.name)
    if known is None:
        _load(path)
    elif found not in known:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} is damaged: its SHA-256 is not the one in {_MANIFEST}"
        )


def read(path: Path) -> dict[str, Any]:
    """Check and load a checkpoint onto the CPU; nothing in the file is executed.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    check(path)
    return _load(path)


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.PickleError) as error:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} cannot be read: {str(error).splitlines()[0]}"
        ) from error
    return loaded


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint from which training can go on, and what is wrong with others.

    Args:
        folder: the folder of a run's checkpoints.

    Raises:
        CheckpointError: the manifest is damaged, so that good and bad cannot be told apart.
    """
    said = []
    _manifest(folder)
    for name in (LAST, PREVIOUS):
        path = folder / name
        try:
            check(path)
        except CheckpointError as error:
            if path.is_file():
                said.append(str(error))
        else:
            return path, said
    return None, said


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path) -> dict[str, list[str]]:
    path = folder / _MANIFEST
    try:
        known: Any = json.loads(path.read_text()) if path.is_file() else {}
        if not isinstance(known, dict) or not all(isinstance(v, list) for v in known.values()):
            raise ValueError("it is no table of hashes")
    except ValueError as error:
        raise CheckpointError(
            f"the list of checkpoints {str(path)!r} is damaged ({error}); remove it to use the "
            "checkpoints unchecked"
        ) from error
    return dict(known)


def _write_manifest(folder: Path, known: dict[str, list[str]]) -> None:
    part = folder / f"{_MANIFEST}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(known, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / _MANIFEST)


def _sync(folder: Path) -> None:
    """Force the renaming itself to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError | RuntimeError, place: Path) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if place.parent.is_dir() and shutil.disk_usage(place.parent).free < _ALMOST_FULL:
        return os.strerror(errno.ENOSPC)
    return str(error).splitlines()[0]
