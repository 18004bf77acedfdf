"""Language models: at each token of a text, which comes next."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.architectures.layers import ActivationFactory, step_normalization
from dlframe.components.architectures.rnn import CELLS
from dlframe.components.architectures.sequences import SequenceView
from dlframe.components.architectures.transformer import EncoderBlock, check_heads
from dlframe.errors import ConfigError
from dlframe.interfaces import LanguageModel, Range, Spec
from dlframe.interfaces.options import Ge, PositiveInt

__all__ = ["CausalRNN", "CausalTransformer"]


class CausalTransformer(LanguageModel):
    """Transformer decoder: each step looks at itself and those before it, and predicts the next.

    Tokens ``x[B, T]`` int64 to logits ``[B, T, vocabulary]`` float32. Tokens become trained vectors of
    ``width`` values, to which their places' are added (or attention turns queries and keys by
    them); pre-norm blocks follow, a normalization and one linear layer, without a bias. The
    activation acts in the feed-forward parts.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        width: size of each step's vector.
        depth: number of blocks.
        heads: number of attention heads; it must divide ``width``.
        feed_forward: width of the feed-forward parts, as a multiple of ``width``.
        positions: where a token stands: a trained vector for each place (``learned``), or ``rotary``
            embedding (Su et al. 2021).
        tied: let the output layer have the tokens' vectors as its weights (Press and Wolf 2017).
        normalization: ``layer`` (LayerNorm), ``rms`` (RMSNorm) or ``none``.

    Raises:
        ConfigError: the data gives no tokens, ``heads`` does not divide ``width``, or ``rotary``
            heads have an odd number of values.

    Reference: Vaswani et al. 2017, arXiv:1706.03762; rotary arXiv:2104.09864; tied arXiv:1608.05859.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        width: Annotated[int, Ge(1), Range(32, 512, log=True)] = 128,
        depth: Annotated[int, Ge(1), Range(1, 8)] = 2,
        heads: PositiveInt = 4,
        feed_forward: PositiveInt = 4,
        positions: Literal["learned", "rotary"] = "learned",
        tied: bool = True,
        normalization: Literal["none", "layer", "rms"] = "layer",
    ) -> None:
        super().__init__()
        _check_tokens("causal_transformer", spec)
        check_heads(width, heads)
        rotary = positions == "rotary"
        if rotary and width // heads % 2:
            raise ConfigError(
                "positions=rotary needs an even number of values in each head; got "
                f"width={width} and heads={heads}: use width={width + heads}"
            )
        self.view = SequenceView(spec, width)
        self.positions: nn.Parameter | None = None
        if not rotary:
            self.positions = nn.Parameter(torch.randn(1, self.view.length, width) * 0.02)
        self.dropout = nn.Dropout(0.0)
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(
                    width, heads, feed_forward, activation, normalization, pre_norm=True,
                    causal=True, rotary=rotary,
                )
                for _ in range(depth)
            )
        )  # fmt: skip
        self.norm = step_normalization(normalization, width)
        self.head = None if tied else nn.Linear(width, spec.output_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``x[B, T]`` to logits ``[B, T, vocabulary]``."""
        h = self.view(x)
        if self.positions is not None:
            h = h + self.positions[:, : x.shape[1]]
        h = self.norm(self.blocks(self.dropout(h)))
        if self.head is not None:
            y: Tensor = self.head(h)
            return y
        assert self.view.tokens is not None
        return F.linear(h, self.view.tokens.weight)


class CausalRNN(LanguageModel):
    """Recurrent layers over tokens, and a linear layer on each state, which predicts the next token.

    ``h_t = cell(e(x_t), h_{t-1})``, ``y_t = W h_t + b``; tokens ``x[B, T]`` int64 to logits ``[B, T,
    vocabulary]`` float32. Reading starts from a state of zeros. The cells keep their tanh and
    sigmoid, so that the chosen activation has no place.

    Args:
        spec: what the data gives.
        activation: not used.
        cell: ``lstm`` (Hochreiter and Schmidhuber 1997), ``gru`` (Cho et al. 2014) or ``rnn``
            (Elman 1990, with tanh).
        hidden: size of the state.
        layers: number of recurrent layers.
        embedding: length of a token's vector.

    Raises:
        ConfigError: the data gives no tokens.

    Reference: doi:10.1162/neco.1997.9.8.1735 (LSTM), arXiv:1406.1078 (GRU).
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        cell: Literal["rnn", "lstm", "gru"] = "lstm",
        hidden: Annotated[int, Ge(1), Range(32, 1024, log=True)] = 256,
        layers: Annotated[int, Ge(1), Range(1, 4)] = 1,
        embedding: PositiveInt = 64,
    ) -> None:
        super().__init__()
        _check_tokens("causal_rnn", spec)
        self.view = SequenceView(spec, embedding)
        self.recurrent = nn.ModuleList(
            CELLS[cell](embedding if layer == 0 else hidden, hidden, batch_first=True)
            for layer in range(layers)
        )
        self.dropouts = nn.ModuleList(nn.Dropout(0.0) for _ in range(layers + 1))
        self.head = nn.Linear(hidden, spec.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``x[B, T]`` to logits ``[B, T, vocabulary]``."""
        h = self.dropouts[0](self.view(x))
        for layer, dropout in zip(self.recurrent, self.dropouts[1:], strict=True):
            h = dropout(layer(h)[0])
        y: Tensor = self.head(h)
        return y


def _check_tokens(name: str, spec: Spec) -> None:
    if spec.input != "tokens":
        raise ConfigError(f"{name} needs tokens and the data gives {spec.input}; use data=text")
