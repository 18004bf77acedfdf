"""What the target columns of a table ask for, and their values as arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.columns import as_numbers, as_texts
from dlframe.errors import DataError

__all__ = ["Targets", "encode_targets"]

_FEW_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken for classes."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Encoded targets.

    Args:
        y: class indices ``[N]`` int64, labels ``[N, L]`` float32 of 0/1, or values ``[N, T]``
            float64.
        task: ``classification``, ``multilabel`` or ``regression``.
        class_names: names of the classes (sorted) or labels (the columns); empty for regression.
    """

    y: NDArray[Any]
    task: str
    class_names: tuple[str, ...]


def encode_targets(columns: pd.DataFrame, task: str) -> Targets:
    """Turn one or more target columns without missing values into what the task needs.

    Args:
        columns: the targets ``[N, T]``.
        task: one of the three tasks, or ``auto``. One column of strings, of booleans, or of whole
            numbers with at most 20 distinct values: ``classification``; of other numbers:
            ``regression``. Several columns of 0 and 1: ``multilabel``; of other numbers:
            ``regression``.

    Raises:
        DataError: the columns do not fit the task.
    """
    if task == "auto":
        task = _infer(columns)
    if task == "classification":
        if columns.shape[1] > 1:
            raise DataError(
                f"classification needs one target column; got {', '.join(map(repr, columns))}: "
                "name one as data.target, or set data.task=multilabel for columns of 0 and 1"
            )
        return _classes(columns.iloc[:, 0])
    values = np.stack([as_numbers(columns[name]) for name in columns], axis=1)
    if task == "regression":
        return Targets(values, task, ())
    for index, name in enumerate(columns):
        if not np.isin(values[:, index], (0, 1)).all():
            raise DataError(
                f"multilabel targets must be 0 or 1; the column {name!r} holds other values: leave "
                "it out of data.target, or set data.task=regression"
            )
    return Targets(values.astype(np.float32), task, tuple(map(str, columns)))


def _infer(columns: pd.DataFrame) -> str:
    if columns.shape[1] > 1:
        values = np.stack([as_numbers(columns[name]) for name in columns], axis=1)
        return "multilabel" if np.isin(values, (0, 1)).all() else "regression"
    column = columns.iloc[:, 0]
    if not pd.api.types.is_numeric_dtype(column):
        texts = column.astype(object)
        numbers = pd.to_numeric(texts, errors="coerce").notna()
        if numbers.any() and not numbers.all():
            raise DataError(
                f"the target {column.name!r} mixes {int(numbers.sum())} numbers and "
                f"{int((~numbers).sum())} texts (first text {texts[~numbers].iloc[0]!r}); correct "
                "the file, or set data.task=classification to take each distinct value as a class"
            )
        return "classification"
    values = as_numbers(column)
    whole = (values == np.floor(values)).all()
    return "classification" if whole and column.nunique() <= _FEW_CLASSES else "regression"


def _classes(column: pd.Series) -> Targets:
    texts = as_texts(column)
    codes, names = pd.factorize(texts, sort=True)
    numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numbers:  # classes 2 and 10 in the order of numbers
        order = np.argsort(names.astype(np.float64), kind="stable")
        codes, names = np.argsort(order)[codes], names[order]
    return Targets(codes.astype(np.int64), "classification", tuple(map(str, names)))
