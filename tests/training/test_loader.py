"""Batches in memory: complete, seeded, independent of how many are served at a time."""

from pathlib import Path

import pytest
import torch

import dlframe
from dlframe.errors import ConfigError
from dlframe.training.loader import TensorLoader


def _loader(rows: int = 23, **options: object) -> TensorLoader:
    x = torch.arange(rows, dtype=torch.float32)[:, None]
    return TensorLoader(x, torch.arange(rows), **{"batch_size": 5, **options})  # type: ignore[arg-type]


def _batches(loader: TensorLoader) -> list[list[int]]:
    return [batch.y.tolist() for chunk in loader for batch in chunk.batches()]


def test_every_row_comes_once_per_epoch() -> None:
    loader = _loader(shuffle=True, seed=3)
    for _ in range(3):
        assert sorted(row for batch in _batches(loader) for row in batch) == list(range(23))


def test_inputs_and_targets_stay_together() -> None:
    for chunk in _loader(shuffle=True):
        assert torch.equal(chunk.x[:, 0].long(), chunk.y)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
def test_order_does_not_depend_on_steps_per_call(steps: int) -> None:
    one, many = _loader(shuffle=True, seed=1), _loader(shuffle=True, seed=1)
    many.steps_per_call = steps
    assert _batches(one) == _batches(many)
    assert _batches(one) == _batches(many)


def test_steps_per_call_may_change_within_an_epoch() -> None:
    plain, changing = _loader(shuffle=True), _loader(shuffle=True)
    found = []
    for number, chunk in enumerate(changing):
        found += [batch.y.tolist() for batch in chunk.batches()]
        changing.steps_per_call = number + 2
    assert found == _batches(plain)


def test_orders_differ_between_epochs_and_seeds() -> None:
    loader, other = _loader(shuffle=True, seed=0), _loader(shuffle=True, seed=1)
    first, second = _batches(loader), _batches(loader)
    assert first != second
    assert first != _batches(other)


def test_only_the_last_chunk_ends_the_epoch() -> None:
    loader = _loader()
    loader.steps_per_call = 2
    assert [chunk.ends_epoch for chunk in loader] == [False, False, True]


def test_limits() -> None:
    assert len(_batches(_loader(limit=2))) == 2
    loader = _loader(most=7)  # five batches an epoch
    assert [len(_batches(loader)) for _ in range(3)] == [5, 2, 0]


@pytest.mark.parametrize("rows", [1, 4, 22, 23, 24])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_rows_evenly(rows: int, world: int) -> None:
    shares = [_loader(rows, rank=rank, world_size=world) for rank in range(world)]
    chunks = [list(share) for share in shares]
    assert len({share.batches for share in shares}) == 1
    assert len({tuple(len(chunk.x) for chunk in each) for each in chunks}) == 1
    counted = [
        row for each in chunks for chunk in each for row in chunk.y[: chunk.counted].tolist()
    ]
    assert sorted(counted) == list(range(rows))


def test_processes_draw_the_same_order() -> None:
    shares = [_loader(24, rank=r, world_size=2, shuffle=True, seed=5) for r in range(2)]
    rows = [row for share in shares for batch in _batches(share) for row in batch]
    assert sorted(rows) == list(range(24))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_single_row_left_over_joins_the_batch_before(steps: int) -> None:
    loader = _loader(21)
    loader.steps_per_call = steps
    assert [len(batch) for batch in _batches(loader)] == [5, 5, 5, 6]
    assert loader.batches == 4
    assert [len(batch) for batch in _batches(_loader(3, batch_size=1))] == [1, 1, 1]
    assert [len(batch) for batch in _batches(_loader(21, limit=2))] == [5, 5]


# --- as many of each class ---


def _classes(**options: object) -> TensorLoader:
    """Ten rows of class 0, three of class 4, one of class 9; x is the row's number."""
    y = torch.tensor([0] * 10 + [4] * 3 + [9])[torch.randperm(14, generator=torch.manual_seed(5))]
    x = torch.arange(14, dtype=torch.float32)[:, None]
    given = {"batch_size": 4, "shuffle": True, "balanced": True, **options}
    return TensorLoader(x, y, **given)  # type: ignore[arg-type]


def test_balanced_epochs_hold_as_many_of_each_class() -> None:
    loader = _classes()
    y = loader.y
    seen: set[int] = set()
    for _ in range(3):
        rows = loader.order()
        assert len(rows) == 14
        counts = torch.bincount(y[rows], minlength=10)[[0, 4, 9]]
        assert sorted(counts.tolist()) == [4, 5, 5]
        common = rows[y[rows] == 0].tolist()
        assert len(set(common)) == len(common)  # repeats only where a class has too few
        times = torch.bincount(rows, minlength=14)[y == 4]
        assert times.max() - times.min() <= 1
        seen |= set(common)
        list(loader)  # on to the next epoch
    assert len(seen) > 5  # rows of the frequent class take turns


def test_balanced_orders_follow_from_seed_and_epoch_alone() -> None:
    one, many, later = _classes(seed=3), _classes(seed=3), _classes(seed=3)
    many.steps_per_call = 3
    first = _batches(one)
    assert _batches(many) == first
    later.epoch = 1
    assert _batches(later) == _batches(one)
    assert _batches(_classes(seed=4)) != first
    resumed = _classes(seed=3)
    resumed.start = 8
    assert _batches(resumed) == first[2:]


def test_processes_share_a_balanced_order() -> None:
    whole = _classes().order().tolist()
    shares = [_classes(rank=rank, world_size=2).order().tolist() for rank in range(2)]
    assert [row for pair in zip(*shares, strict=True) for row in pair] == whole


@pytest.mark.parametrize("data", ["diabetes", "digits"])
def test_balance_needs_classes(data: str, tmp_path: Path) -> None:
    given = [f"data={data}", "data.sampler=balanced", f"tracking.root={tmp_path}"]
    given += ["architecture=autoencoder"] if data == "digits" else []
    with pytest.raises(
        ConfigError, match=r"data\.sampler=balanced needs one class for each example"
    ):
        dlframe.train(*given)
    assert not list(tmp_path.iterdir())
