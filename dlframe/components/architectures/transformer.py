"""The transformer encoder, and the blocks that other transformers are made of."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dlframe.components.architectures.layers import ActivationFactory, step_normalization
from dlframe.components.architectures.sequences import SequenceView, masked_mean
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, PositiveInt

__all__ = ["EncoderBlock", "SelfAttention", "Transformer", "check_heads", "rotate"]

_Norm = Literal["none", "layer", "rms"]


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    ``softmax(Q K^T / sqrt(width / heads)) V`` in each head, ``x[B, T, width]`` to ``[B, T,
    width]``. The keys have no bias: it would add the same number to all scores of a query, which
    the softmax takes out again, so that it could never be trained.

    Args:
        width: size of each step's vector.
        heads: number of heads, which divides ``width``.
        causal: whether a step looks at itself and those before it only.
        rotary: whether queries and keys are turned by angles that grow with their places, so that
            scores depend on how far apart two steps are (Su et al. 2021, arXiv:2104.09864).
    """

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, rotary: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.causal, self.rotary = heads, causal, rotary
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``x[B, T, width]`` to ``[B, T, width]``.

        Only steps that ``mask[B, T]`` counts are looked at; in a row where none counts, all are. With
        ``causal`` there is no mask: what stands behind is not looked at anyway.
        """
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        if self.rotary:
            q, k = rotate(q), rotate(k)
        if mask is not None:
            mask = (mask | ~mask.any(1, keepdim=True))[:, None, None]
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        y: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return y


def rotate(x: Tensor) -> Tensor:
    """Turn each pair ``(i, i + D / 2)`` of values of ``x[..., T, D]`` by the angle ``t * f_i``.

    ``t`` is the step's place and ``f_i = 10000^(-2 i / D)``; ``D`` is even.
    """
    steps, half = x.shape[-2], x.shape[-1] // 2
    places = torch.arange(steps, device=x.device, dtype=torch.float32)
    speeds = 10000.0 ** -(torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = places[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward part, each added to its input.

    ``h = x + attention(norm(x))``, ``y = h + W_2 activation(W_1 norm(h))`` with ``pre_norm``, else
    ``h = norm(x + attention(x))``, ``y = norm(h + W_2 activation(W_1 h))``; ``x[B, T, width]`` to
    ``y[B, T, width]``.

    Args:
        width: size of each step's vector.
        heads: number of attention heads.
        feed_forward: width of the feed-forward part, as a multiple of ``width``.
        activation: makes an activation.
        normalization: kind of normalization.
        pre_norm: whether normalization comes before each part instead of after the sum.
        causal: whether a step looks at itself and those before it only.
        rotary: whether places turn queries and keys.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        activation: ActivationFactory,
        normalization: _Norm,
        pre_norm: bool,
        *,
        causal: bool = False,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        attention = SelfAttention(width, heads, causal=causal, rotary=rotary)
        self.attention = nn.Sequential(attention, nn.Dropout(0.0))
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward * width),
            activation(),
            nn.Dropout(0.0),
            nn.Linear(feed_forward * width, width),
            nn.Dropout(0.0),
        )
        self.attention_norm = step_normalization(normalization, width)
        self.feed_forward_norm = step_normalization(normalization, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``x[B, T, width]`` to ``y[B, T, width]``; ``mask[B, T]`` as for attention."""
        if self.pre_norm:
            h = x + self._attend(self.attention_norm(x), mask)
            y: Tensor = h + self.feed_forward(self.feed_forward_norm(h))
            return y
        h = self.attention_norm(x + self._attend(x, mask))
        z: Tensor = self.feed_forward_norm(h + self.feed_forward(h))
        return z

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attention, dropout = self.attention
        y: Tensor = dropout(attention(x, mask))
        return y


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of heads that does not divide the width.

    Raises:
        ConfigError: it does not.
    """
    if width % heads:
        raise ConfigError(
            f"`heads` must divide `width`; got heads={heads} and width={width}: use "
            f"width={-(-width // heads) * heads}"
        )


class Transformer(Architecture):
    """Transformer encoder over a sequence with learned positions, then one linear layer.

    ``x[B, *input_shape]`` float32 (int64 tokens) to ``y[B, output_size]`` float32. An image is read
    as a sequence of its rows, features one by one, tokens through an embedding; each step is mapped
    to ``width`` values, to which its position's trained vector is added. The activation acts in the
    feed-forward parts. Padding behind tokens is neither looked at nor counted in the mean, which is
    zero for a row of padding alone.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        width: size of each step's vector.
        depth: number of blocks.
        heads: number of attention heads; it must divide ``width``.
        feed_forward: width of the feed-forward parts, as a multiple of ``width``.
        pooling: what the output layer sees: the ``mean`` over the steps, or the output at an
            additional first step (``cls``).
        normalization: ``layer`` (LayerNorm), ``rms`` (RMSNorm) or ``none``.
        pre_norm: normalize before each part (Xiong et al. 2020) instead of after its sum.

    Raises:
        ConfigError: ``heads`` does not divide ``width``, or the data gives tokens without a
            vocabulary.

    Reference: Vaswani et al. 2017, arXiv:1706.03762; pre-norm arXiv:2002.04745.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        width: PositiveInt = 64,
        depth: Annotated[int, Ge(1), Range(1, 8)] = 2,
        heads: PositiveInt = 4,
        feed_forward: PositiveInt = 4,
        pooling: Literal["mean", "cls"] = "mean",
        normalization: Literal["none", "layer", "rms"] = "layer",
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        check_heads(width, heads)
        self.view = SequenceView(spec, width)
        self.project = nn.Identity() if spec.input == "tokens" else nn.Linear(self.view.size, width)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if pooling == "cls" else None
        length = self.view.length + (pooling == "cls")
        self.positions = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.blocks = nn.Sequential(
            nn.Dropout(0.0),
            *(
                EncoderBlock(width, heads, feed_forward, activation, normalization, pre_norm)
                for _ in range(depth)
            ),
        )
        # With pre-norm the sum that leaves the last block has not been normalized.
        self.norm = step_normalization(normalization if pre_norm else "none", width)
        self.head = nn.Linear(width, spec.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to ``y[B, output_size]``."""
        x = self.view.trim(x)
        mask, h = self.view.mask(x), self.project(self.view(x))
        if self.cls is not None:
            h = torch.cat((self.cls.to(h.dtype).expand(len(h), -1, -1), h), 1)
            if mask is not None:
                mask = torch.cat((mask.new_ones(len(h), 1), mask), 1)
        h = h + self.positions[:, : h.shape[1]]
        dropout, *blocks = self.blocks
        h = dropout(h)
        for block in blocks:
            h = block(h, mask)
        h = self.norm(h)
        y: Tensor = self.head(masked_mean(h, mask) if self.cls is None else h[:, 0])
        return y
