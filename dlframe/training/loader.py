"""Batches from tensors in memory, many at a time and without a per-sample collate.

Lightning calls hooks once per item of its loader. An item here is a chunk of several batches, so that
cost is shared; the order of examples, and with it the result, does not depend on the chunk's size.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dlframe.interfaces import Batch

__all__ = ["Chunk", "TensorLoader"]


@dataclass(slots=True)
class Chunk:
    """Consecutive batches of one epoch in one tensor.

    Args:
        x: inputs ``[n, *input_shape]``.
        y: targets ``[n, ...]``.
        batch_size: rows per batch; the last batch of an epoch may be shorter, or one row longer.
        counted: leading rows that metrics count; the rest fill up an uneven share of a process.
        epoch: number of the epoch, from 0.
        stop: place in the epoch's order at which the next chunk begins.
        ends_epoch: whether no batch follows in this epoch.
    """

    x: Tensor
    y: Tensor
    batch_size: int
    counted: int
    epoch: int
    stop: int
    ends_epoch: bool

    def to(self, device: torch.device | str, **options: Any) -> "Chunk":
        """Return the chunk on ``device``."""
        return replace(self, x=self.x.to(device, **options), y=self.y.to(device, **options))

    def batches(self) -> Iterator[Batch]:
        """Yield the batches in order, as views."""
        for start, stop in _bounds(len(self.x), self.batch_size):
            yield Batch(self.x[start:stop], self.y[start:stop])


def _bounds(rows: int, size: int) -> list[tuple[int, int]]:
    """Where batches begin and end.

    A single row left over joins the batch before it: batch normalization has no answer for one row.
    """
    starts = list(range(0, rows, size))
    if size > 1 and len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


class TensorLoader:
    """Iterates over one part of the data; each iteration is one epoch.

    Args:
        x: inputs ``[N, *input_shape]``.
        y: targets ``[N, ...]``.
        batch_size: rows per batch.
        shuffle: draw a new order each epoch, from ``seed`` and the epoch's number alone.
        seed: seed of the orders.
        rank: number of this process among ``world_size``, each of which gets every
            ``world_size``-th row of the same order.
        world_size: processes that train together.
        limit: batches per epoch at most.
        most: batches of all epochs together at most, so that the last epoch ends where training does.
        balanced: draw as many rows of each class in ``y``, instead of each row once.

    Attributes:
        steps_per_call: batches per chunk; may be changed at any time.
        epoch: number of the epoch that the next iteration serves.
        start: place in that epoch's order at which the next iteration begins.
        seconds: time that making batches has taken, while the training waited.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        limit: int | None = None,
        most: int | None = None,
        balanced: bool = False,
    ) -> None:
        assert len(x) == len(y)
        assert len(x) > 0
        self.x, self.y = x, y
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.limit, self.most = limit, most
        # On the CPU, where orders are drawn, so that they are the same on any device.
        self._classes = (
            [torch.nonzero(y.cpu() == c)[:, 0] for c in torch.unique(y.cpu())] if balanced else []
        )
        self.steps_per_call = 1
        self.epoch, self.start = 0, 0
        self.seconds = 0.0

    @property
    def rows(self) -> int:
        """Rows that this process sees per epoch, before ``limit``; equal for all processes."""
        return -(-len(self.x) // self.world_size)

    @property
    def batches(self) -> int:
        """Batches per epoch."""
        count = len(_bounds(self.rows, self.batch_size))
        return min(count, self.limit) if self.limit else count

    def order(self) -> Tensor:
        """Row numbers of the coming epoch for this process, int64."""
        total = len(self.x)
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = self._draw(total, generator)
        else:
            order = torch.arange(total)
        if self.world_size > 1:  # the first rows fill up, so that all processes take equal steps
            even = self.rows * self.world_size
            order = order.repeat(-(-even // total))[:even][self.rank :: self.world_size]
        batches = self.batches
        if self.most is not None:
            batches = min(batches, max(0, self.most - self.epoch * batches))
        bounds = _bounds(len(order), self.batch_size)[:batches]
        return order[: bounds[-1][1] if bounds else 0]

    def _draw(self, total: int, generator: torch.Generator) -> Tensor:
        if not self._classes:
            return torch.randperm(total, generator=generator)
        drawn, count = [], len(self._classes)
        for number, rows in enumerate(self._classes):
            # Where the rows cannot be shared out evenly, another class gets more in the next epoch.
            wanted = total // count + ((number + self.epoch) % count < total % count)
            rounds = -(-wanted // len(rows))
            orders = [torch.randperm(len(rows), generator=generator) for _ in range(rounds)]
            drawn.append(rows[torch.cat(orders)[:wanted]])
        chosen = torch.cat(drawn)
        return chosen[torch.randperm(total, generator=generator)]

    def __iter__(self) -> Iterator[Chunk]:
        order = self.order().to(self.x.device)
        whole = not self.shuffle and len(order) == len(self.x)
        own = len(range(self.rank, len(self.x), self.world_size))  # without filling up
        start = self.start
        while start < len(order):
            began = time.perf_counter()
            stop = start + self.steps_per_call * self.batch_size
            if len(order) - stop <= (self.batch_size > 1):
                stop = len(order)
            if whole:
                x, y = self.x[start:stop], self.y[start:stop]
            else:
                rows = order[start:stop]
                x, y = self.x.index_select(0, rows), self.y.index_select(0, rows)
            counted = max(0, min(stop, own) - start)
            self.seconds += time.perf_counter() - began
            yield Chunk(x, y, self.batch_size, counted, self.epoch, stop, stop == len(order))
            start = stop
        # Not before: Lightning may drop an iterator that it has begun, and begin anew.
        self.epoch, self.start = self.epoch + 1, 0
