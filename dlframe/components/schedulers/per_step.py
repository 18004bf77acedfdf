"""Schedules that move after each optimizer step, over the whole training.

Each is a closed form of the step ``t``, counted from 0: the first step is made at ``lr(0)``, the
last at ``lr(total_steps - 1)``, and ``lr(total_steps)`` is what is reached then and kept if the
training goes on. ``lr`` is the optimizer's own rate, which is the highest.
"""

import math
from collections.abc import Callable
from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Gt, Lt, NonNegativeInt, Positive, Probability, Range

__all__ = ["cosine", "linear", "one_cycle", "polynomial", "warmup_cosine"]


def cosine(optimizer: Optimizer, total_steps: int, *, min_factor: Probability = 0.0) -> LRScheduler:
    """Fall along half a cosine: ``lr(t) = lr * (f + (1 - f) * (1 + cos(pi * t / T)) / 2)``.

    Args:
        optimizer: the optimizer whose rate moves.
        total_steps: optimizer steps ``T`` of the whole training.
        min_factor: share ``f`` of the rate that remains at the end.

    Reference:
        Loshchilov and Hutter 2017 (without restarts), arXiv:1608.03983.
    """
    return _warmed(optimizer, total_steps, 0, lambda p: _half_cosine(1.0, min_factor, p))


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.3)] = 0.05,
    warmup_steps: NonNegativeInt | None = None,
    min_factor: Probability = 0.0,
) -> LRScheduler:
    """Rise linearly, then fall along half a cosine.

    ``lr(t) = lr * (t + 1) / (W + 1)`` for ``t < W``, then
    ``lr * (f + (1 - f) * (1 + cos(pi * (t - W) / (T - W))) / 2)``.

    Args:
        optimizer: the optimizer whose rate moves.
        total_steps: optimizer steps ``T`` of the whole training.
        warmup: share of the training that warms up: ``W = floor(warmup * T)``.
        warmup_steps: optimizer steps ``W`` that warm up, in place of the share.
        min_factor: share ``f`` of the rate that remains at the end.

    Raises:
        ConfigError: the warm-up is not shorter than the training.

    Reference:
        Loshchilov and Hutter 2017, arXiv:1608.03983; warm-up: Goyal et al. 2017, arXiv:1706.02677.
    """
    rising = _warmup(total_steps, warmup, warmup_steps)
    return _warmed(optimizer, total_steps, rising, lambda p: _half_cosine(1.0, min_factor, p))


def linear(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.3)] = 0.05,
    warmup_steps: NonNegativeInt | None = None,
    min_factor: Probability = 0.0,
) -> LRScheduler:
    """Rise linearly, then fall linearly.

    ``lr(t) = lr * (t + 1) / (W + 1)`` for ``t < W``, then
    ``lr * (f + (1 - f) * (T - t) / (T - W))``.

    Args:
        optimizer: the optimizer whose rate moves.
        total_steps: optimizer steps ``T`` of the whole training.
        warmup: share of the training that warms up: ``W = floor(warmup * T)``.
        warmup_steps: optimizer steps ``W`` that warm up, in place of the share.
        min_factor: share ``f`` of the rate that remains at the end.

    Raises:
        ConfigError: the warm-up is not shorter than the training.

    Reference:
        Devlin et al. 2019, appendix A.2, arXiv:1810.04805.
    """
    rising = _warmup(total_steps, warmup, warmup_steps)
    return _warmed(
        optimizer, total_steps, rising, lambda p: min_factor + (1 - min_factor) * (1 - p)
    )


def polynomial(
    optimizer: Optimizer,
    total_steps: int,
    *,
    power: Annotated[float, Gt(0), Range(0.5, 3.0)] = 0.9,
    min_factor: Probability = 0.0,
) -> LRScheduler:
    """Fall as a power of what remains: ``lr(t) = lr * (f + (1 - f) * (1 - t / T)^power)``.

    Args:
        optimizer: the optimizer whose rate moves.
        total_steps: optimizer steps ``T`` of the whole training.
        power: exponent; 1 is a straight line.
        min_factor: share ``f`` of the rate that remains at the end.

    Reference:
        Chen et al. 2018, section 4.1, arXiv:1606.00915.
    """
    return _warmed(
        optimizer, total_steps, 0, lambda p: min_factor + (1 - min_factor) * (1 - p) ** power
    )


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: Annotated[float, Ge(0), Lt(1), Range(0.1, 0.5)] = 0.3,
    div_factor: Annotated[float, Ge(1), Range(5.0, 100.0, log=True)] = 25.0,
    final_div_factor: Positive = 1e4,
) -> LRScheduler:
    """Rise along half a cosine to the optimizer's rate, then fall far below the start.

    From ``lr / div_factor`` to ``lr`` in the first ``W = floor(warmup * T)`` steps, then to
    ``lr / (div_factor * final_div_factor)`` at step ``T``. Momentum is left as it is.

    Args:
        optimizer: the optimizer whose rate moves; its own rate is the peak.
        total_steps: optimizer steps ``T`` of the whole training.
        warmup: share of the training in which the rate rises.
        div_factor: peak rate divided by the first.
        final_div_factor: first rate divided by the last.

    Reference:
        Smith and Topin 2018, arXiv:1708.07120.
    """
    rising = math.floor(warmup * total_steps)
    first = 1 / div_factor
    last = first / final_div_factor

    def factor(t: int) -> float:
        t = min(t, total_steps)
        if t < rising:
            return _half_cosine(first, 1.0, t / rising)
        return _half_cosine(1.0, last, (t - rising) / (total_steps - rising))

    return LambdaLR(optimizer, factor)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _warmup(total_steps: int, share: float, steps: int | None) -> int:
    """Return how many steps warm up; fewer than all, so that the peak is reached."""
    if steps is None:
        return math.floor(share * total_steps)
    if steps >= total_steps:
        raise ConfigError(
            f"scheduler.warmup_steps must be less than the {total_steps} optimizer steps of the "
            f"training, but it is {steps}; lower it or train longer"
        )
    return steps


def _warmed(
    optimizer: Optimizer, total_steps: int, rising: int, decay: Callable[[float], float]
) -> LRScheduler:
    """Rise linearly for ``rising`` steps, then follow ``decay`` of the progress from 0 to 1."""

    def factor(t: int) -> float:
        if t < rising:
            return (t + 1) / (rising + 1)
        return decay((min(t, total_steps) - rising) / (total_steps - rising))

    return LambdaLR(optimizer, factor)
