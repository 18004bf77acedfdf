"""From a data component to the tensors of the training, validation and test parts."""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import DataOptions
from dlframe.interfaces.spec import Spec
from dlframe.training.division import Division, divide
from dlframe.training.targets import Indices, Targets, check_targets

__all__ = ["Part", "Splits", "load_splits"]

_EXAMPLES = 5
_CHUNK = 1024


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
            ``fingerprint``, the SHA-256 of all raw inputs and targets, and the data's ``notes``.
        example: a few raw rows of the test part, to show what the model takes.
    """

    train: Part
    val: Part
    test: Part
    preprocessor: Preprocessor
    spec: Spec
    summary: dict[str, Any]
    example: Rows


def load_splits(data: Data, options: DataOptions, task: str, *, unsupervised: bool) -> Splits:
    """Load the examples, split them, fit the preprocessor on the training part and transform all.

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
    targets = check_targets(examples, task, unsupervised)
    division = divide(examples, targets, options)
    _check_training_part(targets, division, options)
    preprocessor = data.preprocessor()
    preprocessor.fit(_take(examples.x, division.train))
    parts = {
        name: Part(preprocessor.transform(_take(examples.x, rows)), targets.tensor(rows), rows)
        for name, rows in division._asdict().items()
    }
    summary = {
        "sizes": {name: len(part.rows) for name, part in parts.items()},
        "split_seed": options.split_seed,
        "stratified": options.stratify and targets.kind == "classes" and examples.spans is None,
        "in_time": examples.spans is not None,
        "folds": options.folds,
        "fold": options.fold,
        "fixed_test": examples.test is not None,
        "class_counts": {
            name: dict(zip(targets.names, targets.counts(part.rows), strict=True))
            for name, part in parts.items()
        },
        "fingerprint": _fingerprint(examples),
        **({"notes": dict(examples.notes)} if examples.notes else {}),
    }
    spec = _spec(data, examples, targets, parts["train"], preprocessor, task, options)
    example = _take(examples.x, division.test[:_EXAMPLES])
    return Splits(**parts, preprocessor=preprocessor, spec=spec, summary=summary, example=example)


def _spec(
    data: Data,
    examples: Examples,
    targets: Targets,
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
    spec = Spec(
        input=data.input,
        input_shape=shape,
        output_size=sizes.get(targets.kind) or targets.y.shape[1],
        task=task,
        class_names=targets.names,
        class_counts=targets.counts(train.rows),
        feature_names=examples.feature_names if shape == (len(examples.feature_names),) else (),
        target_names=() if targets.kind == "none" else examples.target_names,
        target_mean=mean,
        target_scale=scale,
    )
    facts = preprocessor.facts()
    if facts.get("target_scale") and not options.scale_target:
        raise ConfigError(
            "data.scale_target=false is not for data that scales inputs and targets alike; leave it "
            "out, or set data.scaling=none"
        )
    return replace(spec, **facts)


def _check_training_part(targets: Targets, division: Division, options: DataOptions) -> None:
    train = division.train
    if options.batch_size != "all" and options.batch_size > len(train):
        raise DataError(
            f"data.batch_size must not exceed the {len(train)} training examples; got "
            f"{options.batch_size}: lower it, or set data.batch_size=all"
        )
    if targets.kind == "classes":
        asked = np.concatenate([division.val, division.test])
        unseen = np.setdiff1d(targets.y[asked], targets.y[train])
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
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return x[rows[0] : rows[-1] + 1]  # in a row, as in order of time: a view
    return x[rows]


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
        for start in range(0, len(array), _CHUNK):  # windows share memory that a copy would not
            digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
    return digest.hexdigest()
