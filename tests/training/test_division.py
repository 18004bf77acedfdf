"""Dividing rows: fixed parts, folds, and the order of time."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import DataOptions, Examples
from dlframe.training.division import Division, divide
from dlframe.training.targets import check_targets


def divided(examples: Examples, **options: Any) -> Division:
    return divide(examples, check_targets(examples, examples.task, False), DataOptions(**options))


def classes(count: int = 100, **others: Any) -> Examples:
    y = np.arange(count) % 4
    return Examples(x=np.zeros((count, 1)), y=y, task="classification", **others)


def series(count: int = 1000, horizon: int = 5, **others: Any) -> Examples:
    """Example ``i`` asks for the moments ``i`` to ``i + horizon - 1``."""
    start = np.arange(count)
    spans = np.stack([start, start + horizon - 1], axis=1)
    y = np.random.default_rng(0).normal(size=(count, horizon))
    return Examples(x=np.zeros((count, 1)), y=y, task="regression", spans=spans, **others)


def test_folds_are_disjoint_cover_everything_and_keep_the_classes() -> None:
    found = [divided(classes(), folds=5, fold=fold) for fold in range(5)]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([d.test for d in found])), np.arange(100)
    )  # fmt: skip
    for division in found:
        assert np.bincount(division.test % 4).tolist() == [5, 5, 5, 5]
        rows = np.concatenate(division)
        np.testing.assert_array_equal(np.sort(rows), np.arange(100))


def test_folds_validate_where_the_test_part_is_fixed() -> None:
    test = np.arange(20)
    found = [divided(classes(test=test), folds=4, fold=fold) for fold in range(4)]
    for division in found:
        np.testing.assert_array_equal(division.test, test)
    validated = np.sort(np.concatenate([d.val for d in found]))
    np.testing.assert_array_equal(validated, np.arange(20, 100))


def test_folds_depend_on_the_split_seed_alone() -> None:
    first, same, other = (
        divided(classes(), folds=5, fold=2, split_seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.test, same.test)
    assert first.test.tolist() != other.test.tolist()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"folds": 3, "fold": 3}, ConfigError, "fold 3 of 3"),
        ({"fold": 1}, ConfigError, "less than data.folds"),
        ({"folds": 3}, ConfigError, "a run with each fold, and this is one run"),
        ({"folds": 60, "fold": 0}, DataError, "too few for 60 folds"),
        ({"folds": 30, "fold": 0}, DataError, "has 25 examples"),
    ],
)
def test_folds_that_cannot_be_are_refused(
    options: dict[str, int], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        divided(classes(), **options)


def test_a_fixed_validation_part_is_respected_also_by_a_limit() -> None:
    val = np.arange(40, 60)
    division = divided(classes(val=val))
    np.testing.assert_array_equal(division.val, val)
    limited = divided(classes(val=val), limit=50)
    assert len(limited.val) == 10
    assert set(limited.val) < set(val)
    assert sum(map(len, limited)) == 50


def reaches(rows: NDArray[np.int64], spans: NDArray[np.int64] | None) -> tuple[int, int]:
    assert spans is not None
    return int(spans[rows, 0].min()), int(spans[rows, 1].max())


def test_in_order_of_time_no_part_knows_what_a_later_one_is_asked() -> None:
    examples = series()
    division = divided(examples, validation=0.2, test=0.1)
    (_, train_ends), (val_begins, val_ends), (test_begins, _) = (
        reaches(rows, examples.spans) for rows in division
    )
    assert train_ends < val_begins
    assert val_ends < test_begins
    assert len(division.test) == 100
    # Four examples reach over each border.
    assert sum(map(len, division)) == 1000 - 2 * 4


def test_folds_in_order_of_time_have_growing_histories() -> None:
    examples = series()
    found = [divided(examples, folds=4, fold=fold) for fold in range(4)]
    sizes = [len(d.train) for d in found]
    assert sizes == sorted(sizes)
    for division in found:
        assert reaches(division.train, examples.spans)[1] < reaches(division.val, examples.spans)[0]
        assert reaches(division.val, examples.spans)[1] < reaches(division.test, examples.spans)[0]
    tested = np.concatenate([d.test for d in found])
    np.testing.assert_array_equal(tested, np.arange(200, 1000))


def test_parts_fixed_in_time_lose_what_reaches_over_their_border() -> None:
    examples = series(val=np.arange(600, 800), test=np.arange(800, 1000))
    division = divided(examples)
    np.testing.assert_array_equal(division.test, np.arange(800, 1000))
    np.testing.assert_array_equal(division.val, np.arange(600, 796))
    np.testing.assert_array_equal(division.train, np.arange(596))


def test_a_limit_takes_the_first_moments() -> None:
    division = divided(series(), limit=100)
    assert max(rows.max() for rows in division) == 99


def test_a_history_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="training part is empty"):
        divided(series(12, horizon=10))
