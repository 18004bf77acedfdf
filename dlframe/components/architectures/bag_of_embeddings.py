"""The mean of a text's words, whatever their order."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlframe.components.architectures.layers import ActivationFactory, dense_layers
from dlframe.components.architectures.sequences import SequenceView, masked_mean
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Dropout, Ge

__all__ = ["BagOfEmbeddings"]


class BagOfEmbeddings(Architecture):
    """The mean of the tokens' trained vectors, then dense layers.

    ``y = dense(mean_t e(x_t))`` over the tokens that are no padding (zero where there is none);
    ``x[B, T]`` int64 to ``y[B, output_size]`` float32. Without dense layers and on words it is fastText
    without its n-grams; with them, a deep averaging network.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        embedding: length of a token's vector.
        dense: widths of the dense layers before the output layer.
        normalization: normalization in the dense layers.
        word_dropout: probability of leaving a token out of the mean, in training (Iyyer et al. 2015).

    Raises:
        ConfigError: the input is no tokens, or a width is not positive.

    Reference: Joulin et al. 2016, arXiv:1607.01759; Iyyer et al. 2015, doi:10.3115/v1/P15-1162.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        embedding: Annotated[int, Ge(1), Range(16, 512, log=True)] = 64,
        dense: tuple[int, ...] = (),
        normalization: Literal["none", "batch", "layer", "group"] = "none",
        word_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        if spec.input != "tokens":
            raise ConfigError(
                f"bag_of_embeddings needs tokens and the data gives {spec.input}; use "
                "architecture=mlp, or data=text_csv"
            )
        self.word_dropout = word_dropout
        self.view = SequenceView(spec, embedding)
        self.layers = nn.Sequential(
            nn.Dropout(0.0),
            *dense_layers(embedding, dense, activation, normalization, option="dense"),
            nn.Linear(dense[-1] if dense else embedding, spec.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, T]`` to ``y[B, output_size]``."""
        x = self.view.trim(x)
        mask = self.view.mask(x)
        if self.training and self.word_dropout > 0:
            kept = torch.rand(x.shape, device=x.device) >= self.word_dropout
            mask = kept if mask is None else mask & kept
        y: Tensor = self.layers(masked_mean(self.view(x), mask))
        return y
