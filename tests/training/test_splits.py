"""Splits: sizes, determinism, no leakage, what the spec says, and every refusal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dlframe.components.data.bundled import breast_cancer, diabetes, digits, iris
from dlframe.components.data.mnist import mnist
from dlframe.components.data.standardize import Standardize
from dlframe.components.data.table import Csv
from dlframe.errors import DataError
from dlframe.interfaces import Data, DataOptions, Examples, Preprocessor
from dlframe.training.splits import Part, Splits, load_splits


class Given(Data):
    """Examples made by the test."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def load(self) -> Examples:
        return self._examples

    def preprocessor(self) -> Preprocessor:
        return Standardize()


def given(y: Any, task: str = "classification", **others: Any) -> Given:
    y = None if y is None else np.asarray(y)
    count = others.pop("count", len(y) if y is not None else 0)
    x = np.random.default_rng(0).normal(size=(count, 2))
    return Given(Examples(x=x, y=y, task=task, **others))


def split(data: Data, task: str = "classification", **options: Any) -> Splits:
    options = {"batch_size": "all", **options}
    return load_splits(data, DataOptions(**options), task, unsupervised=False)


def parts(splits: Splits) -> tuple[Part, Part, Part]:
    return splits.train, splits.val, splits.test


@pytest.mark.parametrize("make", [digits, iris, breast_cancer, diabetes])
def test_parts_are_disjoint_complete_and_of_the_sizes_asked_for(make: Callable[[], Data]) -> None:
    data = make()
    task = data.load().task
    splits = split(data, task, validation=0.2, test=0.1)
    total = len(data.load().x)
    rows = np.concatenate([part.rows for part in parts(splits)])
    np.testing.assert_array_equal(np.sort(rows), np.arange(total))
    sizes = splits.summary["sizes"]
    assert sizes == {
        "train": len(splits.train.x), "val": len(splits.val.x), "test": len(splits.test.x),
    }  # fmt: skip
    assert sizes["test"] == np.ceil(0.1 * total)
    assert sizes["val"] == np.ceil(0.2 * (total - sizes["test"]))
    for part in parts(splits):
        assert part.x.shape == (len(part.rows), *splits.spec.input_shape)
        assert len(part.y) == len(part.rows)


def test_each_row_keeps_its_target() -> None:
    examples = diabetes().load()
    assert examples.y is not None
    for part in parts(split(diabetes(), "regression")):
        assert part.y.dtype == torch.float32
        np.testing.assert_array_equal(part.y[:, 0], examples.y[part.rows])


def test_equal_seeds_give_equal_tensors_and_other_seeds_others() -> None:
    first, second, other = (split(iris(), split_seed=seed) for seed in (3, 3, 4))
    for one, two in zip(parts(first), parts(second), strict=True):
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.y, two.y)
    assert first.summary == second.summary
    assert first.test.rows.tolist() != other.test.rows.tolist()
    assert first.summary["fingerprint"] == other.summary["fingerprint"]


def test_the_test_part_does_not_depend_on_the_validation_fraction() -> None:
    few, many = (split(iris(), validation=fraction).test.rows for fraction in (0.1, 0.4))
    np.testing.assert_array_equal(few, many)


def test_classes_keep_their_proportions() -> None:
    y = np.repeat([0, 1, 2], [700, 250, 50])
    splits = split(given(y))
    for part in parts(splits):
        share = np.bincount(part.y.numpy(), minlength=3) / len(part.y)
        np.testing.assert_allclose(share, [0.7, 0.25, 0.05], atol=0.01)
    plain = split(given(y), stratify=False)
    assert plain.summary["stratified"] is False
    assert plain.test.rows.tolist() != splits.test.rows.tolist()


# --- no leakage ---


def test_training_tensors_and_spec_do_not_depend_on_the_other_rows() -> None:
    examples = breast_cancer().load()
    before = split(Given(examples))
    held_out = np.concatenate([before.val.rows, before.test.rows])
    assert isinstance(examples.x, pd.DataFrame)
    examples.x.iloc[held_out] *= 1000.0
    after = split(Given(examples))
    assert torch.equal(before.train.x, after.train.x)
    assert before.spec == after.spec
    assert not torch.equal(before.test.x, after.test.x)
    assert before.summary["fingerprint"] != after.summary["fingerprint"]


