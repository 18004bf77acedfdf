"""The dlframe plugin that the benchmarks train with: data of any shape, and a stopwatch."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L
import numpy as np

from dlframe import Component, hookimpl
from dlframe.components.data.standardize import Standardize
from dlframe.interfaces import Data, Examples, Preprocessor, Regularizer

__all__ = ["Classes", "EpochTimes", "Stopwatch"]


class Classes(Data):
    """Ten classes of normally distributed numbers, or images ``[1, side, side]``.

    Args:
        rows: number of examples.
        features: numbers per example.
        side: pixels per side; 0 gives plain numbers.
    """

    def __init__(self, *, rows: int = 28_000, features: int = 64, side: int = 0) -> None:
        self.rows = rows
        self.shape = (1, side, side) if side else (features,)
        self.input = "image" if side else "features"

    def load(self) -> Examples:
        """Draw them, the same at each call."""
        random = np.random.default_rng(0)
        y = random.integers(0, 10, self.rows)
        centres = random.normal(size=(10, *self.shape))
        x = (centres[y] + 3 * random.normal(size=(self.rows, *self.shape))).astype(np.float32)
        return Examples(x=x, y=y, task="classification", class_names=tuple("0123456789"))

    def preprocessor(self) -> Preprocessor:
        """Standardize them."""
        return Standardize()


class EpochTimes(L.Callback):
    """Notes wall-clock and CPU time of this process when epochs start and training ends."""

    def __init__(self) -> None:
        self.stamps: list[tuple[float, float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note the time."""
        self.stamps.append((time.perf_counter(), time.process_time()))

    def on_train_end(self, *_: Any) -> None:
        """Note the time."""
        self.stamps.append((time.perf_counter(), time.process_time()))

    @property
    def seconds(self) -> list[float]:
        """Seconds of each epoch, its validation, checkpoint and logging included."""
        return self._differences(0)

    @property
    def cpu(self) -> list[float]:
        """CPU seconds of each epoch, all threads of this process together."""
        return self._differences(1)

    def _differences(self, clock: int) -> list[float]:
        return [b[clock] - a[clock] for a, b in zip(self.stamps, self.stamps[1:], strict=False)]


class Stopwatch(Regularizer):
    """Changes nothing; ``Stopwatch.latest`` holds the times of the latest training."""

    latest: EpochTimes

    def __init__(self) -> None:
        pass

    def callbacks(self) -> Sequence[Any]:
        """Return a new stopwatch."""
        Stopwatch.latest = EpochTimes()
        return (Stopwatch.latest,)


@hookimpl
def dlframe_data() -> Iterable[Component]:
    """Yield the data."""
    yield Component(name="classes", target="stopwatch:Classes", summary="ten classes")


@hookimpl
def dlframe_regularizers() -> Iterable[Component]:
    """Yield the stopwatch."""
    yield Component(name="stopwatch", target="stopwatch:Stopwatch", summary="times of epochs")
