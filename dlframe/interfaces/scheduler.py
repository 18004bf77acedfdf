"""Schedulers: how the learning rate moves."""

from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["Scheduler"]


class Scheduler(Protocol):
    """A class or function that makes a ``torch.optim.lr_scheduler.LRScheduler``.

    dlframe passes ``optimizer``, ``total_steps`` (optimizer steps of the whole training) and
    ``steps_per_epoch``, those that the signature names; all others are options. The schedule moves
    after each epoch, or after each optimizer step where the descriptor carries the tag ``per_step``.
    A ``ReduceLROnPlateau`` is given the monitored validation value.

    Example:
        >>> def halve(optimizer, *, every: int = 10) -> LRScheduler:
        ...     return torch.optim.lr_scheduler.StepLR(optimizer, every, gamma=0.5)
    """

    def __call__(self, optimizer: torch.optim.Optimizer, **options: Any) -> LRScheduler:
        """Return a schedule bound to ``optimizer``."""
        ...
