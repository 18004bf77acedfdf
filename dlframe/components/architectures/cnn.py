"""A plain convolutional network."""

from typing import Literal

from torch import Tensor, nn

from dlframe.components.architectures.layers import (
    ActivationFactory,
    conv_layers,
    dense_layers,
)
from dlframe.components.architectures.shapes import check_widths, image_shape
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Spec
from dlframe.interfaces.options import Normalization, PositiveInt

__all__ = ["CNN"]


class CNN(Architecture):
    """Convolutions, each with an activation and 2 x 2 pooling, then dense layers.

    ``x[B, C, H, W]`` float32 to ``y[B, output_size]`` float32. With ``channels=[32]`` and
    ``padding=valid`` it is the network of the Keras tutorial on MNIST: a 3 x 3 convolution to 32
    channels, max-pooling, a dense layer of 64 and the output layer, 347,146 parameters.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        channels: output channels of the convolutions, one number per convolution.
        kernel_size: side of the kernels, in pixels.
        padding: ``same`` pads with zeros so that a convolution keeps the map's size; ``valid`` does
            not pad.
        pooling: how each 2 x 2 square becomes one value.
        dense: widths of the dense layers before the output layer.
        normalization: normalization after each convolution.

    Raises:
        ConfigError: the input is no image, the image is too small for so many convolutions, a width
            is not positive, or an even kernel is to keep the map's size.

    Reference: LeCun et al. 1998, doi:10.1109/5.726791.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        channels: tuple[int, ...] = (32, 64),
        kernel_size: PositiveInt = 3,
        padding: Literal["same", "valid"] = "same",
        pooling: Literal["max", "average"] = "max",
        dense: tuple[int, ...] = (64,),
        normalization: Normalization = "none",
    ) -> None:
        super().__init__()
        inputs, height, width = image_shape(spec, "cnn")
        check_widths("channels", channels)
        if padding == "same" and kernel_size % 2 == 0:
            raise ConfigError(
                f"padding=same needs an odd `kernel_size`; got {kernel_size}: use "
                f"{kernel_size + 1} or padding=valid"
            )
        lost = 0 if padding == "same" else kernel_size - 1
        sizes = _pooled_sizes(height, width, lost)
        if len(channels) >= len(sizes):
            raise ConfigError(
                f"images of {height} x {width} allow at most {len(sizes) - 1} convolutions with "
                f"kernel_size={kernel_size} and padding={padding}, and `channels` has "
                f"{len(channels)}; shorten it"
            )
        layers: list[nn.Module] = []
        for outputs in channels:
            layers += [
                *conv_layers(
                    inputs,
                    outputs,
                    normalization,
                    kernel_size=kernel_size,
                    padding=(kernel_size - 1 - lost) // 2,
                ),
                activation(),
                nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2),
            ]
            inputs = outputs
        height, width = sizes[len(channels)]
        flat = inputs * height * width
        self.features = nn.Sequential(*layers)
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


def _pooled_sizes(height: int, width: int, lost: int) -> list[tuple[int, int]]:
    """Return the sizes after 0, 1, 2, ... convolutions with pooling, as far as a pixel is left."""
    sizes = [(height, width)]
    while True:
        height, width = (height - lost) // 2, (width - lost) // 2
        if min(height, width) < 1:
            return sizes
        sizes.append((height, width))
