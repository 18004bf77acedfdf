"""From logits to probabilities: the inverse link functions of the classification losses."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dlframe.components.losses.targets import widen
from dlframe.interfaces.spec import Spec

__all__ = ["logit_count", "sigmoid_link", "softmax_link"]


def logit_count(spec: Spec) -> int:
    """Return how many logits a loss on single labels needs: one suffices for two classes."""
    two_classes = spec.task == "classification" and spec.output_size == 2
    return 1 if two_classes else spec.output_size


def softmax_link(outputs: Tensor) -> Tensor:
    """Map logits ``[B, C]`` to class probabilities ``[B, C]``, float32 at least."""
    return widen(outputs).softmax(1)


def sigmoid_link(outputs: Tensor, *, exclusive: bool) -> Tensor:
    """Map logits to probabilities, float32 at least.

    Args:
        outputs: logits ``[B, C]``; any shape where not ``exclusive``.
        exclusive: whether the outputs are classes, of which just one is right: one logit becomes
            ``[B, 2]``, and several sigmoids are scaled to sum to 1. Labels stay independent.
    """
    outputs = widen(outputs)
    if not exclusive:
        return outputs.sigmoid()
    if outputs.shape[1] == 1:
        return torch.cat([(-outputs).sigmoid(), outputs.sigmoid()], dim=1)
    # The quotient of sigmoids, in logarithms: it stays finite where all of them round to zero.
    return F.logsigmoid(outputs).softmax(1)
