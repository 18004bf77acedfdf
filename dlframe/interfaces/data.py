"""Data: where examples come from, and how raw values become tensors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dlframe.errors import DataError
from dlframe.interfaces.spec import InputKind

__all__ = ["Data", "Examples", "Preprocessor", "Rows"]

Rows = NDArray[Any] | pd.DataFrame
"""Raw inputs: one row (or first index) per example."""


@dataclass(kw_only=True)
class Examples:
    """Raw examples in memory, before splitting and preprocessing.

    Args:
        x: inputs, one row per example.
        y: targets: class indices ``[N]`` int64, labels ``[N, L]`` of 0/1, or values ``[N]`` or
            ``[N, T]`` float; None where there are none.
        task: short name of the task that the targets are for; empty where there are none.
        class_names: names of classes or labels, in the order of their indices.
        feature_names: names of the inputs' columns.
        target_names: names of the targets' columns.
        test: row numbers of a fixed test part; None lets dlframe draw one.
        val: row numbers of a fixed validation part, likewise.
        spans: first and last moment ``[N, 2]`` of what each example asks for, as whole numbers that
            grow with time; the parts then follow each other in time. None where the order of the
            examples means nothing.
        notes: what reading them found that is worth a record, such as files left out; plain values.
    """

    x: Rows
    y: NDArray[Any] | None
    task: str
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    test: NDArray[np.int64] | None = None
    val: NDArray[np.int64] | None = None
    spans: NDArray[np.int64] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


class Preprocessor(ABC):
    """Turns raw rows into tensors; fitted on the training part only, stored with the run."""

    @abstractmethod
    def fit(self, x: Rows) -> None:
        """Learn what the transformation needs (means, categories) from training rows."""

    @abstractmethod
    def transform(self, x: Rows) -> Tensor:
        """Map ``N`` raw rows to ``[N, *input_shape]`` float32 (int64 for tokens).

        Raises:
            DataError: the rows cannot be transformed, for instance for want of a column.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the fitted state to the file ``path``, without pickle."""

    @abstractmethod
    def restore(self, path: Path) -> None:
        """Read the state that ``save`` wrote."""

    def columns(self) -> tuple[str, ...]:
        """Names of the raw columns that ``transform`` reads; empty where it takes all, or arrays."""
        return ()

    def facts(self) -> Mapping[str, Any]:
        """Fields of ``Spec`` that only the fitted preprocessor knows, by their names.

        ``feature_names`` and ``feature_groups`` of transformed columns, ``vocabulary_size`` of tokens,
        ``target_mean`` and ``target_scale`` where targets are scaled as the inputs are.
        """
        return {}

    def invert(self, x: Tensor) -> Rows:
        """Map tensors ``[N, *input_shape]`` back to raw rows, as far as that is possible.

        The default returns the numbers as they are.
        """
        values: NDArray[Any] = x.detach().cpu().numpy()
        return values


class Data(ABC):
    """A data set, or a reader of the user's files.

    All parameters of the constructor are options; dlframe adds those of ``DataOptions`` (batch size,
    splits) itself. The constructor must be cheap: files are opened in ``load``.

    Attributes:
        input: the kind of input it gives.

    Example:
        >>> from dlframe.components.data.standardize import Standardize
        >>> class Xor(Data):
        ...     input = "features"
        ...     def load(self):
        ...         x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 50, dtype=np.float32)
        ...         y = x.sum(1).astype(np.int64) % 2
        ...         return Examples(x=x, y=y, task="classification", class_names=("0", "1"))
        ...     def preprocessor(self):
        ...         return Standardize()
    """

    input: InputKind = "features"

    @abstractmethod
    def load(self) -> Examples:
        """Read all examples.

        Raises:
            DataError: files are missing, broken or not what the options say.
        """

    @abstractmethod
    def preprocessor(self) -> Preprocessor:
        """Return a new, unfitted preprocessor."""

    def read(self, path: Path) -> Rows:
        """Read rows to predict from a file of the user's.

        The default reads ``.npy``, and ``.csv`` or ``.parquet`` with one column per feature.

        Raises:
            DataError: the file is missing or of another format.
        """
        if not path.is_file():
            raise DataError(f"no file is at {str(path)!r}; give the path of the rows to predict")
        if path.suffix == ".npy":
            try:
                rows: NDArray[Any] = np.load(path, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise DataError(
                    f"{str(path)!r} holds no plain array of numbers; write one with numpy.save"
                ) from error
            return rows
        if path.suffix == ".csv":
            return pd.read_csv(path)
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        raise DataError(f"rows to predict must be .npy, .csv or .parquet; got {path.name!r}")

    def present(self, rows: Rows, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return predictions as the table that users get.

        The default returns them as they are; data whose rows have names or stamps may add them.

        Args:
            rows: what was predicted, as ``read`` gives it.
            predictions: named columns, one row for each of the preprocessed rows.
        """
        return predictions
