"""The feature tokenizer and transformer for tables."""

from typing import Annotated

import torch
from torch import Tensor, nn

from dlframe.components.architectures.layers import ActivationFactory
from dlframe.components.architectures.transformer import EncoderBlock
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, PositiveInt

__all__ = ["FTTransformer", "FeatureTokens"]


class FeatureTokens(nn.Module):
    """One vector per raw column: ``t_j = sum over the columns i of group j of x_i w_i + b_j``.

    A number is a group of its own; the 0/1 columns of a category together pick the category's
    embedding. ``x[B, F]`` to ``[B, G, width]``, float32.

    Args:
        groups: how many consecutive columns belong to each of the ``G`` raw columns.
        width: length of a vector.
    """

    members: Tensor

    def __init__(self, groups: tuple[int, ...], width: int) -> None:
        super().__init__()
        columns = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(groups))
        members = nn.functional.one_hot(columns, len(groups)).T.float()
        self.register_buffer("members", members, persistent=False)
        self.weight = nn.Linear(sum(groups), width, bias=False)
        self.bias = nn.Parameter(torch.empty(len(groups), width))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, F]`` to ``[B, G, width]``."""
        tokens: Tensor = self.weight(x.unsqueeze(1) * self.members) + self.bias
        return tokens


class FTTransformer(Architecture):
    """Transformer over the columns of a table, each a token, and one token that gathers the answer.

    The tokens of ``FeatureTokens`` and a trained first one pass through pre-norm encoder blocks, the
    first without normalization of its attention's input; then ``y = W activation(norm(h_first)) +
    b``. ``x[B, F]`` to ``y[B, output_size]``, float32. Columns have no order, so there are no
    positions. The feed-forward parts have the chosen activation where the paper has ReGLU.

    Args:
        spec: what the data gives; its groups of columns make the tokens.
        activation: makes an activation.
        width: length of each token's vector.
        depth: number of blocks.
        heads: number of attention heads; it must divide ``width``.
        feed_forward: width of the feed-forward parts, as a multiple of ``width``.

    Raises:
        ConfigError: the input is no table, or ``heads`` does not divide ``width``.

    Reference: Gorishniy et al. 2021, arXiv:2106.11959.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        width: Annotated[int, Ge(1), Range(32, 256, log=True)] = 64,
        depth: Annotated[int, Ge(1), Range(1, 6)] = 3,
        heads: PositiveInt = 8,
        feed_forward: PositiveInt = 2,
    ) -> None:
        super().__init__()
        if spec.input != "features":
            raise ConfigError(
                f"ft_transformer needs the columns of a table; the data gives {spec.input}: use "
                "architecture=transformer"
            )
        if width % heads:
            raise ConfigError(
                f"`heads` must divide `width`; got heads={heads} and width={width}: use "
                f"width={-(-width // heads) * heads}"
            )
        self.tokens = FeatureTokens(spec.feature_groups or (1,) * spec.input_shape[0], width)
        self.first = nn.Parameter(torch.empty(1, 1, width).uniform_(-(width**-0.5), width**-0.5))
        blocks = [
            EncoderBlock(width, heads, feed_forward, activation, "layer", pre_norm=True)
            for _ in range(depth)
        ]
        blocks[0].attention_norm = nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.LayerNorm(width), activation(), nn.Linear(width, spec.output_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, F]`` to ``y[B, output_size]``."""
        tokens = self.tokens(x)
        first = self.first.to(tokens.dtype).expand(len(x), -1, -1)
        y: Tensor = self.head(self.blocks(torch.cat((first, tokens), 1))[:, 0])
        return y
