"""What a data component must do."""

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dlframe.errors import DataError
from dlframe.interfaces import Data, DataOptions, Examples, Preprocessor, Rows, Spec
from dlframe.plugin import registry
from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require, skip
from dlframe.training.build import build_data
from dlframe.training.splits import Splits, load_splits

__all__ = ["CHECKS"]

_AXES = {"features": 1, "image": 3, "sequence": 2, "tokens": 1}


def _make(case: Case) -> tuple[Data, DataOptions]:
    data, options = build_data({"data": case.node(batch_size="all")})
    require(isinstance(data, Data), f"{type(data).__name__} does not derive from Data")
    return data, options


def _load(case: Case) -> tuple[Data, Examples]:
    """Load the examples; files that are not there are no fault of the component."""
    data, _ = _make(case)
    try:
        return data, data.load()
    except DataError as error:
        skip(f"its data is not here ({error}); point `options` to it")


def _rows(x: Rows, count: int) -> Rows:
    return x.iloc[:count] if isinstance(x, pd.DataFrame) else x[:count]


def constructs(case: Case) -> None:
    """It is built from its options, drawing no random numbers and opening no file."""
    data, _ = _make(case)
    draws_nothing(lambda: _make(case))
    promised = case.entry.component.inputs
    require(
        not promised or data.input in promised,
        f"its descriptor promises {', '.join(promised)} inputs; it gives {data.input}",
    )


def examples_are_consistent(case: Case) -> None:
    """Inputs, targets and names fit each other, and the task is one that the descriptor names."""
    _, examples = _load(case)
    count = len(examples.x)
    promised = case.entry.component.tasks
    require(count > 0, "it gives no examples")
    if examples.y is not None or examples.task:
        require(registry().knows("task", examples.task), f"there is no task {examples.task!r}")
    require(
        not promised or examples.task in promised,
        f"its descriptor promises {', '.join(promised)}; the examples are for {examples.task}",
    )
    if examples.y is not None:
        require(len(examples.y) == count, f"{count} inputs have {len(examples.y)} targets")
        if examples.task == "classification":
            require(
                examples.y.dtype == np.int64, f"class indices are {examples.y.dtype}, not int64"
            )
            names = len(examples.class_names)
            require(
                not names or int(examples.y.max()) < names,
                f"class {int(examples.y.max())} has no name: there are {names}",
            )
    for part, rows in (("test", examples.test), ("validation", examples.val)):
        if rows is not None:
            require(len(np.unique(rows)) == len(rows), f"the fixed {part} part names a row twice")
            require(
                bool(((rows >= 0) & (rows < count)).all()),
                f"the {part} part names rows that are not",
            )
    if examples.spans is not None:
        require(examples.spans.shape == (count, 2), "spans of time must be [N, 2]")


def loading_is_deterministic(case: Case) -> None:
    """Loading twice gives the same examples, whatever the seed of the process."""
    _, first = _load(case)
    torch.manual_seed(1)
    np.random.seed(1)
    _, second = _load(case)
    same = np.array_equal(np.asarray(first.x), np.asarray(second.x)) or pd.DataFrame(
        np.asarray(first.x).reshape(len(first.x), -1)
    ).equals(pd.DataFrame(np.asarray(second.x).reshape(len(second.x), -1)))
    require(same, "loading twice gives other inputs")
    if first.y is not None:
        require(np.array_equal(first.y, np.asarray(second.y)), "loading twice gives other targets")


def preprocesses(case: Case) -> None:
    """A fitted preprocessor gives tensors of the promised kind, also for a single row."""
    data, examples = _load(case)
    fitted = _fitted(data, examples)
    few = _rows(examples.x, 50)
    x = fitted.transform(few)
    wanted = torch.int64 if data.input == "tokens" else torch.float32
    require(x.dtype == wanted, f"it gives {x.dtype}, not {wanted}")
    require(len(x) == len(few), f"{len(few)} rows become {len(x)}")
    require(
        x.ndim == 1 + _AXES[data.input],
        f"{data.input} has {_AXES[data.input]} axes for each example; it gives {list(x.shape[1:])}",
    )
    require(bool(torch.isfinite(x).all()), "it gives values that are not finite")
    single = fitted.transform(_rows(few, 1))
    require(torch.allclose(single[0], x[0]), "a row's result depends on the rows beside it")
    facts = fitted.facts()
    unknown = ", ".join(sorted(set(facts) - {field.name for field in fields(Spec)}))
    require(not unknown, f"its preprocessor knows facts that no spec has: {unknown}")
    names, groups = facts.get("feature_names", ()), facts.get("feature_groups", ())
    require(not names or len(names) == x.shape[1], f"{x.shape[1]} columns have {len(names)} names")
    require(
        not groups or sum(groups) == x.shape[1], f"{x.shape[1]} columns, {sum(groups)} in groups"
    )
    if data.input == "tokens":
        size = facts.get("vocabulary_size", 0)
        require(0 <= int(x.min()) <= int(x.max()) < size, f"tokens must be from 0 to {size - 1}")


def _fitted(data: Data, examples: Examples) -> Preprocessor:
    preprocessor = data.preprocessor()
    require(preprocessor is not data.preprocessor(), "preprocessor() must make a new one each time")
    preprocessor.fit(_rows(examples.x, max(2, len(examples.x) // 2)))
    return preprocessor


def preprocessor_survives_a_file(case: Case) -> None:
    """A new preprocessor that restores what another saved transforms alike."""
    data, examples = _load(case)
    fitted, restored = _fitted(data, examples), data.preprocessor()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preprocessor"
        fitted.save(path)
        require(path.is_file(), "save() does not write the file at the path it is given")
        restored.restore(path)
    few = _rows(examples.x, 50)
    require(
        torch.equal(fitted.transform(few), restored.transform(few)),
        "the restored preprocessor transforms otherwise",
    )


def splits(case: Case) -> None:
    """Training, validation and test parts share no row, and a split can be repeated."""
    first, second = _splits(case), _splits(case)
    rows = [set(part.rows.tolist()) for part in (first.train, first.val, first.test)]
    require(all(rows), "a part is empty")
    require(
        not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2]), "the parts share rows"
    )
    require(torch.equal(first.train.x, second.train.x), "the same split seed gives another split")
    fingerprints = {found.summary["fingerprint"] for found in (first, second)}
    require(len(fingerprints) == 1, "the same data has two fingerprints")


def _splits(case: Case) -> Splits:
    _, examples = _load(case)
    data, options = _make(case)
    unsupervised = not examples.task  # then the targets are none
    if examples.task:
        entry = registry().find("task", examples.task)
        unsupervised = "unsupervised" in entry.component.tags
    return load_splits(data, options, examples.task, unsupervised=unsupervised)


CHECKS = (
    constructs,
    examples_are_consistent,
    loading_is_deterministic,
    preprocesses,
    preprocessor_survives_a_file,
    splits,
)
