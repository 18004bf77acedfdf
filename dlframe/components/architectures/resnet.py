"""Residual networks, for small images and large ones."""

from typing import Annotated, Literal

from torch import Tensor, nn

from dlframe.components.architectures.layers import (
    ActivationFactory,
    conv_layers,
    normalized_size,
)
from dlframe.components.architectures.shapes import check_widths, halved_sizes, image_shape
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, Normalization

__all__ = ["BasicBlock", "Bottleneck", "ResNet"]

_PRESETS: dict[int, tuple[Literal["basic", "bottleneck"], tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
}
"""Kind and number of blocks by the number of layers with weights that the paper's networks have."""
_EXPANSION = 4
"""Channels that a bottleneck gives, for each of its inner ones."""


class _Residual(nn.Module):
    """``y = activation(residual(x) + shortcut(x))``.

    The shortcut is the identity, or a normalized 1 x 1 convolution where the shape changes.
    """

    def __init__(
        self,
        residual: list[nn.Module],
        inputs: int,
        outputs: int,
        stride: int,
        activation: ActivationFactory,
        normalization: Normalization,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(*residual)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                *conv_layers(
                    inputs, outputs, normalization, kernel_size=1, stride=stride, padding=0
                )
            )
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, inputs, H, W]`` to ``y[B, outputs, H / stride, W / stride]``."""
        y: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return y


class BasicBlock(_Residual):
    """Two 3 x 3 convolutions around which the input is carried.

    ``y = activation(norm(conv(activation(norm(conv(x))))) + shortcut(x))``; the shortcut is the
    identity, or a normalized 1 x 1 convolution where the shape changes. ``x[B, inputs, H, W]`` to
    ``y[B, outputs, H / stride, W / stride]``, rounded up.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: step of the first convolution, in pixels.
        activation: makes an activation.
        normalization: normalization after each convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activation: ActivationFactory,
        normalization: Normalization,
    ) -> None:
        residual = [
            *conv_layers(inputs, outputs, normalization, stride=stride),
            activation(),
            *conv_layers(outputs, outputs, normalization),
        ]
        super().__init__(residual, inputs, outputs, stride, activation, normalization)


class Bottleneck(_Residual):
    """A 3 x 3 convolution at a quarter of the channels, between two of 1 x 1 pixel.

    ``y = activation(norm(W_3 activation(norm(conv(activation(norm(W_1 x)))))) + shortcut(x))``;
    ``x[B, inputs, H, W]`` to ``y[B, outputs, H / stride, W / stride]``, rounded up. The 3 x 3
    convolution takes the step, as in most implementations; in the paper it is the first.

    Args:
        inputs: channels of the input.
        outputs: channels of the output, a multiple of four.
        stride: step of the 3 x 3 convolution, in pixels.
        activation: makes an activation.
        normalization: normalization after each convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activation: ActivationFactory,
        normalization: Normalization,
    ) -> None:
        inner = outputs // _EXPANSION
        residual = [
            *conv_layers(inputs, inner, normalization, kernel_size=1, padding=0),
            activation(),
            *conv_layers(inner, inner, normalization, stride=stride),
            activation(),
            *conv_layers(inner, outputs, normalization, kernel_size=1, padding=0),
        ]
        super().__init__(residual, inputs, outputs, stride, activation, normalization)


class ResNet(Architecture):
    """Residual network, by default in the form for small images.

    A stem, then stages of residual blocks; each stage after the first halves the maps and doubles the
    channels; the mean over the last maps feeds one linear layer. ``x[B, C, H, W]`` float32 to
    ``y[B, output_size]`` float32; about 175,000 parameters on MNIST. The paper's networks for ImageNet
    have ``depth=18``, ``34`` or ``50`` with ``width=64 stem=standard``.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        depth: layers with weights of the paper's network (50 has bottlenecks), in place of ``blocks``
            and ``block``; null takes those.
        blocks: number of blocks in each stage; three blocks in each of three stages with width 16
            is the ResNet-20 of the paper.
        block: ``basic`` (two 3 x 3 convolutions), or ``bottleneck`` (1 x 1, 3 x 3, 1 x 1), which gives
            four times the channels.
        width: channels of the first stage, before the bottlenecks' factor of four.
        stem: ``small``, a 3 x 3 convolution without pooling, for images of about 32 pixels;
            ``standard``, a 7 x 7 convolution with step 2 and 3 x 3 max-pooling with step 2.
        normalization: normalization after each convolution.

    Raises:
        ConfigError: the input is no image, the image is too small for so many stages, there is no
            stage, or a stage has no block.

    Reference: He et al. 2015, arXiv:1512.03385.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        depth: Literal[18, 34, 50] | None = None,
        blocks: tuple[int, ...] = (2, 2, 2),
        block: Literal["basic", "bottleneck"] = "basic",
        width: Annotated[int, Ge(1), Range(8, 64, log=True)] = 16,
        stem: Literal["small", "standard"] = "small",
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape(spec, "resnet")
        if depth is not None:
            block, blocks = _PRESETS[depth]
        check_widths("blocks", blocks)
        if not blocks:
            raise ConfigError("resnet needs at least one stage; got blocks=[]: use [2, 2, 2]")
        early = 2 if stem == "standard" else 0
        halved_sizes(
            height,
            breadth,
            len(blocks) - 1 + early,
            what="stages in `blocks`" if depth is None and not early else "halvings of the maps",
            free=1 if depth is None and not early else 0,
            smallest=normalized_size(normalization),
        )
        layers = _stem(stem, channels, width, activation, normalization)
        channels, made = width, BasicBlock if block == "basic" else Bottleneck
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage * (1 if block == "basic" else _EXPANSION)
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                layers.append(made(channels, outputs, stride, activation, normalization))
                channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.0),
            nn.Linear(channels, spec.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``y[B, output_size]``."""
        y: Tensor = self.classifier(self.features(x))
        return y


def _stem(
    kind: Literal["small", "standard"],
    channels: int,
    width: int,
    activation: ActivationFactory,
    normalization: Normalization,
) -> list[nn.Module]:
    if kind == "small":
        return [*conv_layers(channels, width, normalization), activation()]
    seven = conv_layers(channels, width, normalization, kernel_size=7, stride=2, padding=3)
    return [*seven, activation(), nn.MaxPool2d(3, stride=2, padding=1)]
