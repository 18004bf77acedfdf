"""The multilayer perceptron."""

import math
from typing import Literal

from torch import Tensor, nn

from dlframe.components.architectures.layers import ActivationFactory, dense_layers
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Spec

__all__ = ["MLP"]


class MLP(Architecture):
    """Fully connected layers over the flattened input.

    ``h_i = activation(norm(W_i h_{i-1} + b_i))``, ``y = W h + b``; ``x[B, *input_shape]`` float32
    to ``y[B, output_size]`` float32.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        hidden: widths of the hidden layers, one number per layer; empty gives a linear model.
        normalization: normalization before each activation.

    Raises:
        ConfigError: a width is not positive, or the input is tokens.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        hidden: tuple[int, ...] = (128, 128),
        normalization: Literal["none", "batch", "layer", "group"] = "none",
    ) -> None:
        super().__init__()
        if spec.input == "tokens":
            raise ConfigError(
                "mlp needs numbers and the data gives tokens; use architecture=bag_of_embeddings"
            )
        inputs = math.prod(spec.input_shape)
        self.layers = nn.Sequential(
            nn.Flatten(),
            *dense_layers(inputs, hidden, activation, normalization),
            nn.Linear(hidden[-1] if hidden else inputs, spec.output_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to ``y[B, output_size]``."""
        y: Tensor = self.layers(x)
        return y