def test_a_table_learns_from_its_training_rows_only(tmp_path: Path, shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "titanic.csv")
    table.to_csv(tmp_path / "before.csv", index=False)
    data = Csv(path=str(tmp_path / "before.csv"), target="Survived", clip="quantile")
    before = split(data)
    held_out = np.concatenate([before.val.rows, before.test.rows])
    table.loc[held_out, "Age"] = np.nan
    table.loc[held_out, "Fare"] = 1e6
    table.loc[held_out, "Embarked"] = "Atlantis"
    table.to_csv(tmp_path / "after.csv", index=False)
    after = split(Csv(path=str(tmp_path / "after.csv"), target="Survived", clip="quantile"))
    assert torch.equal(before.train.x, after.train.x)
    assert before.spec == after.spec
    assert not torch.equal(before.test.x, after.test.x)


def test_target_statistics_are_those_of_the_training_part() -> None:
    splits = split(diabetes(), "regression")
    y = diabetes().load().y
    assert y is not None
    y = y[splits.train.rows]
    assert splits.spec.target_mean == pytest.approx((y.mean(),))
    assert splits.spec.target_scale == pytest.approx((y.std(),))
    assert splits.spec.output_size == 1
    plain = split(diabetes(), "regression", scale_target=False).spec
    assert (plain.target_mean, plain.target_scale) == ((), ())


# --- the spec ---


def test_the_spec_describes_images() -> None:
    splits = split(digits())
    assert splits.spec.input == "image"
    assert splits.spec.input_shape == (1, 8, 8)
    assert splits.spec.output_size == 10
    assert splits.spec.class_names == tuple("0123456789")
    assert splits.spec.class_counts == tuple(torch.bincount(splits.train.y).tolist())
    assert splits.spec.feature_names == ()
    assert splits.train.y.dtype == torch.int64
    assert splits.summary["class_counts"]["train"]["3"] == splits.spec.class_counts[3]


def test_the_summary_is_plain_json() -> None:
    for splits in (split(iris()), split(diabetes(), "regression")):
        assert json.loads(json.dumps(splits.summary)) == splits.summary


def test_labels_become_float_columns_with_counts() -> None:
    y = np.random.default_rng(0).integers(0, 2, (40, 3))
    splits = split(given(y, "multilabel", class_names=("a", "b", "c")), "multilabel")
    assert splits.train.y.dtype == torch.float32
    assert splits.train.y.shape[1] == splits.spec.output_size == 3
    assert splits.spec.class_names == ("a", "b", "c")
    assert splits.spec.class_counts == tuple(y[splits.train.rows].sum(0))


def test_the_task_auto_is_the_one_of_the_targets() -> None:
    assert split(iris(), "auto").spec == split(iris()).spec
    assert split(diabetes(), "auto").spec.task == "regression"


def test_a_task_from_elsewhere_gets_the_targets_as_they_are() -> None:
    spec = split(iris(), "metric_learning").spec
    assert (spec.task, spec.output_size) == ("metric_learning", 3)


@pytest.mark.parametrize("y", [None, [0] * 9 + [1]])
def test_unsupervised_tasks_need_no_labels(y: Any) -> None:
    data = given(y, count=10)
    splits = load_splits(data, DataOptions(batch_size=1), "reconstruction", unsupervised=True)
    assert splits.train.y.tolist() == [0] * len(splits.train.rows)
    assert splits.train.y.dtype == torch.int64
    assert splits.spec.class_names == ()
    assert splits.spec.output_size == 2


# --- limits and fixed test parts ---


def test_a_limit_draws_rows_with_the_classes_in_proportion() -> None:
    y = np.repeat([0, 1], [800, 200])
    splits = split(given(y), limit=100)
    rows = np.concatenate([part.rows for part in parts(splits)])
    assert len(set(rows)) == 100
    assert np.bincount(y[rows]).tolist() == [80, 20]
    assert split(given(y), limit=5000).summary["sizes"] == split(given(y)).summary["sizes"]


def test_a_fixed_test_part_is_respected_also_by_a_limit() -> None:
    y = np.tile([0, 1], 100)
    fixed = np.arange(160, 200)
    splits = split(given(y, test=fixed))
    np.testing.assert_array_equal(splits.test.rows, fixed)
    assert splits.summary["fixed_test"] is True
    limited = split(given(y, test=fixed), limit=50)
    assert set(limited.test.rows) <= set(fixed)
    assert limited.summary["sizes"] == {"train": 34, "val": 6, "test": 10}
    assert not set(fixed) & {*limited.train.rows, *limited.val.rows}


