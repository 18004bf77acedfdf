"""Images to vectors by strided convolutions, and vectors to images; of any size."""

from collections.abc import Sequence

from torch import Tensor, nn

from dlframe.components.architectures.layers import (
    ActivationFactory,
    conv_layers,
    normalized_size,
)
from dlframe.components.architectures.shapes import check_widths, halved_sizes, image_shape
from dlframe.interfaces import Spec
from dlframe.interfaces.options import Normalization

__all__ = ["ImageDecoder", "ImageEncoder"]


class ImageEncoder(nn.Module):
    """Strided 3 x 3 convolutions, each halving the map (rounded up), then flattening.

    ``x[B, C, H, W]`` to ``h[B, size]``.

    Args:
        spec: what the data gives.
        channels: output channels of the convolutions.
        activation: makes an activation.
        normalization: normalization before each activation.
        normalize_first: whether the first convolution is normalized too.
        what: how error messages call the convolutions.

    Attributes:
        size: length of the vectors it gives.

    Raises:
        ConfigError: the input is no image, or the image is too small.
    """

    def __init__(
        self,
        spec: Spec,
        channels: Sequence[int],
        activation: ActivationFactory,
        normalization: Normalization,
        *,
        normalize_first: bool = True,
        what: str = "convolutions in `channels`",
    ) -> None:
        super().__init__()
        sizes = _sizes(spec, channels, normalization, what)
        inputs, layers = spec.input_shape[0], list[nn.Module]()
        for i, outputs in enumerate(channels):
            kind = normalization if i > 0 or normalize_first else "none"
            layers += [*conv_layers(inputs, outputs, kind, stride=2), activation(), nn.Dropout(0.0)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.size = inputs * sizes[-1][0] * sizes[-1][1]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``h[B, size]``."""
        h: Tensor = self.layers(x)
        return h


class ImageDecoder(nn.Module):
    """The reverse: a linear layer to the smallest map, then enlargements and 3 x 3 convolutions.

    ``z[B, inputs]`` to ``x[B, C, H, W]``. Maps are enlarged by repeating pixels to the exact size
    that the encoder saw, which fits any image and avoids the checkerboard of transposed
    convolutions.

    Args:
        spec: what the data gives.
        inputs: length of the vectors it takes.
        channels: channels of the encoder; they are used in reverse.
        activation: makes an activation.
        normalization: normalization before each activation.
        what: how error messages call the convolutions.

    Raises:
        ConfigError: the input is no image, or the image is too small.

    Reference: Odena et al. 2016, doi:10.23915/distill.00003.
    """

    def __init__(
        self,
        spec: Spec,
        inputs: int,
        channels: Sequence[int],
        activation: ActivationFactory,
        normalization: Normalization,
        *,
        what: str = "convolutions in `channels`",
    ) -> None:
        super().__init__()
        sizes = _sizes(spec, channels, normalization, what)
        widths = [spec.input_shape[0], *channels]
        smallest = (widths[-1], *sizes[-1])
        layers: list[nn.Module] = [
            nn.Linear(inputs, smallest[0] * smallest[1] * smallest[2]),
            nn.Unflatten(1, smallest),
        ]
        for i in range(len(channels), 0, -1):
            last = i == 1
            layers += [
                activation(),
                nn.Upsample(size=sizes[i - 1]),
                *conv_layers(widths[i], widths[i - 1], "none" if last else normalization),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z[B, inputs]`` to ``x[B, C, H, W]``."""
        x: Tensor = self.layers(z)
        return x


def _sizes(
    spec: Spec, channels: Sequence[int], normalization: Normalization, what: str
) -> list[tuple[int, int]]:
    _, height, width = image_shape(spec, "a convolutional network")
    check_widths("channels", channels)
    return halved_sizes(
        height, width, len(channels), what=what, smallest=normalized_size(normalization)
    )
