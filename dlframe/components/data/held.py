"""Arrays and tables that a Python program hands over in memory, found again by their content."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.errors import DataError

__all__ = ["Held", "digest_of", "find", "hold", "holding"]

_held: dict[str, "Held"] = {}


@dataclass(frozen=True, slots=True)
class Held:
    """Examples as they were handed over.

    Args:
        x: inputs, one row per example.
        y: targets; None where there are none. Where ``x`` is a table its columns are among them.
    """

    x: NDArray[Any] | pd.DataFrame
    y: NDArray[Any] | list[str] | None

    @property
    def component(self) -> str:
        """Name of the data component that reads them."""
        return "frame" if isinstance(self.x, pd.DataFrame) else "arrays"


def hold(given: Any) -> Held:
    """Check what was handed over as data.

    Args:
        given: a pair of inputs and targets. Inputs are an array or a table; targets an array with one
            row for each of the inputs, names of columns where the inputs are a table, or None.

    Raises:
        DataError: it is no such pair, or the targets do not fit the inputs.
    """
    if not isinstance(given, tuple) or len(given) != 2:
        raise DataError(
            f"data must be a pair (x, y) of inputs and targets; got {type(given).__name__}: give y as "
            "None where there are no targets"
        )
    x, y = given
    if not isinstance(x, pd.DataFrame):
        x = np.asarray(x)
        if x.dtype.kind not in "biuf" or not x.ndim:
            raise DataError(
                f"x must be an array of numbers or a DataFrame; got {x.dtype} of shape {list(x.shape)}"
            )
        if isinstance(y, str):
            raise DataError(f"y names the column {y!r}, and x is no DataFrame; give y as an array")
        return Held(x, None if y is None else _fitting(y, len(x)))
    x = x.reset_index(drop=True)
    if y is None:
        return Held(x, [])
    if isinstance(y, str) or (isinstance(y, list) and y and all(isinstance(n, str) for n in y)):
        names = [y] if isinstance(y, str) else list(y)
        if names[0] in x.columns or isinstance(y, str):
            return Held(x, names)
    columns = y.reset_index(drop=True) if isinstance(y, (pd.DataFrame, pd.Series)) else None
    if columns is None:
        values = _fitting(y, len(x))
        many = values.ndim > 1 and values.shape[1] > 1
        columns = pd.DataFrame(values if many else values.reshape(len(x)))
        columns.columns = pd.Index(
            [f"target_{i}" for i in range(values.shape[1])] if many else ["target"]
        )
    elif isinstance(columns, pd.Series):
        columns = columns.to_frame("target" if columns.name is None else str(columns.name))
    _fitting(columns, len(x))
    names = [str(name) for name in columns.columns]
    taken = [name for name in names if name in x.columns]
    if taken:
        raise DataError(
            f"x and y both have a column {taken[0]!r}; leave it out of x, or give y as its name"
        )
    return Held(pd.concat([x, columns.set_axis(names, axis=1)], axis=1), names)


def _fitting(y: Any, rows: int) -> NDArray[Any]:
    values = np.asarray(y)
    if values.ndim == 0 or len(values) != rows:
        found = "no rows" if values.ndim == 0 else f"{len(values)} rows"
        raise DataError(f"x and y must have one row per example; x has {rows} rows, y has {found}")
    return values


def digest_of(held: Held) -> str:
    """Return the SHA-256 of inputs and targets, with shapes, types and names, as hexadecimal digits."""
    digest = hashlib.sha256(held.component.encode())
    parts: list[NDArray[Any]] = []
    if isinstance(held.x, pd.DataFrame):
        for name, dtype in held.x.dtypes.items():
            digest.update(f"{name!r}:{dtype};".encode())
        digest.update(repr(held.y).encode())
        try:
            hashed = pd.util.hash_pandas_object(held.x, index=False)
        except TypeError as error:
            raise DataError(
                f"a column of the DataFrame holds values that are neither numbers nor texts ({error}); "
                "give each value a column of its own"
            ) from error
        parts.append(hashed.to_numpy())
    else:
        parts += [held.x] if held.y is None else [held.x, np.asarray(held.y)]
    for array in parts:
        digest.update(f"{array.dtype}{array.shape};".encode())
        plain = array if array.dtype.kind != "O" else np.array([repr(v) for v in array.flat])
        digest.update(np.ascontiguousarray(plain).data)
    return digest.hexdigest()


@contextmanager
def holding(held: Held) -> Iterator[str]:
    """Keep examples where ``data=arrays`` and ``data=frame`` find them by the digest that it gives."""
    digest = digest_of(held)
    before = _held.get(digest)
    _held[digest] = held
    try:
        yield digest
    finally:
        if before is None:
            del _held[digest]


def find(digest: str) -> Held:
    """Return what is held under a digest.

    Raises:
        DataError: nothing is.
    """
    if digest not in _held:
        raise DataError(
            f"the arrays with the SHA-256 {digest[:12]} are not in this process; they come from Python "
            "with dlframe.train(..., data=(x, y)): call it again with the same arrays, or save them to "
            "a file and train with data=npz or data=parquet"
        )
    return _held[digest]
