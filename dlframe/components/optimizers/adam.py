"""Adam and its relatives: steps scaled by running moments of the gradient.

Formulas share these symbols: gradient ``g``, weights ``w``, step number ``t``, moments
``m = b1 m + (1 - b1) g`` and ``v = b2 v + (1 - b2) g^2``, and the unbiased ``m' = m / (1 - b1^t)``
and ``v' = v / (1 - b2^t)``. Weight decay adds ``weight_decay * w`` to ``g``, or, where it is
decoupled, first shrinks the weights: ``w *= 1 - lr * weight_decay``.
"""

from collections.abc import Iterable

import torch
from torch import nn

from dlframe.components.optimizers.common import check_betas, fusible
from dlframe.interfaces.options import LearningRate, Positive, Strength

__all__ = ["adam", "adamax", "adamw", "nadam", "radam"]


def adam(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.0,
    amsgrad: bool = False,
) -> torch.optim.Adam:
    """Adam: ``w -= lr * m' / (sqrt(v') + eps)``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        betas: decay rates ``b1`` and ``b2`` of the first and the second moment, each in [0, 1).
        eps: added to the denominator, against division by zero.
        weight_decay: factor of the weights that is added to the gradient.
        amsgrad: divide by the largest ``v`` so far, which makes the effective rate never grow.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Kingma and Ba 2015, arXiv:1412.6980; AMSGrad: Reddi et al. 2018, arXiv:1904.09237.
    """
    params = list(params)
    return torch.optim.Adam(
        params,
        lr=lr,
        betas=check_betas(betas),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=fusible(params),
    )


def adamw(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.01,
    amsgrad: bool = False,
) -> torch.optim.AdamW:
    """Adam with decoupled weight decay: ``w *= 1 - lr * weight_decay``, then Adam's step.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        betas: decay rates ``b1`` and ``b2`` of the first and the second moment, each in [0, 1).
        eps: added to the denominator, against division by zero.
        weight_decay: share of the weights, times ``lr``, that each step takes away.
        amsgrad: divide by the largest ``v`` so far, which makes the effective rate never grow.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Loshchilov and Hutter 2019, arXiv:1711.05101.
    """
    params = list(params)
    return torch.optim.AdamW(
        params,
        lr=lr,
        betas=check_betas(betas),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=fusible(params),
    )


def nadam(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.0,
    momentum_decay: Strength = 4e-3,
    decoupled_weight_decay: bool = False,
) -> torch.optim.NAdam:
    """Adam with Nesterov momentum: the first moment looks one step ahead.

    ``w -= lr * (mu[t+1] m / (1 - P mu[t+1]) + (1 - mu[t]) g / (1 - P)) / (sqrt(v') + eps)`` with
    ``mu[t] = b1 (1 - 0.96^(t * momentum_decay) / 2)`` and ``P = mu[1] ... mu[t]``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        betas: decay rates ``b1`` and ``b2`` of the first and the second moment, each in [0, 1).
        eps: added to the denominator, against division by zero.
        weight_decay: factor of the weights that the gradient gains, or the weights lose.
        momentum_decay: how fast the momentum rises to ``b1``.
        decoupled_weight_decay: decay the weights as AdamW does, apart from the gradient.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """
    return torch.optim.NAdam(
        list(params),
        lr=lr,
        betas=check_betas(betas),
        eps=eps,
        weight_decay=weight_decay,
        momentum_decay=momentum_decay,
        decoupled_weight_decay=decoupled_weight_decay,
    )


def radam(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.0,
    decoupled_weight_decay: bool = False,
) -> torch.optim.RAdam:
    """Adam that trusts the second moment only once enough gradients were seen.

    With ``n = 2 / (1 - b2) - 1`` and ``r = n - 2 t b2^t / (1 - b2^t)``: ``w -= lr * m'`` while
    ``r <= 5``, later ``w -= lr * c * m' / sqrt(v')`` with the rectification
    ``c = sqrt((r - 4) (r - 2) n / ((n - 4) (n - 2) r))``. The first steps are thus as long as the
    gradient is steep, unlike Adam's.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        betas: decay rates ``b1`` and ``b2`` of the first and the second moment, each in [0, 1).
        eps: added to the denominator, against division by zero.
        weight_decay: factor of the weights that the gradient gains, or the weights lose.
        decoupled_weight_decay: decay the weights as AdamW does, apart from the gradient.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Liu et al. 2020, arXiv:1908.03265.
    """
    return torch.optim.RAdam(
        list(params),
        lr=lr,
        betas=check_betas(betas),
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
    )


def adamax(
    params: Iterable[nn.Parameter],
    *,
    lr: LearningRate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Strength = 0.0,
) -> torch.optim.Adamax:
    """Adam with the infinity norm: ``u = max(b2 u, |g| + eps)``, then ``w -= lr * m' / u``.

    Args:
        params: parameters, in any shape, floating dtype.
        lr: learning rate.
        betas: decay rates ``b1`` of the first moment and ``b2`` of the norm, each in [0, 1).
        eps: added to the gradient's size, against division by zero.
        weight_decay: factor of the weights that is added to the gradient.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Kingma and Ba 2015, section 7.1, arXiv:1412.6980.
    """
    return torch.optim.Adamax(
        list(params), lr=lr, betas=check_betas(betas), eps=eps, weight_decay=weight_decay
    )
