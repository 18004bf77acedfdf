"""VGG: a deep stack of 3 x 3 convolutions."""

from typing import Annotated, Literal

from torch import Tensor, nn

from dlframe.components.architectures.layers import (
    ActivationFactory,
    conv_layers,
    dense_layers,
    normalized_size,
)
from dlframe.components.architectures.shapes import image_shape
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, Normalization

__all__ = ["VGG"]

_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each stage, by the number of layers with weights that the paper's networks have."""
_GROWTH = (1, 2, 4, 8, 8)


class VGG(Architecture):
    """Five stages of 3 x 3 convolutions, each ending in 2 x 2 max-pooling, then dense layers.

    ``x[B, C, H, W]`` float32 to ``y[B, output_size]`` float32; about 580,000 parameters on MNIST. The
    paper's networks have ``width=64 stem=standard dense=[4096,4096] normalization=none``.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        depth: layers with weights of the paper's network: 8, 10, 13 or 16 of them are convolutions.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        stem: ``standard`` pools after each stage and hands 7 x 7 maps to the dense layers; ``small``,
            for images of about 32 pixels, does not pool after the first stage and hands on the mean
            over each map. Maps of one pixel are not pooled.
        dense: widths of the dense layers before the output layer.
        normalization: normalization after each convolution.

    Raises:
        ConfigError: the input is no image, or a width is not positive.

    Reference: Simonyan and Zisserman 2014, arXiv:1409.1556.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        depth: Literal[11, 13, 16, 19] = 11,
        width: Annotated[int, Ge(1), Range(8, 64, log=True)] = 16,
        stem: Literal["small", "standard"] = "small",
        dense: tuple[int, ...] = (),
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        inputs, height, breadth = image_shape(spec, "vgg")
        layers: list[nn.Module] = []
        for stage, (count, growth) in enumerate(zip(_STAGES[depth], _GROWTH, strict=True)):
            for _ in range(count):
                layers += [*conv_layers(inputs, width * growth, normalization), activation()]
                inputs = width * growth
            pooled = height // 2, breadth // 2
            last = stage == len(_GROWTH) - 1
            least = 1 if last else normalized_size(normalization)
            if (
                (stage > 0 or stem == "standard")
                and min(pooled) > 0
                and pooled[0] * pooled[1] >= least
            ):
                layers.append(nn.MaxPool2d(2))
                height, breadth = pooled
        side = 7 if stem == "standard" else 1
        flat = inputs * side * side
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(side))
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.0),
            *dense_layers(flat, dense, activation, option="dense"),
            nn.Linear(dense[-1] if dense else flat, spec.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``y[B, output_size]``."""
        y: Tensor = self.classifier(self.features(x))
        return y
