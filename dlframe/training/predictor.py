"""A trained model, rebuilt from its run, that takes raw rows and gives predictions in their units."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dlframe.errors import DataError, DlframeError
from dlframe.interfaces import Rows
from dlframe.training.prepare import Rebuilt, rebuild

__all__ = ["Predictor"]

_ROWS = 1024


class Predictor:
    """A trained network with its preprocessing.

    Args:
        parts: what ``rebuild`` gives.

    Attributes:
        config: the run's config.
        spec: what the data said of itself.
        network: the network, in evaluation mode, on the CPU.

    Example:
        >>> model = dlframe.load("20261121-093412-k3x9")
        >>> model.predict(rows)
        array(['3', '8'], dtype='<U1')
    """

    def __init__(self, parts: Rebuilt) -> None:
        self._parts = parts
        self.config, self.spec, self.network = parts.config, parts.spec, parts.network

    @classmethod
    def from_folder(cls, folder: Path) -> "Predictor":
        """Rebuild the model from a run's folder.

        Raises:
            RunNotFoundError: the folder lacks the config or the weights.
        """
        return cls(rebuild(folder))

    def read(self, path: Path) -> Rows:
        """Read rows to predict from a file, as the run's data component reads them.

        Raises:
            DataError: the file is missing or broken.
        """
        try:
            return self._parts.data.read(path)
        except DlframeError:
            raise
        except Exception as error:  # every format has errors of its own
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"the rows of {str(path)!r} cannot be read: {said}") from error

    def outputs(self, x: Rows | ArrayLike) -> Tensor:
        """Return the task's predictions for raw rows: class probabilities ``[N, C]``, or values.

        Args:
            x: rows as the data component gives them, before preprocessing.

        Raises:
            DataError: the rows do not have the shape or the columns that the model was trained on.
        """
        rows = x if isinstance(x, (np.ndarray, pd.DataFrame)) else np.asarray(x)
        if self._parts.task.from_noise:
            inputs = torch.as_tensor(np.asarray(rows, dtype=np.float32))
            shape: tuple[int, ...] = (self._latent_size(),)
        else:
            inputs, shape = self._parts.preprocessor.transform(rows), self.spec.input_shape
        if tuple(inputs.shape[1:]) != tuple(shape):
            raise DataError(
                f"rows to predict must have the shape {list(shape)}; got {list(inputs.shape[1:])}"
            )
        with torch.inference_mode():
            found = [
                self._parts.task.predict(self.network, part) for part in torch.split(inputs, _ROWS)
            ]
        return torch.cat(found)

    def sample(self, count: int, *, seed: int = 0) -> NDArray[Any]:
        """Return ``count`` samples of a generative model, in the data's units.

        Raises:
            DataError: the model does not generate from noise.
        """
        return self.predict(self.noise(count, seed=seed))

    def noise(self, count: int, *, seed: int = 0) -> NDArray[Any]:
        """Return standard normal rows ``[count, latent_size]`` for a generative model."""
        shape = (count, self._latent_size())
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()

    def _latent_size(self) -> int:
        if not self._parts.task.from_noise:
            raise DataError(
                f"only generative models sample; this one's task is {self.spec.task}, use predict"
            )
        size: int = self.network.latent_size  # type: ignore[assignment]
        return size

    def predict_frame(self, x: Rows | ArrayLike) -> pd.DataFrame:
        """Return predictions as a table with named columns.

        One row per input row, unless the data component presents them otherwise.
        """
        outputs = self.outputs(x)
        if self._parts.task.makes_inputs:
            rows = self._parts.preprocessor.invert(outputs)
            if isinstance(rows, pd.DataFrame):
                return rows
            outputs = torch.from_numpy(rows)
        table = pd.DataFrame(dict(self._parts.task.columns(outputs)))
        rows = x if isinstance(x, (np.ndarray, pd.DataFrame)) else np.asarray(x)
        return self._parts.data.present(rows, table)

    def predict(self, x: Rows | ArrayLike) -> NDArray[Any]:
        """Return predictions: class names ``[N]``, values ``[N]`` or ``[N, T]``, or what was made.

        What a model makes, such as reconstructions, is in the data's units: ``[N, *input_shape]``, or
        the columns of a table.
        """
        outputs = self.outputs(x)
        if self._parts.task.makes_inputs:
            return np.asarray(self._parts.preprocessor.invert(outputs))
        if self.spec.class_names and "prediction" in (columns := self._parts.task.columns(outputs)):
            return np.asarray(columns["prediction"])
        values = outputs.numpy()
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
