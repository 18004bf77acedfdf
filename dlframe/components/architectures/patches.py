"""Networks over the patches of an image: the vision transformer and the MLP-Mixer."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dlframe.components.architectures.layers import ActivationFactory, step_normalization
from dlframe.components.architectures.shapes import image_shape
from dlframe.components.architectures.transformer import EncoderBlock
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, PositiveInt

__all__ = ["MLPMixer", "MixerBlock", "PatchEmbedding", "VisionTransformer"]


class PatchEmbedding(nn.Module):
    """Cuts an image into square patches and maps each to a vector.

    A linear map of each patch's values, ``x[B, C, H, W]`` to ``h[B, T, width]`` with
    ``T = ceil(H / patch_size) ceil(W / patch_size)``, row by row. Images whose sides are no multiples
    of the patch's are filled up with zeros, on both sides alike.

    Args:
        spec: what the data gives.
        patch_size: side of a patch, in pixels.
        width: length of a patch's vector.
        user: name of the architecture, for error messages.

    Attributes:
        length: number of patches.

    Raises:
        ConfigError: the input is no image, or a patch is larger than the image.
    """

    def __init__(self, spec: Spec, patch_size: int, width: int, user: str) -> None:
        super().__init__()
        channels, height, breadth = image_shape(spec, user)
        if patch_size > max(height, breadth):
            raise ConfigError(
                f"`patch_size` must not exceed the sides of the images, {height} x {breadth}; got "
                f"{patch_size}: use {max(1, min(height, breadth) // 4)}"
            )
        rows, columns = -(-height // patch_size), -(-breadth // patch_size)
        self.length = rows * columns
        down, right = rows * patch_size - height, columns * patch_size - breadth
        self.border = (right // 2, right - right // 2, down // 2, down - down // 2)
        self.projection = nn.Conv2d(channels, width, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``h[B, T, width]``."""
        if any(self.border):
            x = pad(x, self.border)
        h: Tensor = self.projection(x).flatten(2).transpose(1, 2)
        return h


class VisionTransformer(Architecture):
    """Transformer encoder over the patches of an image, then one linear layer.

    ``x[B, C, H, W]`` float32 to ``y[B, output_size]`` float32; about 205,000 parameters on MNIST.
    Each patch's vector has its position's trained vector added; blocks are normalized first. With
    ``patch_size=16 width=768 depth=12 heads=12``, ``activation=gelu`` and 224 x 224 pixels it is
    ViT-B/16 of the paper, less the biases of the keys, which change no output.

    Args:
        spec: what the data gives.
        activation: makes an activation, which acts in the feed-forward parts.
        patch_size: side of a patch, in pixels; zeros fill up sides that it does not divide.
        width: length of a patch's vector.
        depth: number of blocks.
        heads: number of attention heads; it must divide ``width``.
        feed_forward: width of the feed-forward parts, as a multiple of ``width``.
        pooling: what the output layer sees: the output at an additional first step (``cls``), or the
            ``mean`` over the patches.
        normalization: ``layer`` (LayerNorm), ``rms`` (RMSNorm) or ``none``.

    Raises:
        ConfigError: the input is no image, a patch is larger than it, or ``heads`` does not divide
            ``width``.

    Reference: Dosovitskiy et al. 2020, arXiv:2010.11929.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        patch_size: PositiveInt = 4,
        width: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(1), Range(2, 12)] = 4,
        heads: PositiveInt = 4,
        feed_forward: PositiveInt = 4,
        pooling: Literal["cls", "mean"] = "cls",
        normalization: Literal["none", "layer", "rms"] = "layer",
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"`heads` must divide `width`; got heads={heads} and width={width}: use "
                f"width={-(-width // heads) * heads}"
            )
        self.patches = PatchEmbedding(spec, patch_size, width, "vision_transformer")
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if pooling == "cls" else None
        length = self.patches.length + (pooling == "cls")
        self.positions = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.blocks = nn.Sequential(
            nn.Dropout(0.0),
            *(
                EncoderBlock(width, heads, feed_forward, activation, normalization, pre_norm=True)
                for _ in range(depth)
            ),
        )
        self.norm = step_normalization(normalization, width)
        self.head = nn.Linear(width, spec.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``y[B, output_size]``."""
        h = self.patches(x)
        if self.cls is not None:
            h = torch.cat((self.cls.to(h.dtype).expand(len(h), -1, -1), h), 1)
        h = self.norm(self.blocks(h + self.positions))
        y: Tensor = self.head(h.mean(1) if self.cls is None else h[:, 0])
        return y


