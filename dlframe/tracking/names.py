"""What MLflow takes as names and values, and what becomes of the rest: nothing is cut silently."""

import hashlib
import json
import posixpath
import re
from typing import Any

from dlframe.errors import StorageError

__all__ = ["PARAM_LIMIT", "TAG_LIMIT", "marker", "name", "number", "step", "text", "title"]

PARAM_LIMIT = 6000
TAG_LIMIT = 8000
_NAME_LIMIT = 250
_STEPS = 2**63
_REFUSED = re.compile(r"[^/\w.\- :]")


def name(original: str) -> str:
    """Return ``original`` as MLflow takes it, for a metric, parameter or tag.

    MLflow takes letters, digits and ``_ - . : /`` and spaces, at most 250 of them, as a path
    without empty, ``.`` or ``..`` parts. Every other character becomes ``_``; a name that changed
    ends in ``-`` and six hexadecimal digits of its SHA-256, so that two names do not become one.
    """
    parts = [part for part in _REFUSED.sub("_", original).split("/") if part.strip(".")]
    fitted = "/".join(parts) or "unnamed"
    if fitted == original and len(fitted) <= _NAME_LIMIT and posixpath.normpath(fitted) == fitted:
        return original
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{fitted[: _NAME_LIMIT - 7]}-{digest}"


def text(value: Any) -> str:
    r"""Return a value as text that any store can hold; lists and mappings become JSON.

    What UTF-8 lacks, such as the bytes of a file's name in another encoding, and the NUL character
    are written as escapes: ``\udce9``, ``\x00``.
    """
    plain = json.dumps(value) if isinstance(value, list | dict) else str(value)
    return plain.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def title(original: str, limit: int) -> str:
    """Return the name of a run or an experiment with at most ``limit`` characters.

    A longer one is cut and ends in ``-`` and six hexadecimal digits of its SHA-256.
    """
    fitted = text(original)
    if len(fitted) <= limit:
        return fitted
    return f"{fitted[: limit - 7]}-{hashlib.sha256(fitted.encode()).hexdigest()[:6]}"


def number(value: Any) -> float:
    """Return a metric's value.

    Raises:
        StorageError: it is no number, or too large for one.
    """
    try:
        if isinstance(value, int | float):
            return float(value)
    except OverflowError:
        pass
    raise StorageError(f"a metric's value must be a number, and {str(value)[:60]!r} is none")


def step(value: Any) -> int:
    """Return a metric's step.

    Raises:
        StorageError: it is no whole number of 64 bits.
    """
    try:
        if isinstance(value, int | float) and -_STEPS <= int(value) < _STEPS:
            return int(value)
    except (OverflowError, ValueError):  # infinity, NaN
        pass
    raise StorageError(f"a metric's step must be a whole number of 64 bits, not {str(value)[:60]}")


def marker(length: int, artifact: str) -> str:
    """Return what stands for a value that is too long for MLflow."""
    return f"({length} characters: the whole value is in the artifact {artifact})"
