"""How fast a training runs by the size of its batches, and which sizes fit into memory."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.memory import is_oom_error

from dlframe.errors import ConfigError
from dlframe.training.fit import Fit
from dlframe.training.prepare import Parts, is_trained, prepare
from dlframe.training.trial_steps import for_trial, undisturbed

__all__ = ["Speed", "batch_sizes", "saturates"]

_FIRST = 8
_WARMING = 3
_MOST = 2000
"""Optimizer steps per measurement."""
_SMALL_GAINS = 2
"""Doublings in a row that bring little, after which nothing more is measured on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One batch size.

    Args:
        batch_size: rows per batch.
        samples_per_second: rows that were trained on per second; None where memory did not suffice.
        memory: bytes of GPU memory at the peak; None on a CPU.
    """

    batch_size: int
    samples_per_second: float | None
    memory: int | None


def batch_sizes(
    config: Mapping[str, Any], *, least: float = 0.1, seconds: float = 1.0
) -> Iterator[Speed]:
    """Train some steps with batches of 8, 16, 32, ... rows, and yield how fast each was.

    It ends where memory does, or with all training rows in one batch; on a CPU also where two doublings
    in a row brought little. The network is one of its own, and random numbers are what they were.

    Args:
        config: validated.
        least: share more of samples per second below which a doubling has brought little.
        seconds: of each measurement, about.

    Raises:
        ConfigError: there is nothing to train, or it is for several processes.
    """
    with undisturbed():
        parts = prepare(for_trial(config, max_steps=_WARMING))
        if not is_trained(parts.network):
            raise ConfigError(
                f"{parts.config['architecture']['component']} has nothing to train; choose another"
            )
        rows = len(parts.splits.train.x)
        size, small, before = min(_FIRST, rows), 0, 0.0
        while True:
            found = _measured(parts, size, seconds)
            yield found
            if found.samples_per_second is None or size == rows:
                return
            small = small + 1 if found.samples_per_second < (1 + least) * before else 0
            if small == _SMALL_GAINS and found.memory is None:
                return
            before, size = found.samples_per_second, min(2 * size, rows)


def saturates(speeds: Sequence[Speed], least: float = 0.1) -> int:
    """Return the smallest batch size from which doubling brings less than a share of ``least`` more."""
    known = [(s.batch_size, s.samples_per_second) for s in speeds if s.samples_per_second]
    for (size, speed), (_, doubled) in pairwise(known):
        if doubled < (1 + least) * speed:
            return size
    return known[-1][0]


def _measured(parts: Parts, size: int, seconds: float) -> Speed:
    try:
        _, per_second, _ = _run(parts, size, _WARMING)
        speed, _, memory = _run(parts, size, max(_WARMING, min(int(seconds * per_second), _MOST)))
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not is_oom_error(error):
            raise
        # What the step has allocated hangs on the traceback.
        error.__traceback__ = None
        _free()
        return Speed(batch_size=size, samples_per_second=None, memory=None)
    return Speed(batch_size=size, samples_per_second=speed, memory=memory)


def _run(parts: Parts, size: int, steps: int) -> tuple[float, float, int | None]:
    """Return rows and steps per second, and the peak of GPU memory, of so many steps."""
    config = {
        **parts.config,
        "data": {**parts.config["data"], "batch_size": size},
        "trainer": {**parts.config["trainer"], "max_steps": steps},
    }
    seen: list[tuple[float, float, int]] = []

    def note(values: dict[str, float], step: int) -> None:
        if "perf/steps_per_second" in values:
            seen.append((values["perf/samples_per_second"], values["perf/steps_per_second"], step))

    kept = [each for each in parts.regularizers if not each.callbacks()]
    fit = Fit(replace(parts, config=config, regularizers=kept), Path(), note)
    device = fit.trainer.strategy.root_device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    fit.fit()
    taken = rows = 0.0
    done = 0
    for per_second, steps_per_second, step in seen:
        took = (step - done) / steps_per_second
        taken, rows, done = taken + took, rows + per_second * took, step
    memory = None
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
        del fit
        _free()
    return rows / taken, done / taken, memory


def _free() -> None:
    gc.collect()  # Lightning's objects hold each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
