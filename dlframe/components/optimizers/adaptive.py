"""Steps scaled by the history of squared gradients. Formulas: gradient ``g``, weights ``w``."""

from collections.abc import Iterable
from typing import Annotated

import torch
from torch import nn

from dlframe.components.optimizers.common import fusible
from dlframe.interfaces.options import (
    Ge,
    Gt,
    Le,
    LearningRate,
    Lt,
    NonNegative,
    Positive,
    Range,
    Strength,
)

__all__ = ["adadelta", "adafactor", "adagrad", "rmsprop"]


def adagrad(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 0.01,
    lr_decay: NonNegative = 0.0,
    initial_accumulator: NonNegative = 0.0,
    eps: Positive = 1e-10,
    weight_decay: Strength = 0.0,
) -> torch.optim.Adagrad:
    """Adagrad: ``s += g^2``, then ``w -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps)``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        lr_decay: how fast the learning rate falls with the step number ``t``.
        initial_accumulator: value at which ``s`` starts.
        eps: added to the denominator, against division by zero.
        weight_decay: factor of the weights that is added to the gradient.

    Reference:
        Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html.
    """
    params = list(params)
    return torch.optim.Adagrad(
        params,
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator,
        eps=eps,
        fused=fusible(params),
    )


def adadelta(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Gt(0), Range(0.1, 10.0, log=True)] = 1.0,
    rho: Annotated[float, Ge(0), Lt(1), Range(0.8, 0.99)] = 0.9,
    eps: Positive = 1e-6,
    weight_decay: Strength = 0.0,
) -> torch.optim.Adadelta:
    """Adadelta: steps in the weights' own units, from means of squared gradients and steps.

    ``s = rho s + (1 - rho) g^2``, ``d = sqrt(u + eps) / sqrt(s + eps) * g``,
    ``u = rho u + (1 - rho) d^2``, then ``w -= lr * d``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: factor of the step; 1 in the paper.
        rho: decay rate of both running means.
        eps: added under the roots; it sets the size of the first steps.
        weight_decay: factor of the weights that is added to the gradient.

    Reference:
        Zeiler 2012, arXiv:1212.5701.
    """
    return torch.optim.Adadelta(list(params), lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)


def rmsprop(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 1e-3,
    alpha: Annotated[float, Ge(0), Lt(1), Range(0.8, 0.999)] = 0.99,
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.0,
    momentum: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.99)] = 0.0,
    centered: bool = False,
) -> torch.optim.RMSprop:
    """RMSprop: ``s = alpha s + (1 - alpha) g^2``, then ``w -= lr * g / (sqrt(s) + eps)``.

    With momentum ``b = momentum * b + g / (sqrt(s) + eps)``, then ``w -= lr * b``. Centred,
    ``s`` is reduced by the square of the running mean of ``g``, which makes it a variance.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        alpha: decay rate of the running mean.
        eps: added to the denominator, against division by zero.
        weight_decay: factor of the weights that is added to the gradient.
        momentum: share of the last step that is kept.
        centered: divide by an estimate of the standard deviation instead.

    Reference:
        Tieleman and Hinton 2012, lecture 6.5; centred: Graves 2013, arXiv:1308.0850.
    """
    return torch.optim.RMSprop(
        list(params),
        lr=lr,
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
        centered=centered,
    )


def adafactor(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 0.01,
    beta2_decay: Annotated[float, Le(0), Range(-1.0, -0.5)] = -0.8,
    eps: Positive = 1e-3,
    clip_threshold: Annotated[float, Ge(1)] = 1.0,
    weight_decay: Strength = 0.0,
) -> torch.optim.Adafactor:
    """Adafactor: the second moment of a matrix is kept as the means of its rows and columns.

    With ``b = 1 - t^beta2_decay``, row means ``R = b R + (1 - b) mean_columns(g^2)`` and column
    means ``C`` likewise: ``V = R C / mean(R)``, ``u = g / sqrt(V)``, and
    ``w -= min(lr, 1 / sqrt(t)) * max(eps, rms(w)) * u / max(1, rms(u) / clip_threshold)``.
    Weight decay is decoupled.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: largest learning rate, relative to the size of the weights.
        beta2_decay: exponent by which the decay rate approaches 1.
        eps: smallest size of the weights that is assumed for the step.
        clip_threshold: root mean square above which a step is scaled down.
        weight_decay: share of the weights, times ``lr``, that each step takes away.

    Reference:
        Shazeer and Stern 2018, arXiv:1804.04235.
    """
    return torch.optim.Adafactor(
        list(params),
        lr=lr,
        beta2_decay=beta2_decay,
        eps=(None, eps),
        d=clip_threshold,
        weight_decay=weight_decay,
    )
