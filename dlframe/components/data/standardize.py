"""The preprocessor of numerical arrays: zero mean and unit variance."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlframe.errors import DataError
from dlframe.interfaces.data import Preprocessor, Rows

__all__ = ["Standardize"]


_CHUNK = 1024  # rows taken to float64 at a time


class Standardize(Preprocessor):
    """Subtracts the training mean and divides by the training standard deviation.

    ``(x - mean) / std``, with one mean and one standard deviation (of the population) per feature
    (last axis), or per channel of images ``[N, C, H, W]``; a constant feature is only centred.
    ``[N, ...]`` of any real dtype becomes ``[N, ...]`` float32. A table's columns are found by
    name, in any order; flat rows of as many numbers are reshaped.

    Raises:
        DataError: rows of another size, missing columns, text, NaN or infinite values.
    """

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()
        self._shape: tuple[int, ...] = ()
        self._mean: NDArray[np.float32] = np.zeros(0, np.float32)
        self._std: NDArray[np.float32] = np.zeros(0, np.float32)

    def fit(self, x: Rows) -> None:
        """Learn means and standard deviations from training rows ``[N, ...]``."""
        self._columns = tuple(map(str, x.columns)) if isinstance(x, pd.DataFrame) else ()
        self._shape = tuple(x.shape[1:])
        values = self._values(x)
        kept = 1 if values.ndim == 4 else values.ndim - 1
        axes = tuple(axis for axis in range(values.ndim) if axis != kept)
        shape = tuple(size if axis == kept else 1 for axis, size in enumerate(values.shape))
        count = values.size // int(np.prod(shape))
        mean, variance = np.zeros(shape), np.zeros(shape)
        for chunk in _chunks(values):
            mean += chunk.sum(axis=axes, keepdims=True) / count
        for chunk in _chunks(values):
            variance += np.square(chunk - mean).sum(axis=axes, keepdims=True) / count
        std = np.sqrt(variance)
        varies = std > np.finfo(np.float32).eps * np.abs(mean)  # else float32 holds one value
        self._mean = mean.astype(np.float32)
        self._std = np.where(varies, std, 1.0).astype(np.float32)

    def transform(self, x: Rows) -> Tensor:
        """Map ``N`` rows to ``[N, *input_shape]`` float32."""
        values = np.array(self._values(x), dtype=np.float32)
        values -= self._mean
        values /= self._std
        return torch.from_numpy(values)

    def _values(self, x: Rows) -> NDArray[Any]:
        if isinstance(x, pd.DataFrame):
            if self._columns:
                missing = [name for name in self._columns if name not in x.columns]
                if missing:
                    raise DataError(
                        f"the rows lack the columns {', '.join(map(repr, missing))}; give each row "
                        f"all {len(self._columns)} features by name"
                    )
                x = x[list(self._columns)]
            x = x.to_numpy()
        values = np.asarray(x)
        if values.dtype.kind not in "biuf":
            raise DataError(f"the rows must hold numbers only; got values of dtype {values.dtype}")
        size = int(np.prod(self._shape))
        if values.ndim == 0 or not self._fits(values.shape[1:]):
            raise DataError(
                f"each row must hold {size} numbers of shape {list(self._shape)}; got rows of "
                f"shape {list(values.shape[1:])}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            broken = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            raise DataError(
                f"the rows must hold finite numbers; {int(broken.sum())} of {len(values)} rows "
                f"hold NaN or infinity, first row {int(broken.argmax())}: fill or remove them"
            )
        return values.reshape(len(values), *self._shape)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether rows have the training's shape, up to axes of length 1, or are flat."""
        own = [size for size in self._shape if size != 1]
        return [size for size in shape if size != 1] == own or shape == (int(np.prod(self._shape)),)

    def save(self, path: Path) -> None:
        """Write the fitted state to the file ``path`` as JSON."""
        state = {
            "columns": self._columns,
            "shape": self._shape,
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
        }
        path.write_text(json.dumps(state), encoding="utf-8")

    def restore(self, path: Path) -> None:
        """Read the state that ``save`` wrote."""
        state = json.loads(path.read_text(encoding="utf-8"))
        self._columns = tuple(state["columns"])
        self._shape = tuple(state["shape"])
        self._mean = np.array(state["mean"], np.float32)
        self._std = np.array(state["std"], np.float32)

    def facts(self) -> Mapping[str, Any]:
        """Names of the table's columns; nothing for arrays."""
        return {"feature_names": self._columns} if self._columns else {}

    def invert(self, x: Tensor) -> Rows:
        """Map ``x[N, ...]`` back to the data's units: ``x * std + mean``, float32."""
        values: NDArray[np.float32] = x.detach().cpu().float().numpy() * self._std + self._mean
        if self._columns and values.ndim == 2:
            return pd.DataFrame(values, columns=list(self._columns))
        return values


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK].astype(np.float64)
