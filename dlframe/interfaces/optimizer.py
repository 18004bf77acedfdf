"""Optimizers: from gradients to a step."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

__all__ = ["Optimizer"]


class Optimizer(Protocol):
    """A class or function that makes a ``torch.optim.Optimizer`` from ``params``.

    dlframe passes ``params``; all other parameters are options, ``lr`` among them. An optimizer whose
    ``step`` requires a closure (L-BFGS) gets one that evaluates the whole batch anew.

    Example:
        >>> def plain(params, *, lr: float = 0.1) -> torch.optim.Optimizer:
        ...     return torch.optim.SGD(params, lr=lr)
    """

    def __call__(self, params: Iterable[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
        """Return an optimizer over ``params``, which skips those without gradient."""
        ...
