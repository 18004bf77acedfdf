"""Keeps the passwords in stores' addresses apart from what is recorded: one file in the tracking root.

The delivery process needs them when the training that named them is long gone, so they cannot be left
out; but a run's folder is what people copy, send and archive. The file is for its owner only.
"""

import json
import os
from pathlib import Path

from dlframe.tracking.redaction import without_credentials

__all__ = ["FILE", "kept_apart", "with_credentials"]

FILE = "credentials.json"


def kept_apart(uri: str, root: Path) -> str:
    """Return ``uri`` without user name and password, which go to the file in ``root``.

    Raises:
        OSError: the file cannot be written.
    """
    plain = without_credentials(uri)
    if plain != uri:
        known = _read(root)
        user = uri.partition("://")[2].removesuffix(plain.partition("://")[2])
        if known.get(plain) != user:
            _write(root, known | {plain: user})
    return plain


def with_credentials(uri: str, root: Path) -> str:
    """Return ``uri`` with those that were last given for it, where it has none of its own."""
    if "://" not in uri or without_credentials(uri) != uri:
        return uri
    user = _read(root).get(uri, "")
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{user}{rest}"


def _read(root: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads((root / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # torn: the store then asks for what is missing
        return {}
    return known


def _write(root: Path, known: dict[str, str]) -> None:
    part = root / f"{FILE}.{os.getpid()}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(known, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(root / FILE)