def test_mnist_keeps_its_ten_thousand_test_images(shared_data: Path) -> None:
    splits = split(mnist(root=str(shared_data / "mnist")), batch_size=128)
    assert splits.summary["sizes"] == {"train": 51_000, "val": 9_000, "test": 10_000}
    np.testing.assert_array_equal(splits.test.rows, np.arange(60_000, 70_000))
    assert splits.spec.input_shape == (1, 28, 28)
    assert splits.test.y[:4].tolist() == [7, 2, 1, 0]
    assert splits.train.x.mean().item() == pytest.approx(0, abs=1e-4)
    assert splits.train.x.std().item() == pytest.approx(1, abs=1e-4)


# --- titanic, end to end ---


def test_titanic_trains_a_classifier_and_its_preprocessor_is_restored(
    shared_data: Path, tmp_path: Path
) -> None:
    data = Csv(path=str(shared_data / "titanic.csv"), target="Survived", ignore=("PassengerId",))
    scores = []
    for seed in range(20):  # one held-out part of 248 rows gives 0.80 with a spread of 0.023
        splits = split(data, split_seed=seed)
        model = LogisticRegression().fit(splits.train.x, splits.train.y)
        held_out = [
            torch.cat([splits.val.x, splits.test.x]),
            torch.cat([splits.val.y, splits.test.y]),
        ]
        scores.append(model.score(*held_out))
    assert np.mean(scores) >= 0.77
    splits.preprocessor.save(tmp_path / "state.json")
    restored = data.preprocessor()
    restored.restore(tmp_path / "state.json")
    rows = data.read(shared_data / "titanic.csv")
    assert isinstance(rows, pd.DataFrame)
    for part in parts(splits):
        assert torch.equal(restored.transform(rows.iloc[part.rows]), part.x)


# --- refusals ---


@pytest.mark.parametrize(
    ("data", "task", "options", "message"),
    [
        (diabetes(), "classification", {}, r"holds regression targets \('progression'\).*task=reg"),
        (iris(), "regression", {}, "holds classification targets"),
        (iris(), "multilabel", {}, "holds classification targets"),
        (given(None, count=9), "classification", {}, r"needs targets .*data\.target"),
        (given(None, count=9), "auto", {}, r"needs targets .*data\.target"),
        (given([]), "classification", {}, "holds no examples"),
        (given([0, 1], count=3), "classification", {}, "got 3 rows and 2 targets"),
        (given([0] * 9), "classification", {}, "all 9 rows are of the class '0'"),
        (given([[0], [1]]), "classification", {}, r"array \[N\] of integers; got int64 of shape"),
        (given([-1, 0, 1]), "classification", {}, "indices from 0"),
        (given([0, 1, 2], class_names=("a", "b")), "classification", {}, "index 2 and 2 names"),
        (given([1.5] * 9, "regression"), "regression", {}, "'0' is 1.5 in all 9 rows"),
        (given([1.0, np.nan, 2.0], "regression"), "regression", {}, "1 of 3 rows hold NaN"),
        (given([[0, 1], [1, 1]], "multilabel"), "multilabel", {}, "'1' is 1 in all 2 rows"),
        (given([[0, 2], [1, 1]], "multilabel"), "multilabel", {}, "labels must be 0 or 1"),
        (given([0, 1]), "classification", {}, "2 examples are too few for 3 parts"),
        (given([1.0, 2.0], "regression", test=np.array([0])), "regression", {}, "1 examples are"),
        (given([0] * 9 + [1]), "classification", {}, "'1' has a single example: add more"),
        (given([0] * 9 + [1] * 2), "classification", {}, "'1' has 2 examples"),
        (iris(), "classification", {"limit": 12}, r"3 classes; 12 examples with data\.test=0\.15"),
        (iris(), "classification", {"limit": 2}, r"too few .* raise data\.limit"),
        (iris(), "classification", {"batch_size": 108}, "exceed the 107 training examples; got 108"),
        (
            given([0] * 20 + [1], test=np.array([20])),
            "classification", {"stratify": False}, "'1' has none",
        ),
        (
            given([1.0] * 20 + [2.0], "regression", test=np.array([20])),
            "regression", {}, "constant in the 17 training",
        ),
        (given([0, 1] * 50, test=np.array([0])), "classification", {"limit": 20}, "test part is"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_told_in_one_sentence(
    data: Data, task: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        split(data, task, **options)
    assert "\n" not in str(caught.value)


def test_a_batch_may_be_the_whole_training_part() -> None:
    assert split(iris(), batch_size=107).summary["sizes"]["train"] == 107
    assert split(iris(), batch_size="all").summary["sizes"]["train"] == 107
