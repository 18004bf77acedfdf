"""A residual network for small images."""

from typing import Annotated

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

__all__ = ["BasicBlock", "ResNet"]


class BasicBlock(nn.Module):
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
        super().__init__()
        self.residual = nn.Sequential(
            *conv_layers(inputs, outputs, normalization, stride=stride),
            activation(),
            *conv_layers(outputs, outputs, normalization),
        )
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


class ResNet(Architecture):
    """Residual network of basic blocks, in the form for small images.

    A 3 x 3 convolution without pooling, then stages of basic blocks; each stage after the first
    halves the maps and doubles the channels; the mean over the last maps feeds one linear layer.
    ``x[B, C, H, W]`` float32 to ``y[B, output_size]`` float32; about 175,000 parameters on MNIST.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        blocks: number of basic blocks in each stage; three blocks in each of three stages with
            width 16 is the ResNet-20 of the paper.
        width: channels of the first stage.
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
        blocks: tuple[int, ...] = (2, 2, 2),
        width: Annotated[int, Ge(1), Range(8, 64, log=True)] = 16,
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape(spec, "resnet")
        check_widths("blocks", blocks)
        if not blocks:
            raise ConfigError("resnet needs at least one stage; got blocks=[]: use [2, 2, 2]")
        halved_sizes(
            height,
            breadth,
            len(blocks) - 1,
            what="stages in `blocks`",
            free=1,
            smallest=normalized_size(normalization),
        )
        layers = [*conv_layers(channels, width, normalization), activation()]
        channels = width
        for stage, depth in enumerate(blocks):
            for block in range(depth):
                outputs = width * 2**stage
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(channels, outputs, stride, activation, normalization))
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
