"""Decoded images kept in a file: written whole, checked by its SHA-256, mapped into memory."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

__all__ = ["Decoded", "cached"]

_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The images of a folder.

    Args:
        pixels: ``[N, C, H, W]`` uint8.
        rows: which files they are of, as numbers in the folder's listing.
        broken: names of files that could not be read, and why.
    """

    pixels: NDArray[np.uint8]
    rows: list[int]
    broken: list[tuple[str, str]]


def cached(path: Path, make: Callable[[], Decoded]) -> Decoded:
    """Return the images kept at ``path``; make and keep them where they are not, or are damaged.

    Processes that ask for the same images wait for the one that makes them. Where the file cannot be
    written, the log says so and the images stay in memory.
    """
    if (found := _load(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        lock.acquire()
    except OSError as error:
        _log.warning("decoded images cannot be kept in %s (%s)", path.parent, error.strerror)
        return make()
    try:
        if (found := _load(path)) is not None:  # made while this process waited
            return found
        made = make()
        try:
            _store(path, made)
        except OSError as error:
            _log.warning("decoded images cannot be kept in %s (%s)", path.parent, error.strerror)
            return made
        return _load(path) or made
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)  # whoever comes later finds the images


def _store(path: Path, made: Decoded) -> None:
    """Write one line with the SHA-256 of the rest, one with the facts as JSON, and the pixels."""
    facts = {"shape": made.pixels.shape, "rows": made.rows, "broken": made.broken}
    line = json.dumps(facts, ensure_ascii=False).encode() + b"\n"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            digest = hashlib.sha256(line)
            file.write(b"0" * digest.digest_size * 2 + b"\n" + line)
            for row in made.pixels:
                content = np.ascontiguousarray(row).data
                digest.update(content)
                file.write(content)
            file.seek(0)
            file.write(digest.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path) -> Decoded | None:
    """Return what a file holds; None where it is missing or damaged, which the log tells."""
    try:
        with path.open("rb") as file:
            wanted = file.readline(_CHUNK).strip().decode("ascii", "replace")
            start, digest = file.tell(), hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            if digest.hexdigest() != wanted:
                _log.warning("the decoded images in %s are damaged, and are made anew", path)
                return None
            file.seek(start)
            facts: dict[str, Any] = json.loads(file.readline())
            start = file.tell()
    except OSError:
        return None
    pixels = np.memmap(path, np.uint8, "r", start, tuple(facts["shape"]))
    return Decoded(pixels, facts["rows"], [(name, reason) for name, reason in facts["broken"]])