class MixerBlock(nn.Module):
    """Mixes patches within each channel, then channels within each patch.

    ``h = x + (W_2 activation(W_1 norm(x)^T))^T``, ``y = h + W_4 activation(W_3 norm(h))``;
    ``x[B, T, width]`` to ``y[B, T, width]``.

    Args:
        length: number of patches ``T``.
        width: length of a patch's vector.
        token_hidden: hidden width of the part that mixes patches.
        channel_hidden: hidden width of the part that mixes channels.
        activation: makes an activation.
        normalization: kind of normalization.
    """

    def __init__(
        self,
        length: int,
        width: int,
        token_hidden: int,
        channel_hidden: int,
        activation: ActivationFactory,
        normalization: Literal["none", "layer", "rms"],
    ) -> None:
        super().__init__()
        self.token_norm = step_normalization(normalization, width)
        self.tokens = _two_layers(length, token_hidden, activation)
        self.channel_norm = step_normalization(normalization, width)
        self.channels = _two_layers(width, channel_hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, T, width]`` to ``y[B, T, width]``."""
        h = x + self.tokens(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = h + self.channels(self.channel_norm(h))
        return y


def _two_layers(size: int, hidden: int, activation: ActivationFactory) -> nn.Module:
    layers = (nn.Linear(size, hidden), activation(), nn.Dropout(0.0), nn.Linear(hidden, size))
    return nn.Sequential(*layers, nn.Dropout(0.0))


class MLPMixer(Architecture):
    """Dense layers over patches and over channels in turn, without convolution or attention.

    ``x[B, C, H, W]`` float32 to ``y[B, output_size]`` float32: patches become vectors, blocks mix them,
    the mean over the normalized patches feeds one linear layer; about 147,000 parameters on MNIST. With
    ``patch_size=16 width=768 depth=12 token_hidden=384 channel_hidden=3072``, ``activation=gelu`` and
    224 x 224 pixels it is Mixer-B/16 of the paper.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        patch_size: side of a patch, in pixels; zeros fill up sides that it does not divide.
        width: length of a patch's vector.
        depth: number of blocks.
        token_hidden: hidden width of the parts that mix patches.
        channel_hidden: hidden width of the parts that mix channels.
        normalization: ``layer`` (LayerNorm), ``rms`` (RMSNorm) or ``none``.

    Raises:
        ConfigError: the input is no image, or a patch is larger than it.

    Reference: Tolstikhin et al. 2021, arXiv:2105.01601.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        patch_size: PositiveInt = 4,
        width: Annotated[int, Ge(1), Range(16, 256, log=True)] = 64,
        depth: Annotated[int, Ge(1), Range(2, 12)] = 4,
        token_hidden: PositiveInt = 32,
        channel_hidden: PositiveInt = 256,
        normalization: Literal["none", "layer", "rms"] = "layer",
    ) -> None:
        super().__init__()
        self.patches = PatchEmbedding(spec, patch_size, width, "mlp_mixer")
        sizes = (self.patches.length, width, token_hidden, channel_hidden)
        self.blocks = nn.Sequential(
            *(MixerBlock(*sizes, activation, normalization) for _ in range(depth))
        )
        self.norm = step_normalization(normalization, width)
        self.head = nn.Linear(width, spec.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, C, H, W]`` to ``y[B, output_size]``."""
        h: Tensor = self.norm(self.blocks(self.patches(x))).mean(1)
        y: Tensor = self.head(h)
        return y
