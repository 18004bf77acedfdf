"""Entries of a spool: what is recorded, as it is written down.

Metrics, of which there are many, are written in binary, a third of what JSON takes; all else is JSON.
"""

import json
from array import array
from collections.abc import Mapping
from struct import Struct, error
from typing import Any, Literal, NamedTuple

__all__ = ["Entry", "Kind", "Record", "decoded", "entry"]

Kind = Literal[
    "start", "process", "experiment", "params", "metrics", "tags", "artifact", "dataset", "checkpoint",
    "model", "finish",
]  # fmt: skip

_METRICS = Struct("<qI")


class Entry(NamedTuple):
    """Something to append.

    Args:
        seq: its number; None takes the next.
        kind: what it is.
        time: when it happened, in ms since 1970.
        content: as JSON, or in binary.
    """

    seq: int | None
    kind: Kind
    time: int
    content: str | bytes


class Record(NamedTuple):
    """An entry in the spool with its place in the order."""

    seq: int
    kind: Kind
    time: int
    body: dict[str, Any]


def entry(kind: Kind, time: int, body: Mapping[str, Any], seq: int | None = None) -> Entry:
    """Return what to append.

    Raises:
        TypeError: JSON has no such content, for instance a tuple as a key.
        ValueError: the content holds itself.
        Exception: whatever a value raises that is asked for its number.
    """
    packed = _packed(body["step"], body["values"]) if kind == "metrics" else None
    return Entry(seq, kind, time, _encode(body) if packed is None else packed)


def decoded(content: str | bytes) -> dict[str, Any]:
    """Return an entry's body.

    Raises:
        ValueError: the content is damaged.
    """
    if isinstance(content, str):
        body: dict[str, Any] = json.loads(content)
        return body
    try:
        step, number = _METRICS.unpack_from(content)
        numbers = array("d")
        split = _METRICS.size + number * numbers.itemsize
        numbers.frombytes(content[_METRICS.size : split])
        names = content[split:].decode().split("\0") if number else []
        return {"step": step, "values": dict(zip(names, numbers, strict=True))}
    except error as problem:
        raise ValueError(str(problem)) from problem


def _packed(step: Any, values: Mapping[str, Any]) -> bytes | None:
    """Return metrics in binary, or None for what is no number, or too odd a name."""
    try:
        numbers, names = array("d", values.values()), "\0".join(values)
        if values and names.count("\0") != len(values) - 1:
            return None
        return _METRICS.pack(step, len(numbers)) + numbers.tobytes() + names.encode()
    except (TypeError, ValueError, OverflowError, error):
        return None


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and paths into what JSON holds."""
    return value.item() if hasattr(value, "item") else str(value)


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
