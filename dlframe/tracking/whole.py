"""Files of a run that are whole or not there, since a process can be killed at any moment."""

import json
from pathlib import Path
from typing import Any

from dlframe.errors import StorageError

__all__ = ["read_json", "write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file beside its place and rename it; text as UTF-8.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a file of a run's folder.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the record {str(path)!r} cannot be read ({error}); restore it, or train anew with "
            "`dlframe train`"
        ) from error
    return found
