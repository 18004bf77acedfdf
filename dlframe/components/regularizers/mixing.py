"""Training on mixtures of pairs of examples. Shapes: batch B, channels C, height H, width W."""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.distributions import Beta

from dlframe.components.regularizers.targets import class_count, probabilities
from dlframe.interfaces.options import Ge, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Batch, Spec

__all__ = ["CutMix", "Mixup"]


class Mixup(Regularizer):
    """Mix each example with another of the batch: ``q x + (1 - q) x'`` and ``q y + (1 - q) y'``.

    One share ``q ~ Beta(alpha, alpha)`` is drawn for each batch. Class indices become
    probabilities; values of a regression are mixed as they are.

    Args:
        alpha: parameter of the distribution: small values rarely mix, 1 draws ``q`` evenly; 0 never
            mixes.

    Reference:
        Zhang et al. 2018, arXiv:1710.09412.
    """

    def __init__(self, *, alpha: Annotated[float, Ge(0), Range(0.0, 1.0)] = 0.2) -> None:
        self.alpha = alpha
        self._classes = 0

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Note the number of classes; the network stays as it is."""
        self._classes = class_count(spec)
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return mixed inputs ``[B, ...]`` and mixed targets, float32."""
        if self.alpha == 0:
            return batch
        share = _share(self.alpha)
        other = torch.randperm(len(batch.x), device=batch.x.device)
        y = probabilities(batch.y, self._classes)
        return Batch(_mix(batch.x, other, share), _mix(y, other, share), clean=False)


class CutMix(Regularizer):
    """Replace a rectangle of each image by that of another, and mix the targets by area.

    With ``q ~ Beta(alpha, alpha)``, one rectangle of height ``H sqrt(1 - q)`` and width
    ``W sqrt(1 - q)`` around a random pixel, cut at the borders, is drawn for each batch. The target
    is ``q' y + (1 - q') y'``, where ``q'`` is the share of pixels that stay.

    Args:
        alpha: parameter of the distribution: 1 draws ``q`` evenly; 0 never mixes.

    Reference:
        Yun et al. 2019, arXiv:1905.04899.
    """

    def __init__(self, *, alpha: Annotated[float, Ge(0), Range(0.0, 1.0)] = 1.0) -> None:
        self.alpha = alpha
        self._classes = 0

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Note the number of classes; the network stays as it is."""
        self._classes = class_count(spec)
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return images ``[B, C, H, W]`` with foreign rectangles and targets ``[B, classes]``."""
        if self.alpha == 0:
            return batch
        height, width = batch.x.shape[-2:]
        side = (1 - _share(self.alpha)) ** 0.5
        rows, columns = _interval(height, side), _interval(width, side)
        other = torch.randperm(len(batch.x), device=batch.x.device)
        x = batch.x.clone()
        x[..., rows, columns] = batch.x[other][..., rows, columns]
        cut = (rows.stop - rows.start) * (columns.stop - columns.start)
        y = probabilities(batch.y, self._classes)
        return Batch(x, _mix(y, other, 1 - cut / (height * width)), clean=False)


def _share(alpha: float) -> float:
    return float(Beta(alpha, alpha, validate_args=False).sample())


def _mix(values: Tensor, other: Tensor, share: float) -> Tensor:
    return values * share + values[other] * (1 - share)


def _interval(length: int, side: float) -> slice:
    """Draw ``side * length`` neighbouring pixels around a random one, cut at the borders."""
    half = side * length / 2
    centre = int(torch.randint(length, ())) + 0.5
    return slice(max(0, round(centre - half)), min(length, round(centre + half)))
