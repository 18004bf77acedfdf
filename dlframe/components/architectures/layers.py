"""Pieces that several architectures are made of: normalization, dense and convolutional layers."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from dlframe.components.architectures.shapes import check_widths
from dlframe.errors import ConfigError
from dlframe.interfaces.options import Normalization

__all__ = [
    "ActivationFactory",
    "conv_layers",
    "dense_layers",
    "normalized_size",
    "step_normalization",
]

ActivationFactory = Callable[[], nn.Module]
"""Returns a new activation module at each call, so that trainable parameters are not shared."""

_MOST_GROUPS = 8


def _groups(channels: int) -> int:
    """Return the most groups, up to eight, that divide ``channels`` with two or more in each.

    A group of one channel in a map of one pixel would always normalize to zero.
    """
    return max(
        (n for n in range(1, _MOST_GROUPS + 1) if channels % n == 0 and channels >= 2 * n),
        default=1,
    )


def _dense_normalization(kind: Normalization, width: int) -> list[nn.Module]:
    match kind:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm1d(width)]
        case "layer":
            return [nn.LayerNorm(width)]
        case "group":
            return [nn.GroupNorm(_groups(width), width)]
        case "instance":
            raise ConfigError(
                "normalization=instance needs maps of several pixels per channel, and dense layers "
                "have one value; use normalization=layer or batch"
            )


def _conv_normalization(kind: Normalization, channels: int) -> list[nn.Module]:
    match kind:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":  # over channels and pixels; one group is the form with a scale per channel
            return [nn.GroupNorm(1, channels)]
        case "group":
            return [nn.GroupNorm(_groups(channels), channels)]
        case "instance":
            return [nn.InstanceNorm2d(channels, affine=True)]


def step_normalization(kind: Literal["none", "layer", "rms"], width: int) -> nn.Module:
    """Return the normalization of each step's vector in a sequence ``[B, T, width]``."""
    match kind:
        case "none":
            return nn.Identity()
        case "layer":
            return nn.LayerNorm(width)
        case "rms":
            return nn.RMSNorm(width)


def normalized_size(kind: Normalization) -> int:
    """Return how many pixels a map must have for ``kind`` to be defined in training."""
    return 2 if kind == "instance" else 1


def dense_layers(
    inputs: int,
    widths: Sequence[int],
    activation: ActivationFactory,
    normalization: Normalization = "none",
    *,
    option: str = "hidden",
) -> list[nn.Module]:
    """Return linear layers, each with normalization, activation and a place for dropout.

    ``h_i = dropout(activation(norm(W_i h_{i-1} + b_i)))``, ``x[B, inputs]`` to
    ``h[B, widths[-1]]``. A layer that is normalized has no bias: the normalization has one.

    Args:
        inputs: size of the input.
        widths: sizes of the layers; empty gives no layers.
        activation: makes an activation.
        normalization: kind of normalization.
        option: name of the option that holds the widths, for the error message.

    Raises:
        ConfigError: a width is not positive, or the normalization needs maps.
    """
    check_widths(option, widths)
    layers: list[nn.Module] = []
    for width in widths:
        layers += [
            nn.Linear(inputs, width, bias=normalization == "none"),
            *_dense_normalization(normalization, width),
            activation(),
            nn.Dropout(0.0),
        ]
        inputs = width
    return layers


def conv_layers(
    inputs: int,
    channels: int,
    normalization: Normalization,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int = 1,
) -> list[nn.Module]:
    """Return a convolution and its normalization, without activation.

    Maps ``x[B, inputs, H, W]`` to ``[B, channels, H', W']``. A layer that is normalized has no
    bias.
    """
    bias = normalization == "none"
    convolution = nn.Conv2d(inputs, channels, kernel_size, stride, padding, bias=bias)
    return [convolution, *_conv_normalization(normalization, channels)]
