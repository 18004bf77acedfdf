"""Weights that make rare classes count as much as frequent ones."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dlframe.errors import ConfigError
from dlframe.interfaces.spec import Spec

__all__ = ["class_weights", "positive_weight"]


def class_weights(
    option: str, weights: Literal["balanced"] | Sequence[float] | None, spec: Spec
) -> Tensor | None:
    """Return one weight per class, ``[C]`` float32, or None.

    ``balanced`` gives class ``c`` the weight ``N / (C * n_c)``, whose mean over the training
    examples is 1.

    Args:
        option: how the user calls the option, such as ``loss.class_weights``.
        weights: what the user set.
        spec: holds the number of classes, and of training examples of each.

    Raises:
        ConfigError: the number of weights is not that of the classes, one is no finite number of at
            least zero, or a class has no training example to balance.
    """
    if weights is None:
        return None
    if weights == "balanced":
        counts = _counts(option, spec)
        return counts.sum() / (len(counts) * counts)
    return _listed(option, weights, spec.output_size)


def positive_weight(
    option: str, weight: Literal["balanced"] | float | Sequence[float] | None, spec: Spec, size: int
) -> Tensor | None:
    """Return the weight of positive labels: a scalar, or one for each of ``size`` logits, or None.

    ``balanced`` gives ``(N - n_c) / n_c``, so that positive and negative labels of a class weigh
    the same in total.

    Args:
        option: how the user calls the option, such as ``loss.pos_weight``.
        weight: what the user set.
        spec: holds the task and the number of training examples of each class.
        size: number of logits.

    Raises:
        ConfigError: the weight does not fit the task or the number of logits, is no finite number
            of at least zero, or a class has no training example to balance.
    """
    if weight is None:
        return None
    if isinstance(weight, int | float):
        return _listed(option, [weight], 1)[0]
    if weight == "balanced":
        if spec.task != "classification":
            raise ConfigError(
                f"{option}=balanced needs classes that exclude each other, as in "
                f"task=classification; got task={spec.task}; give the weight as a number"
            )
        counts = _counts(option, spec)
        ratios = (counts.sum() - counts) / counts
        return ratios[1:] if size == 1 else ratios
    if spec.task not in ("classification", "multilabel"):
        raise ConfigError(
            f"a list for {option} needs classes or labels; got {list(weight)} with "
            f"task={spec.task}; give one number"
        )
    return _listed(option, weight, size)


def _counts(option: str, spec: Spec) -> Tensor:
    if len(spec.class_counts) != spec.output_size:
        raise ConfigError(
            f"{option}=balanced needs the number of training examples of each of the "
            f"{spec.output_size} classes; the data gives {len(spec.class_counts)}; list the weights"
        )
    if 0 in spec.class_counts:
        index = spec.class_counts.index(0)
        name = spec.class_names[index] if spec.class_names else index
        raise ConfigError(
            f"{option}=balanced needs a training example of every class; class {name!r} has none; "
            "list the weights or use more data"
        )
    return torch.tensor(spec.class_counts, dtype=torch.float32)


def _listed(option: str, weights: Sequence[float], size: int) -> Tensor:
    if len(weights) != size:
        raise ConfigError(
            f"{option} needs one weight for each of the {size} outputs; got {len(weights)}: "
            f"{list(weights)}"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ConfigError(f"{option} needs finite weights of at least 0; got {list(weights)}")
    return torch.tensor(list(weights), dtype=torch.float32)
