"""The forms of targets that losses accept, brought to one; what fits no form is refused."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dlframe.errors import ConfigError

__all__ = ["class_probabilities", "class_targets", "labels", "misfit", "values", "widen"]


def widen(outputs: Tensor) -> Tensor:
    """Return ``outputs`` in float32 at least: half precision has too few digits for a mean."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def values(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return values of the outputs' shape, in the outputs' dtype.

    Raises:
        ConfigError: the shapes differ; broadcasting would compare every example with every other.
    """
    if targets.shape == outputs.shape and targets.is_floating_point():
        return targets.to(outputs.dtype)
    raise misfit(loss, "float values of the outputs' shape", outputs, targets)


def class_targets(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return class indices ``[B]`` or probabilities ``[B, C]`` as given, for outputs ``[B, C]``.

    Raises:
        ConfigError: the targets are neither.
    """
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        if _are_indices(outputs, targets):
            return targets
        if targets.shape == outputs.shape and targets.is_floating_point():
            return targets.to(outputs.dtype)
    fits = (
        "class indices [B] (int64) or class probabilities [B, C] (float) for outputs [B, C], C > 1"
    )
    raise misfit(loss, fits, outputs, targets)


def class_probabilities(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return class probabilities ``[B, C]`` for outputs ``[B, C]``; an index becomes a certainty.

    Raises:
        ConfigError: the targets are neither class indices nor class probabilities.
    """
    targets = class_targets(loss, outputs, targets)
    if targets.is_floating_point():
        return targets
    return F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)


def labels(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return one label between 0 and 1 for each output.

    Classes become labels: with one logit ``[B, 1]`` whether it is class 1, with ``[B, C]`` one
    label per class.

    Raises:
        ConfigError: the targets are neither labels of the outputs' shape nor classes.
    """
    if targets.is_floating_point():
        if targets.shape == outputs.shape:
            return targets.to(outputs.dtype)
        if outputs.shape[1:] == (1,) and targets.shape == (len(outputs), 2):
            return targets[:, 1:].to(outputs.dtype)
    elif outputs.ndim == 2 and _are_indices(outputs, targets):
        if outputs.shape[1] == 1:
            return targets.unsqueeze(1).to(outputs.dtype)
        return F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
    fits = (
        "labels of the outputs' shape (float), class indices [B] (int64), or class probabilities "
        "[B, 2] (float) for one logit [B, 1]"
    )
    raise misfit(loss, fits, outputs, targets)


def _are_indices(outputs: Tensor, targets: Tensor) -> bool:
    return targets.dtype == torch.int64 and targets.shape == outputs.shape[:1]


def misfit(loss: str, fits: str, outputs: Tensor, targets: Tensor) -> ConfigError:
    """Return the error that says which targets ``loss`` takes, and what it got."""
    dtype = str(targets.dtype).removeprefix("torch.")
    return ConfigError(
        f"loss={loss} takes {fits}; got {dtype} targets of shape {list(targets.shape)} for outputs "
        f"of shape {list(outputs.shape)}; choose a loss for this task (`dlframe ls loss`)"
    )
