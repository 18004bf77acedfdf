"""Descent along the gradient itself, or along its signs."""

from collections.abc import Iterable
from typing import Annotated

import torch
from torch import nn

from dlframe.components.optimizers.common import fusible
from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Gt, Le, LearningRate, Lt, Positive, Range, Strength

__all__ = ["rprop", "sgd"]


def sgd(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Gt(0), Range(1e-4, 1.0, log=True)] = 0.01,
    momentum: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.99)] = 0.0,
    dampening: Annotated[float, Ge(0), Le(1)] = 0.0,
    nesterov: bool = False,
    weight_decay: Strength = 0.0,
) -> torch.optim.SGD:
    """Gradient descent; the batch size makes it batch, mini-batch or stochastic descent.

    With the gradient ``g`` and the decay ``g += weight_decay * w``:
    ``v = momentum * v + (1 - dampening) * g`` (the first ``v`` is ``g``), then ``w -= lr * v``;
    with Nesterov momentum ``w -= lr * (g + momentum * v)``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        momentum: share of the last step's velocity that is kept; 0 is plain descent.
        dampening: share of the gradient that does not enter the velocity.
        nesterov: look ahead along the velocity; needs momentum and no dampening.
        weight_decay: factor of the weights that is added to the gradient.

    Raises:
        ConfigError: Nesterov momentum without momentum, or with dampening.

    Reference:
        Robbins and Monro 1951, doi:10.1214/aoms/1177729586; momentum: Sutskever et al. 2013,
        https://proceedings.mlr.press/v28/sutskever13.html.
    """
    if nesterov and (momentum == 0 or dampening != 0):
        raise ConfigError(
            "optimizer.nesterov needs momentum above 0 and dampening 0, but momentum is "
            f"{momentum} and dampening is {dampening}; "
            "set optimizer.momentum=0.9 optimizer.dampening=0"
        )
    params = list(params)
    return torch.optim.SGD(
        params,
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        weight_decay=weight_decay,
        fused=fusible(params),
    )


def rprop(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 0.01,
    shrink: Annotated[float, Gt(0), Lt(1)] = 0.5,
    grow: Annotated[float, Gt(1)] = 1.2,
    min_step: Positive = 1e-6,
    max_step: Positive = 50.0,
) -> torch.optim.Rprop:
    """Resilient backpropagation, for full batches (``data.batch_size=all``): only signs count.

    Each weight has a step ``s``, at first ``lr``. Where the gradient keeps its sign, ``s`` grows:
    ``s = min(s * grow, max_step)``; where the sign flips, ``s = max(s * shrink, min_step)`` and the
    weight rests for one step. Then ``w -= s * sign(g)``. A learning-rate schedule has no effect.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: first step of every weight.
        shrink: factor of the step after a change of sign.
        grow: factor of the step while the sign stays.
        min_step: smallest step.
        max_step: largest step.

    Raises:
        ConfigError: the smallest step is above the largest.

    Reference:
        Riedmiller and Braun 1993, doi:10.1109/ICNN.1993.298623.
    """
    if min_step > max_step:
        raise ConfigError(
            f"optimizer.min_step must be at most optimizer.max_step, but {min_step} > {max_step}; "
            "swap them"
        )
    return torch.optim.Rprop(
        list(params), lr=lr, etas=(shrink, grow), step_sizes=(min_step, max_step)
    )
