"""Recurrent networks."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlframe.components.architectures.layers import ActivationFactory, dense_layers
from dlframe.components.architectures.sequences import (
    AttentionPooling,
    SequenceView,
    lengths,
    masked_mean,
)
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, PositiveInt

__all__ = ["CELLS", "RNN"]

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


class RNN(Architecture):
    """Recurrent layers over a sequence, then dense layers.

    ``h_t = cell(x_t, h_{t-1})``; the last state (of each direction) or a mean over time feeds the
    dense layers. ``x[B, *input_shape]`` float32 (int64 tokens) to ``y[B, output_size]`` float32. An
    image is read as a sequence of its rows, features one by one, tokens through an embedding, without
    the padding behind them: a row of padding alone has the state that reading starts from, zero.

    The chosen activation acts in the dense layers only: the cells keep their tanh and sigmoid,
    which the fused kernels (cuDNN) fix.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        cell: ``lstm`` (Hochreiter and Schmidhuber 1997), ``gru`` (Cho et al. 2014) or ``rnn``
            (Elman 1990, with tanh).
        hidden: size of the state, per direction.
        layers: number of recurrent layers.
        bidirectional: also read the sequence backwards, with a second set of weights.
        pooling: what the dense layers see: the ``last`` state of each direction, the ``mean`` of the
            outputs over time, or one weighted by trained ``attention`` (Yang et al. 2016).
        dense: widths of the dense layers before the output layer.
        normalization: normalization in the dense layers.
        embedding: length of a token's vector, where the input is tokens.

    Raises:
        ConfigError: a width is not positive, or the data gives tokens without a vocabulary.

    Reference: doi:10.1162/neco.1997.9.8.1735 (LSTM), arXiv:1406.1078 (GRU),
        doi:10.18653/v1/N16-1174 (attention).
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        cell: Literal["rnn", "lstm", "gru"] = "lstm",
        hidden: Annotated[int, Ge(1), Range(32, 512, log=True)] = 128,
        layers: Annotated[int, Ge(1), Range(1, 4)] = 1,
        bidirectional: bool = False,
        pooling: Literal["last", "mean", "attention"] = "last",
        dense: tuple[int, ...] = (64,),
        normalization: Literal["none", "batch", "layer", "group"] = "none",
        embedding: PositiveInt = 64,
    ) -> None:
        super().__init__()
        self.hidden, self.bidirectional, self.pooling = hidden, bidirectional, pooling
        self.view = SequenceView(spec, embedding)
        # Numbers are no place for dropout before they are read; vectors of tokens are.
        self.embedded = nn.Dropout(0.0) if spec.input == "tokens" else nn.Identity()
        outputs = hidden * (2 if bidirectional else 1)
        # One module per layer, not `num_layers`, so that a dropout module stands between them.
        self.recurrent = nn.ModuleList(
            CELLS[cell](
                self.view.size if layer == 0 else outputs,
                hidden,
                batch_first=True,
                bidirectional=bidirectional,
            )
            for layer in range(layers)
        )
        self.between = nn.ModuleList(nn.Dropout(0.0) for _ in range(layers - 1))
        self.attention = AttentionPooling(outputs) if pooling == "attention" else None
        self.head = nn.Sequential(
            nn.Dropout(0.0),
            *dense_layers(outputs, dense, activation, normalization, option="dense"),
            nn.Linear(dense[-1] if dense else outputs, spec.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to ``y[B, output_size]``."""
        x = self.view.trim(x)
        mask = self.view.mask(x)
        h = self.embedded(self.view(x))
        for i, layer in enumerate(self.recurrent):
            h = self._read(layer, h if i == 0 else self.between[i - 1](h), mask)
        y: Tensor = self.head(self._pool(h, mask))
        return y

    def _read(self, layer: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map ``x[B, T, size]`` to the layer's outputs ``[B, T, outputs]``."""
        if mask is None or not self.bidirectional:  # what comes behind does not reach back
            h: Tensor = layer(x)[0]
            return h
        # The backward direction must begin at each row's last token.
        steps = lengths(mask).clamp(min=1).cpu()
        packed = pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False)
        read = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])
        return read[0]

    def _pool(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Reduce ``h[B, T, outputs]`` over time to ``[B, outputs]``."""
        if self.attention is not None:
            pooled: Tensor = self.attention(h, mask)
            return pooled
        if self.pooling == "mean":
            return masked_mean(h, mask)
        last = h[:, -1]
        if mask is not None:
            steps = lengths(mask)
            last = h[torch.arange(len(h), device=h.device), steps - 1]
            h = h * (steps > 0)[:, None, None]
            last = last * (steps > 0)[:, None]
        if not self.bidirectional:
            return last
        # The backward direction has read the whole sequence when it reaches the first step.
        return torch.cat((last[:, : self.hidden], h[:, 0, self.hidden :]), 1)
