"""Plain arrays as data: from an ``.npz`` file, or handed over in memory."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.held import find
from dlframe.components.data.standardize import Standardize
from dlframe.components.data.targets import Targets, encode_targets
from dlframe.errors import DataError, did_you_mean
from dlframe.interfaces.data import Data, Examples, Preprocessor
from dlframe.interfaces.spec import InputKind

__all__ = ["Arrays", "Npz", "examples_of"]

_KEYS = ("x", "y", "x_val", "y_val", "x_test", "y_test", "names")
_MOST_CHANNELS = 4
_SHAPES: Mapping[InputKind, str] = {
    "features": "[N, F]",
    "sequence": "[N, T, D]",
    "image": "[N, C, H, W] or [N, H, W]",
}

Input = Literal["auto", "features", "image", "sequence"]
Task = Literal["auto", "classification", "regression", "multilabel"]


class Npz(Data):
    """Arrays from one NumPy file: ``x``, and if there are such ``y``, fixed parts and names.

    The file holds ``x`` with one row per example, ``y`` with one row for each of them, ``x_val`` and
    ``y_val``, ``x_test`` and ``y_test`` for fixed parts, and ``names`` of the classes or labels, as
    ``numpy.savez("data.npz", x=x, y=y)`` writes them. Inputs are standardized: per feature, or per
    channel of images. Objects (pickles) are not read.

    Args:
        path: the file.
        input: what ``x`` is. ``auto``: ``[N, F]`` features; ``[N, A, B]`` bytes are grey images, other
            numbers sequences; ``[N, C, H, W]`` images.
        task: what ``y`` is for. ``auto``: texts, booleans and whole numbers with at most 20 distinct
            values are classes (any number of them with ``names``), other numbers regression; several
            columns of 0 and 1 are labels (multilabel), several of other numbers regression.

    Raises:
        DataError: the file is missing or broken, or its arrays do not fit each other.
    """

    input: InputKind = "features"

    def __init__(
        self,
        *,
        path: str,
        input: Literal["auto", "features", "image", "sequence"] = "auto",
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
    ) -> None:
        self._path = Path(path).expanduser()
        self._input, self._task = input, task

    def load(self) -> Examples:
        """Read the arrays."""
        examples, self.input = examples_of(_read(self._path), self._input, self._task)
        return examples

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Standardize``."""
        return Standardize()


