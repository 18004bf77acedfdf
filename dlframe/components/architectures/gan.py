"""A generator and a discriminator."""

import math
from typing import Annotated

from torch import nn

from dlframe.components.architectures.images import ImageDecoder, ImageEncoder
from dlframe.components.architectures.layers import ActivationFactory, dense_layers
from dlframe.errors import ConfigError
from dlframe.interfaces import GenerativeAdversarial, Range, Spec
from dlframe.interfaces.options import Ge, Normalization, PositiveInt

__all__ = ["GAN"]


class GAN(GenerativeAdversarial):
    """A generator and a discriminator: convolutional for images, dense for other inputs.

    The generator maps noise ``z[B, latent_size]`` to samples ``[B, *input_shape]``, raw numbers on
    the scale of the preprocessed data; the discriminator maps samples to one logit each, ``[B,
    1]``. As in DCGAN, normalization stands in both networks but not in the generator's last and the
    discriminator's first layer; with batch normalization, real and generated examples are
    normalized apart.

    Args:
        spec: what the data gives.
        activation: makes an activation, for both networks.
        latent_size: length of the noise vector.
        width: for images, channels at half the image's size, doubled with each further halving;
            else the width of every hidden layer.
        depth: number of halvings of the image, or of hidden layers, in each network.
        normalization: normalization before each activation.

    Raises:
        ConfigError: the image is too small for the depth, the input is tokens, or the normalization
            needs maps and the input is no image.

    Reference: Goodfellow et al. 2014, arXiv:1406.2661; DCGAN arXiv:1511.06434.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        latent_size: Annotated[int, Ge(1), Range(8, 256, log=True)] = 64,
        width: Annotated[int, Ge(1), Range(16, 256, log=True)] = 64,
        depth: PositiveInt = 2,
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        if spec.input == "tokens":
            raise ConfigError("gan needs numbers and the data gives tokens; use other data")
        self.latent_size = latent_size
        if spec.input == "image":
            channels = [width * 2**i for i in range(depth)]
            self.generator: nn.Module = ImageDecoder(
                spec, latent_size, channels, activation, normalization, what="halvings in `depth`"
            )
            encoder = ImageEncoder(
                spec,
                channels,
                activation,
                normalization,
                normalize_first=False,
                what="halvings in `depth`",
            )
            self.discriminator: nn.Module = nn.Sequential(encoder, nn.Linear(encoder.size, 1))
            return
        values, widths = math.prod(spec.input_shape), [width] * depth
        self.generator = nn.Sequential(
            *dense_layers(latent_size, widths, activation, normalization),
            nn.Linear(width, values),
            nn.Unflatten(1, spec.input_shape),
        )
        self.discriminator = nn.Sequential(
            nn.Flatten(),
            *dense_layers(values, widths[:1], activation),
            *dense_layers(width, widths[1:], activation, normalization),
            nn.Linear(width, 1),
        )
