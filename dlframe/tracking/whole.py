"""Files of a run that are whole or not there, since a process can be killed at any moment."""

from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file beside its place and rename it; text as UTF-8.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