class Arrays(Data):
    """Arrays handed over in memory: ``dlframe.train(..., data=(x, y))``.

    ``x`` has one row per example, ``y`` one target for each, or is None. They are recorded by their
    SHA-256, so that a run can go on, or be repeated, where the same arrays are handed over.

    Args:
        content: the arrays' SHA-256, which ``dlframe.train`` fills in.
        input: what ``x`` is. ``auto``: ``[N, F]`` features; ``[N, A, B]`` bytes are grey images, other
            numbers sequences; ``[N, C, H, W]`` images.
        task: what ``y`` is for. ``auto``: texts, booleans and whole numbers with at most 20 distinct
            values are classes, other numbers regression; several columns of 0 and 1 are labels
            (multilabel), several of other numbers regression.

    Raises:
        DataError: the arrays are not in this process, or do not fit each other.
    """

    input: InputKind = "features"

    def __init__(
        self,
        *,
        content: str,
        input: Literal["auto", "features", "image", "sequence"] = "auto",
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
    ) -> None:
        self._content, self._input, self._task = content, input, task

    def load(self) -> Examples:
        """Find the arrays."""
        held = find(self._content)
        arrays = {"x": held.x} | ({} if held.y is None else {"y": np.asarray(held.y)})
        examples, self.input = examples_of(arrays, self._input, self._task)
        return examples

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Standardize``."""
        return Standardize()


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no file"
        raise DataError(f"{kind} is at {str(path)!r}; give the path of an .npz file")
    arrays: dict[str, NDArray[Any]] | None = None
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                arrays = {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        said = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise DataError(
            f"{str(path)!r} is no file of plain arrays ({said.splitlines()[0]}); write one with "
            "numpy.savez(path, x=x, y=y)"
        ) from error
    if arrays is None:
        raise DataError(
            f"{str(path)!r} holds one array; write x and y into one file with "
            "numpy.savez(path, x=x, y=y)"
        )
    for name in arrays:
        if name not in _KEYS:
            raise DataError(
                f"{str(path)!r} holds an array {name!r}; {did_you_mean(name, _KEYS)}known are "
                f"{', '.join(_KEYS)}"
            )
    return arrays


def examples_of(arrays: Mapping[str, Any], kind: Input, task: Task) -> tuple[Examples, InputKind]:
    """Return arrays as examples, and the kind of their inputs.

    Args:
        arrays: ``x``, and any of the others that ``Npz`` explains.
        kind: what ``x`` is, or ``auto``.
        task: what ``y`` is for, or ``auto``.

    Raises:
        DataError: arrays are missing or do not fit each other.
    """
    parts = [""] + [part for part in ("_val", "_test") if f"x{part}" in arrays]
    _check_keys(arrays)
    for part in parts:
        x = arrays[f"x{part}"]
        if x.dtype.kind not in "biuf":
            raise DataError(f"x{part} must hold numbers; got {x.dtype}: leave other columns out")
        if x.shape[1:] != arrays["x"].shape[1:]:
            raise DataError(
                f"x and x{part} must have rows of one shape; got {list(arrays['x'].shape[1:])} and "
                f"{list(x.shape[1:])}"
            )
    x = arrays["x"] if len(parts) == 1 else np.concatenate([arrays[f"x{part}"] for part in parts])
    x, found = _inputs(x, kind)
    counts = [len(arrays[f"x{part}"]) for part in parts]
    starts = dict(zip(parts, np.cumsum([0, *counts]).tolist(), strict=False))
    rows = {
        part: np.arange(starts[part], starts[part] + count)
        for part, count in zip(parts, counts, strict=True)
    }
    if "y" not in arrays:
        return Examples(x=x, y=None, task="", val=rows.get("_val"), test=rows.get("_test")), found
    for part in parts:
        if np.shape(arrays[f"y{part}"])[:1] != arrays[f"x{part}"].shape[:1]:
            raise DataError(
                f"each row of x{part} needs a target; got {len(arrays[f'x{part}'])} rows and y{part} "
                f"of shape {list(arrays[f'y{part}'].shape)}"
            )
    targets = _targets(
        np.concatenate([arrays[f"y{part}"] for part in parts]), arrays.get("names"), task
    )
    columns = targets.y.shape[1] if targets.y.ndim > 1 else 1
    named = tuple(f"target_{i}" for i in range(columns)) if columns > 1 else ("target",)
    examples = Examples(
        x=x,
        y=targets.y,
        task=targets.task,
        class_names=targets.class_names,
        target_names=targets.class_names if targets.task == "multilabel" else named,
        val=rows.get("_val"),
        test=rows.get("_test"),
    )
    return examples, found


def _check_keys(arrays: Mapping[str, Any]) -> None:
    if "x" not in arrays:
        raise DataError(f"an array x is needed; got {', '.join(arrays) or 'none'}")
    for part in ("_val", "_test"):
        if f"y{part}" in arrays and f"x{part}" not in arrays:
            raise DataError(f"y{part} needs its inputs; add x{part}, or leave y{part} out")
        if f"x{part}" in arrays and (f"y{part}" in arrays) != ("y" in arrays):
            missing = "y" if f"y{part}" in arrays else f"y{part}"
            raise DataError(f"all parts need targets, or none; {missing} is missing")


def _inputs(x: NDArray[Any], kind: Input) -> tuple[NDArray[Any], InputKind]:
    axes = x.ndim
    if kind == "auto":
        by_axes: dict[int, InputKind] = {1: "features", 2: "features", 4: "image"}
        by_axes[3] = "image" if x.dtype.kind in "bu" else "sequence"
        if axes not in by_axes:
            raise DataError(
                f"x must have the shape {', '.join(_SHAPES.values())}; got {list(x.shape)}"
            )
        found = by_axes[axes]
        if axes == 4 and x.shape[1] > _MOST_CHANNELS >= x.shape[3]:
            raise DataError(
                f"images must be [N, C, H, W]; got {list(x.shape)}: bring the channels to the front "
                "with numpy.moveaxis(x, -1, 1), or set data.input=image if they are there"
            )
    else:
        found = kind
    fitting = {"features": (1, 2), "sequence": (3,), "image": (3, 4)}[found]
    if axes not in fitting:
        raise DataError(
            f"x must have the shape {_SHAPES[found]} for data.input={found}; got {list(x.shape)}"
        )
    if found == "features" and axes == 1:
        return x[:, np.newaxis], found
    return (x[:, np.newaxis] if found == "image" and axes == 3 else x), found


def _targets(y: NDArray[Any], names: NDArray[Any] | None, task: Task) -> Targets:
    """Encode targets as those of tables are; with names of the classes ``y`` holds their indices."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 2 or y.dtype.kind not in "biufUSO":
        raise DataError(f"y must be [N] or [N, T], numbers or texts; got {y.dtype} {list(y.shape)}")
    listed = () if names is None else tuple(map(str, np.asarray(names).reshape(-1).tolist()))
    if y.ndim == 1 and listed and y.dtype.kind in "biu" and task in ("auto", "classification"):
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(listed):
            raise DataError(
                f"with names y must hold indices from 0 to {len(listed) - 1}; got "
                f"{int(y.min())} to {int(y.max())}"
            )
        return Targets(y.astype(np.int64), "classification", listed)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise DataError(
            f"targets must be finite numbers; {int((~np.isfinite(y)).sum())} values of y are NaN or "
            "infinite: leave these rows out"
        )
    if y.ndim == 1:
        return encode_targets(pd.DataFrame({"y": y}), task)
    columns = (
        listed if len(listed) == y.shape[1] else tuple(f"target_{i}" for i in range(y.shape[1]))
    )
    return encode_targets(pd.DataFrame(y, columns=list(columns)), task)
