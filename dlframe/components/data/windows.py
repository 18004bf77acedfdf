"""The preprocessor of series: windows of history, scaled channel by channel."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from dlframe.components.data.series import Layout
from dlframe.errors import DataError
from dlframe.interfaces.data import Preprocessor, Rows

__all__ = ["Windows", "windows"]

Floats = NDArray[np.float32]


def windows(values: Floats, size: int) -> Floats:
    """Return all windows ``[n - size + 1, size, D]`` of ``values[n, D]``, as a view of them."""
    return sliding_window_view(values, size, axis=0).transpose(0, 2, 1)


class Windows(Preprocessor):
    """Subtracts each channel's training mean and divides by its training standard deviation.

    ``(x - mean) / std`` over all steps under the training windows, each counted once where the windows
    are views of one series; a constant channel is only centred. ``[N, T, D]`` stays ``[N, T, D]``,
    float32. Windows that overlap in memory do so when scaled as well, so that ``N`` windows of a
    series take no more memory than the series.

    A table of the training file's columns is read as histories, one or more: the last ``T`` steps of
    each series become one window.

    Args:
        layout: what the columns of a table are.
        window: steps of a history, ``T``.
        horizon: steps that are asked for.
        step: the training data's, which a table's must be.
        scaled: whether to scale at all.
    """

    def __init__(
        self, layout: Layout, *, window: int, horizon: int, step: str, scaled: bool
    ) -> None:
        self._layout, self._window, self._horizon = layout, window, horizon
        self._step, self._scaled = step, scaled
        self._mean: Floats = np.zeros(0, np.float32)
        self._std: Floats = np.zeros(0, np.float32)

    def fit(self, x: Rows) -> None:
        """Learn means and standard deviations from training windows ``[N, T, D]``."""
        steps = _steps(np.asarray(x))[0].astype(np.float64)
        if not self._scaled:
            steps = np.zeros((1, steps.shape[1]))
        mean, std = steps.mean(axis=0), steps.std(axis=0)
        varies = std > np.finfo(np.float32).eps * np.abs(mean)  # else float32 holds one value
        self._mean = mean.astype(np.float32)
        self._std = np.where(varies, std, 1.0).astype(np.float32)

    def transform(self, x: Rows) -> Tensor:
        """Map windows ``[N, T, D]``, or a table of histories, to ``[N, T, D]`` float32.

        Raises:
            DataError: the windows have another shape or are not finite; a series is too short, or is
                not what the layout says.
        """
        if isinstance(x, pd.DataFrame):
            x = self._histories(x)
        shape = (self._window, len(self._mean))
        if x.dtype.kind not in "iuf" or x.shape[1:] != shape:
            raise DataError(
                f"each history must hold {shape[0]} steps of {shape[1]} channels, as numbers [N, "
                f"{shape[0]}, {shape[1]}]; got {x.dtype} of shape {list(x.shape)}"
            )
        steps, apart = _steps(x)
        steps = (steps.astype(np.float32) - self._mean) / self._std
        if not np.isfinite(steps).all():
            raise DataError(
                "histories must hold finite numbers; some are NaN or infinite: fill them before"
            )
        along, across = steps.strides
        return torch.from_numpy(as_strided(steps, x.shape, (apart * along, along, across)))

    def _histories(self, table: pd.DataFrame) -> Floats:
        """Return the last window ``[S, T, D]`` of each series of a table."""
        found, _ = self._layout.read(table, self._step)
        for series in found:
            if len(series.values) < self._window:
                which = f"{series.name!r} has" if series.name else "the rows have"
                raise DataError(
                    f"a forecast needs a history of {self._window} steps; {which} "
                    f"{len(series.values)}: add earlier rows"
                )
        return np.stack([series.values[-self._window :] for series in found])

    def save(self, path: Path) -> None:
        """Write the fitted state to the file ``path`` as JSON."""
        state = {"mean": self._mean.tolist(), "std": self._std.tolist(), "step": self._step}
        path.write_text(json.dumps(state), encoding="utf-8")

    def restore(self, path: Path) -> None:
        """Read the state that ``save`` wrote."""
        state = json.loads(path.read_text(encoding="utf-8"))
        self._mean = np.array(state["mean"], np.float32)
        self._std = np.array(state["std"], np.float32)
        self._step = str(state["step"])

    def facts(self) -> Mapping[str, Any]:
        """The horizon; the targets' mean and scale, where channels are scaled, equal for all steps."""
        targets = len(self._layout.targets) if self._scaled else 0
        mean, std = (np.repeat(v[:targets], self._horizon) for v in (self._mean, self._std))
        return {
            "horizon": self._horizon,
            "target_mean": tuple(mean.tolist()),
            "target_scale": tuple(std.tolist()),
        }

    def invert(self, x: Tensor) -> Rows:
        """Map ``x[N, T, D]`` back to the data's units: ``x * std + mean``, float32."""
        values: Floats = x.detach().cpu().float().numpy() * self._std + self._mean
        return values


def _steps(x: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the steps ``[n, D]`` under windows ``[N, T, D]``, and how many a window is from the next.

    Windows that are views of a series share steps; of others each has its own.
    """
    count, size, channels = x.shape
    apart = x.strides[0] // max(x.strides[1], 1)
    if count > 1 and not (0 < apart <= size and apart * x.strides[1] == x.strides[0]):
        x, apart = np.ascontiguousarray(x), size
    apart = apart if count > 1 else size
    shape = ((count - 1) * apart + size, channels)
    return as_strided(x, shape, x.strides[1:], writeable=False), apart
