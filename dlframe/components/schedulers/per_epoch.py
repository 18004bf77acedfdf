"""Schedules that move after each epoch.

``lr`` is the optimizer's own rate and ``e`` counts epochs from 0.
"""

from typing import Annotated

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
)

from dlframe.errors import ConfigError
from dlframe.interfaces.options import (
    Gt,
    Le,
    Lt,
    NonNegative,
    NonNegativeInt,
    PositiveInt,
    Range,
)

__all__ = ["constant", "exponential", "multi_step", "plateau", "step"]


def constant(optimizer: Optimizer) -> LRScheduler:
    """Keep the optimizer's learning rate: ``lr(e) = lr``.

    Args:
        optimizer: the optimizer whose rate is kept.
    """
    return LambdaLR(optimizer, lambda _: 1.0)


def step(
    optimizer: Optimizer,
    *,
    step_size: PositiveInt = 10,
    gamma: Annotated[float, Gt(0), Le(1), Range(0.05, 0.9)] = 0.1,
) -> LRScheduler:
    """Fall in equal stairs: ``lr(e) = lr * gamma^floor(e / step_size)``.

    Args:
        optimizer: the optimizer whose rate moves.
        step_size: epochs from one fall to the next.
        gamma: factor of each fall.
    """
    return StepLR(optimizer, step_size, gamma=gamma)


def multi_step(
    optimizer: Optimizer,
    *,
    milestones: tuple[int, ...] = (30, 60, 90),
    gamma: Annotated[float, Gt(0), Le(1), Range(0.05, 0.9)] = 0.1,
) -> LRScheduler:
    """Fall after chosen epochs: ``lr(e) = lr * gamma^(number of milestones <= e)``.

    Args:
        optimizer: the optimizer whose rate moves.
        milestones: numbers of epochs after which the rate falls, in rising order.
        gamma: factor of each fall.

    Raises:
        ConfigError: the milestones do not rise, or one is below 1.
    """
    milestones = tuple(milestones)
    if any(low >= high for low, high in zip((0, *milestones), milestones, strict=False)):
        raise ConfigError(
            f"scheduler.milestones must be epochs from 1 on in rising order, but they are "
            f"{list(milestones)}; give for example scheduler.milestones=[30,60,90]"
        )
    return MultiStepLR(optimizer, milestones, gamma=gamma)


def exponential(
    optimizer: Optimizer,
    *,
    gamma: Annotated[float, Gt(0), Le(1), Range(0.8, 0.999)] = 0.95,
) -> LRScheduler:
    """Fall by the same factor after every epoch: ``lr(e) = lr * gamma^e``.

    Args:
        optimizer: the optimizer whose rate moves.
        gamma: factor of each epoch.
    """
    return ExponentialLR(optimizer, gamma)


def plateau(
    optimizer: Optimizer,
    *,
    factor: Annotated[float, Gt(0), Lt(1), Range(0.1, 0.9)] = 0.1,
    patience: NonNegativeInt = 10,
    threshold: NonNegative = 1e-4,
    cooldown: NonNegativeInt = 0,
    min_lr: NonNegative = 0.0,
) -> LRScheduler:
    """Fall when the monitored value stops to improve: ``lr = max(factor * lr, min_lr)``.

    dlframe gives the schedule a value that should become small: the task's monitored value, with
    its sign turned where larger is better.

    Args:
        optimizer: the optimizer whose rate moves.
        factor: factor of each fall.
        patience: epochs without improvement that are waited out before a fall.
        threshold: smallest change, in the value's own units, that counts as an improvement.
        cooldown: epochs after a fall in which nothing is counted.
        min_lr: lower end of the learning rate.
    """
    return ReduceLROnPlateau(
        optimizer,
        mode="min",
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode="abs",  # a share of the best value means nothing for values around zero
        cooldown=cooldown,
        min_lr=min_lr,
    )
