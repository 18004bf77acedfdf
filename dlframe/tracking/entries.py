"""Entries of a spool: what is recorded, as it is written down.

Metrics, of which there are many, are written in binary, a third of what JSON takes; all else is JSON.
"""

import json
from array import array
from collections.abc import Mapping
from functools import lru_cache
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
    if kind == "metrics":
        try:
            values = body["values"]
            layout, names = _layout(tuple(values))
            packed = layout.pack(body["step"], len(values), *values.values())
            return Entry(seq, kind, time, packed + names)
        except (TypeError, ValueError, OverflowError, error):
            pass  # no numbers, or too odd a name: JSON holds them
    return Entry(seq, kind, time, _encode(body))


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


@lru_cache(maxsize=256)  # a training records the same few sets of names again and again
def _layout(names: tuple[str, ...]) -> tuple[Struct, bytes]:
    """Return how metrics of these names are packed, and the names as they are written.

    Raises:
        ValueError: a name holds what separates names.
    """
    joined = "\0".join(names)
    if names and joined.count("\0") != len(names) - 1:
        raise ValueError(joined)
    return Struct(f"{_METRICS.format}{len(names)}d"), joined.encode()


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and paths into what JSON holds."""
    return value.item() if hasattr(value, "item") else str(value)


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
