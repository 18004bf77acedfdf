"""Noise on the inputs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from dlframe.interfaces.options import Ge, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Batch

__all__ = ["InputNoise"]


class InputNoise(Regularizer):
    """Add Gaussian noise to each input value: ``x + std * n`` with ``n ~ N(0, 1)``.

    The targets stay, so that an autoencoder learns to remove the noise.

    Args:
        std: standard deviation, in units of the (standardized) inputs; 0 adds nothing.

    Reference:
        Bishop 1995, doi:10.1162/neco.1995.7.1.108.
    """

    def __init__(self, *, std: Annotated[float, Ge(0), Range(0.0, 0.5)] = 0.1) -> None:
        self.std = std

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return the batch with noisy ``x[B, ...]`` of the same floating dtype."""
        if self.std == 0:
            return batch
        return replace(batch, x=batch.x + self.std * torch.randn_like(batch.x))
