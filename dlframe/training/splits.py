"""From a data component to the tensors of the training, validation and test parts."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlframe.errors import DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import DataOptions
from dlframe.interfaces.spec import Spec

__all__ = ["Part", "Splits", "load_splits"]

Indices = NDArray[np.int64]
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the data as tensors.

    Args:
        x: inputs ``[N, *input_shape]``, float32 (int64 for tokens).
        y: class indices ``[N]`` int64; labels ``[N, L]`` or values ``[N, T]`` float32, in the
            data's units; zeros ``[N]`` int64 where the task uses no labels.
        rows: the examples' row numbers in what ``Data.load`` gave, ascending.
    """

    x: Tensor
    y: Tensor
    rows: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A data set, split and preprocessed.

    Args:
        train: what the model and the preprocessor learn from.
        val: what picks the best checkpoint.
        test: what the final metrics are of.
        preprocessor: fitted on the training part.
        spec: what the training part says of itself.
        summary: what is recorded with the run, as plain values: sizes, seed, examples per class,
            and ``fingerprint``, the SHA-256 of all raw inputs and targets.
        example: a few raw rows of the test part, to show what the model takes.
    """

    train: Part
    val: Part
    test: Part
    preprocessor: Preprocessor
    spec: Spec
    summary: dict[str, Any]
    example: Rows


@dataclass(frozen=True, slots=True)
class _Targets:
    """Checked targets ``y`` of all rows; ``kind`` says which of the four forms they have."""

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


def load_splits(data: Data, options: DataOptions, task: str, *, unsupervised: bool) -> Splits:
    """Load the examples, split them, fit the preprocessor on the training part and transform all.

    The split depends on the examples' number and classes, ``options.split_seed``, the fractions and
    ``options.limit`` only. A fixed test part stays as it is.

    Args:
        data: the data component.
        options: how to split.
        task: short name of the task; ``auto`` takes the one that the targets are for.
        unsupervised: whether the task uses no labels; targets are then neither read nor checked.

    Raises:
        DataError: the targets do not fit the task, a part would be empty, or a class too rare.
    """
    examples = data.load()
    task = examples.task if task == "auto" else task
    targets = _check_targets(examples, task, unsupervised)
    train, val, test = _split(len(examples.x), examples.test, targets, options)
    _check_training_part(targets, train, val, test, options)
    preprocessor = data.preprocessor()
    preprocessor.fit(_take(examples.x, train))
    parts = {
        name: Part(preprocessor.transform(_take(examples.x, rows)), _tensor(targets, rows), rows)
        for name, rows in (("train", train), ("val", val), ("test", test))
    }
    summary = {
        "sizes": {name: len(part.rows) for name, part in parts.items()},
        "split_seed": options.split_seed,
        "stratified": options.stratify and targets.kind == "classes",
        "fixed_test": examples.test is not None,
        "class_counts": {
            name: dict(zip(targets.names, targets.counts(part.rows), strict=True))
            for name, part in parts.items()
        },
        "fingerprint": _fingerprint(examples),
    }
    spec = _spec(data, examples, targets, parts["train"], preprocessor, task, options)
    example = _take(examples.x, test[:_EXAMPLES])
    return Splits(**parts, preprocessor=preprocessor, spec=spec, summary=summary, example=example)


def _spec(
    data: Data,
    examples: Examples,
    targets: _Targets,
    train: Part,
    preprocessor: Preprocessor,
    task: str,
    options: DataOptions,
) -> Spec:
    shape = tuple(train.x.shape[1:])
    sizes = {"classes": len(targets.names), "none": math.prod(shape)}
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    if targets.kind == "values" and options.scale_target:
        y = targets.y[train.rows]
        mean, scale = tuple(y.mean(axis=0).tolist()), tuple(y.std(axis=0).tolist())
    names = preprocessor.feature_names() or examples.feature_names
    return Spec(
        input=data.input,
        input_shape=shape,
        output_size=sizes.get(targets.kind) or targets.y.shape[1],
        task=task,
        class_names=targets.names,
        class_counts=targets.counts(train.rows),
        feature_names=names if shape == (len(names),) else (),
        target_names=() if targets.kind == "none" else examples.target_names,
        target_mean=mean,
        target_scale=scale,
    )


def _check_targets(examples: Examples, task: str, unsupervised: bool) -> _Targets:
    """Bring the targets into one of the forms that tasks know, or say why they do not fit."""
    count = len(examples.x)
    if not count:
        raise DataError("the data holds no examples; check the files and options of the data")
    if unsupervised:
        return _Targets(np.zeros(count, np.int64), "none", ())
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


def _check_classes(y: NDArray[Any], examples: Examples) -> _Targets:
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
    return _Targets(y.astype(np.int64), "classes", names)


def _check_labels(y: NDArray[Any], examples: Examples) -> _Targets:
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
    return _Targets(y.astype(np.float32), "labels", names)


def _check_values(y: NDArray[np.float64], examples: Examples) -> _Targets:
    names = examples.target_names or tuple(map(str, range(y.shape[1])))
    for index, name in enumerate(names):
        if (y[:, index] == y[0, index]).all():
            raise DataError(
                f"regression needs a target that varies; {name!r} is {y[0, index]:g} in all "
                f"{len(y)} rows: choose another target"
            )
    return _Targets(y, "values", ())


def _split(
    count: int, fixed_test: Indices | None, targets: _Targets, options: DataOptions
) -> tuple[Indices, Indices, Indices]:
    """Return the row numbers of the training, validation and test parts, each ascending."""
    rest = np.arange(count)
    seed = options.split_seed
    labels = targets.y if targets.kind == "classes" and options.stratify else None
    if fixed_test is not None:
        test = np.sort(fixed_test)
        rest = np.setdiff1d(rest, test)
    if options.limit is not None and options.limit < count:
        if fixed_test is None:
            rest = _draw(rest, options.limit, labels, seed)[0]
        else:
            kept = round(options.limit * len(test) / count)
            test = _draw(test, kept, labels, seed)[0]
            rest = _draw(rest, options.limit - kept, labels, seed)[0]
    fractions: Mapping[str, float] = {"data.validation": options.validation}
    if fixed_test is None:
        fractions = {"data.test": options.test, **fractions}
        held_out = math.ceil(options.test * len(rest))
        _check_sizes(rest, held_out, labels, targets.names, fractions, parts=3)
        test, rest = _draw(rest, held_out, labels, seed)
    held_out = math.ceil(options.validation * len(rest))
    _check_sizes(rest, held_out, labels, targets.names, fractions, parts=2)
    val, train = _draw(rest, held_out, labels, seed)
    if not len(test):
        raise DataError("the test part is empty; raise data.limit")
    return train, val, test


def _check_sizes(
    rows: Indices,
    held_out: int,
    labels: Indices | None,
    names: tuple[str, ...],
    fractions: Mapping[str, float],
    *,
    parts: int,
) -> None:
    """Refuse a split that leaves a part empty or, if stratified, a class without example."""
    chosen = " and ".join(f"{option}={value:g}" for option, value in fractions.items())
    if not 0 < held_out <= len(rows) - (parts - 1):
        raise DataError(
            f"{len(rows)} examples are too few for {parts} parts with {chosen}; add examples, "
            "raise data.limit, or change the fractions"
        )
    if labels is None:
        return
    classes, counts = np.unique(labels[rows], return_counts=True)
    rarest = int(counts.argmin())
    if counts[rarest] < parts:
        name, number = names[classes[rarest]], int(counts[rarest])
        raise DataError(
            f"each class needs an example in each of {parts} parts; {name!r} has "
            f"{'a single example' if number == 1 else f'{number} examples'}: add more, leave the "
            "class out, or set data.stratify=false"
        )
    if held_out < len(classes):
        raise DataError(
            f"a stratified part needs an example of each of {len(classes)} classes; {len(rows)} "
            f"examples with {chosen} give it {held_out}: raise the fraction or data.limit, or set "
            "data.stratify=false"
        )


def _draw(rows: Indices, count: int, labels: Indices | None, seed: int) -> tuple[Indices, Indices]:
    """Draw ``count`` rows at random and return them and the others, both ascending."""
    # Scikit-learn takes most of a second to import; commands that load no data save it.
    from sklearn.model_selection import train_test_split

    if count in (0, len(rows)):
        return rows[:count], rows[count:]
    strata = None if labels is None else labels[rows]
    if strata is not None:
        sizes = np.unique(strata, return_counts=True)[1]
        if sizes.min() < 2 or min(count, len(rows) - count) < len(sizes):
            strata = None  # too few to draw, or to leave, one of each class
    drawn, others = train_test_split(rows, train_size=count, random_state=seed, stratify=strata)
    return np.sort(drawn), np.sort(others)


def _check_training_part(
    targets: _Targets, train: Indices, val: Indices, test: Indices, options: DataOptions
) -> None:
    if options.batch_size != "all" and options.batch_size > len(train):
        raise DataError(
            f"data.batch_size must not exceed the {len(train)} training examples; got "
            f"{options.batch_size}: lower it, or set data.batch_size=all"
        )
    if targets.kind == "classes":
        unseen = np.setdiff1d(targets.y[np.concatenate([val, test])], targets.y[train])
        if len(unseen):
            raise DataError(
                f"each class needs a training example; {targets.names[int(unseen[0])]!r} has none: "
                "add examples of the class, leave it out, or change data.split_seed"
            )
    if targets.kind == "values" and (targets.y[train].std(axis=0) == 0).any():
        raise DataError(
            f"regression needs a target that varies; it is constant in the {len(train)} training "
            "examples: add examples, or change data.split_seed"
        )


def _take(x: Rows, rows: Indices) -> Rows:
    if isinstance(x, pd.DataFrame):
        return x.iloc[rows].reset_index(drop=True)
    return x[rows]


def _tensor(targets: _Targets, rows: Indices) -> Tensor:
    y = targets.y[rows]
    return torch.from_numpy(y if targets.kind in ("classes", "none") else y.astype(np.float32))


def _fingerprint(examples: Examples) -> str:
    """SHA-256 over the raw inputs and targets, with their shapes, types and column names."""
    digest = hashlib.sha256()
    arrays = [] if examples.y is None else [np.asarray(examples.y)]
    if isinstance(examples.x, pd.DataFrame):
        for name, dtype in examples.x.dtypes.items():
            digest.update(f"{name}:{dtype};".encode())
        arrays.append(pd.util.hash_pandas_object(examples.x, index=False).to_numpy())
    else:
        arrays.append(examples.x)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
