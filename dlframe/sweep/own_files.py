"""The user's own YAML files as a study keeps them: edits reach no trial that is still to come."""

import os
import shutil
from pathlib import Path

__all__ = ["KEPT", "read_files", "write_files"]

KEPT = "config"
"""Where they lie in the study's folder."""


def read_files(folder: Path | None, apart_from: Path) -> dict[str, bytes]:
    """Return what Hydra may read of a folder, by path within it.

    Args:
        folder: the user's; None for none.
        apart_from: the tracking root, which may lie in it and is full of such files.
    """
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    for place, folders, files in os.walk(folder or os.devnull, followlinks=True):
        # Links may lead round in circles; hidden folders and environments hold other people's files.
        real = os.path.realpath(place)
        if real in seen or real == os.path.realpath(apart_from) or "pyvenv.cfg" in files:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place) / name
            if path.suffix == ".yaml" and path.is_file():
                found[str(path.relative_to(folder or "."))] = path.read_bytes()
    return found


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Keep files, and none but them, where only their owner reads them."""
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was killed as it wrote them
    folder.mkdir(mode=0o700, parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
