"""Targets brought into one of the forms that tasks know, or refused with the reason."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlframe.errors import DataError
from dlframe.interfaces.data import Examples

__all__ = ["Indices", "Targets", "check_targets"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Targets:
    """Checked targets of all rows.

    Args:
        y: class indices ``[N]`` int64, labels ``[N, L]`` float32, values ``[N, T]`` float64, or zeros
            ``[N]`` int64.
        kind: which of the four forms they have.
        names: of the classes or labels.
    """

    y: NDArray[Any]
    kind: Literal["classes", "labels", "values", "none"]
    names: tuple[str, ...]

    def counts(self, rows: Indices) -> tuple[int, ...]:
        """Examples per class or label among ``rows``."""
        if self.kind == "classes":
            return tuple(np.bincount(self.y[rows], minlength=len(self.names)).tolist())
        if self.kind == "labels":
            return tuple(map(int, self.y[rows].sum(axis=0)))
        return ()

    def tensor(self, rows: Indices) -> Tensor:
        """Return the targets of ``rows``: int64 for classes, else float32."""
        y = self.y[rows]
        return torch.from_numpy(y if self.kind in ("classes", "none") else y.astype(np.float32))


def check_targets(examples: Examples, task: str, unsupervised: bool) -> Targets:
    """Bring the targets into one of the forms that tasks know, or say why they do not fit."""
    count = len(examples.x)
    if not count:
        raise DataError("the data holds no examples; check the files and options of the data")
    if unsupervised:
        return Targets(np.zeros(count, np.int64), "none", ())
    if examples.y is None:
        raise DataError(
            "a task with labels needs targets and the data has none; name the target column "
            "(data.target), or select a task without labels"
        )
    # A task from elsewhere may read any targets; these three mean one form each.
    if task != examples.task and task in ("classification", "multilabel", "regression"):
        names = ", ".join(map(repr, examples.target_names)) or "unnamed"
        raise DataError(
            f"the data holds {examples.task} targets ({names}) and the task {task!r} cannot use "
            f"them; select task={examples.task}, or, for a table whose targets can be read both ways, "
            f"data.task={task}"
        )
    y = np.asarray(examples.y)
    if len(y) != count:
        raise DataError(f"each row needs one target; got {count} rows and {len(y)} targets")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        broken = int((~np.isfinite(y.reshape(count, -1))).any(axis=1).sum())
        raise DataError(
            f"targets must be finite numbers; {broken} of {count} rows hold NaN or infinity: fill "
            "these rows or leave them out"
        )
    if examples.task == "multilabel":
        return _check_labels(y, examples)
    if examples.task == "regression" or y.dtype.kind == "f":
        return _check_values(y.reshape(count, -1).astype(np.float64), examples)
    return _check_classes(y, examples)


def _check_classes(y: NDArray[Any], examples: Examples) -> Targets:
    if y.ndim != 1 or y.dtype.kind not in "biu" or int(y.min()) < 0:
        raise DataError(
            f"classes must be indices from 0 in an array [N] of integers; got {y.dtype} of shape "
            f"{list(y.shape)}"
        )
    present = np.unique(y)
    names = examples.class_names or tuple(map(str, range(int(present[-1]) + 1)))
    if present[-1] >= len(names):
        raise DataError(
            f"each class needs a name; got the index {int(present[-1])} and {len(names)} names"
        )
    if len(present) == 1:
        raise DataError(
            f"classification needs two classes or more; all {len(y)} rows are of the class "
            f"{names[int(present[0])]!r}: check the target column"
        )
    return Targets(y.astype(np.int64), "classes", names)


def _check_labels(y: NDArray[Any], examples: Examples) -> Targets:
    if y.ndim != 2 or not np.isin(y, (0, 1)).all():
        raise DataError(
            f"labels must be 0 or 1 in an array [N, L]; got {y.dtype} of shape {list(y.shape)}"
        )
    names = examples.class_names or examples.target_names or tuple(map(str, range(y.shape[1])))
    for index, name in enumerate(names):
        if (y[:, index] == y[0, index]).all():
            raise DataError(
                f"each label must be both 0 and 1 somewhere; {name!r} is {int(y[0, index])} in all "
                f"{len(y)} rows: leave it out of the targets"
            )
    return Targets(y.astype(np.float32), "labels", names)


def _check_values(y: NDArray[np.float64], examples: Examples) -> Targets:
    names = examples.target_names or tuple(map(str, range(y.shape[1])))
    for index, name in enumerate(names):
        if (y[:, index] == y[0, index]).all():
            raise DataError(
                f"regression needs a target that varies; {name!r} is {y[0, index]:g} in all "
                f"{len(y)} rows: choose another target"
            )
    return Targets(y, "values", ())
