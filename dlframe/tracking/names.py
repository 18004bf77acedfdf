"""What MLflow takes as names and values, and what becomes of the rest: nothing is cut silently."""

import hashlib
import json
import posixpath
import re
from typing import Any

__all__ = ["PARAM_LIMIT", "TAG_LIMIT", "marker", "name", "text"]

PARAM_LIMIT = 6000
TAG_LIMIT = 8000
_NAME_LIMIT = 250
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
    """Return a parameter's or tag's value as text; lists and mappings become JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return str(value)


def marker(length: int, artifact: str) -> str:
    """Return what stands for a value that is too long for MLflow."""
    return f"({length} characters: the whole value is in the artifact {artifact})"
