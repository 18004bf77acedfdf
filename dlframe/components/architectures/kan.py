"""Kolmogorov-Arnold networks: trained functions on the edges."""

import math
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from dlframe.components.architectures.layers import ActivationFactory
from dlframe.components.architectures.shapes import check_widths
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge, Gt, Le

__all__ = ["KAN", "SplineLayer"]


class SplineLayer(nn.Module):
    """A sum, per output, of one trained function of each input.

    ``y_o = sum over i of w_oi activation(x_i) + sum over k of c_oik B_k(x_i)`` with the B-splines
    ``B_k`` of a uniform grid over ``[-reach, reach]``. Beyond the grid they fade to zero, and the
    first term goes on. ``x[B, inputs]`` to ``y[B, outputs]``, float32.

    Args:
        inputs: numbers that come in.
        outputs: numbers that go out.
        activation: makes the activation of the first term.
        grid: intervals of the grid.
        order: degree of the splines' pieces.
        reach: where the grid ends.
    """

    knots: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: ActivationFactory,
        *,
        grid: int,
        order: int,
        reach: float,
    ) -> None:
        super().__init__()
        self.order = order
        knots = torch.arange(-order, grid + order + 1) * (2 * reach / grid) - reach
        self.register_buffer("knots", knots, persistent=False)
        self.activation = activation()
        self.base = nn.Linear(inputs, outputs)
        # All splines of an input side by side, so that their sum is one product of matrices.
        self.splines = nn.Linear(inputs * (grid + order), outputs, bias=False)
        nn.init.normal_(self.splines.weight, std=0.1 / math.sqrt(inputs))

    def basis(self, x: Tensor) -> Tensor:
        """Return the values ``[..., grid + order]`` of all B-splines at ``x[...]`` (Cox-de Boor)."""
        x, knots = x.unsqueeze(-1), self.knots
        values = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
        for k in range(1, self.order + 1):
            rising = (x - knots[: -k - 1]) / (knots[k:-1] - knots[: -k - 1])
            falling = (knots[k + 1 :] - x) / (knots[k + 1 :] - knots[1:-k])
            values = rising * values[..., :-1] + falling * values[..., 1:]
        return values

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, inputs]`` to ``y[B, outputs]``."""
        y: Tensor = self.base(self.activation(x)) + self.splines(self.basis(x).flatten(1))
        return y


class KAN(Architecture):
    """Layers whose edges, not nodes, have functions, and learn them as splines.

    Each layer is a ``SplineLayer``; ``x[B, *input_shape]``, flattened, to ``y[B, output_size]``,
    float32. This is the form with a basis that all edges of an input share, which costs a product of
    matrices per layer, and with a fixed grid: standardized inputs lie within ``reach`` but for
    outliers. With ``activation=silu`` the edges are the paper's.

    Args:
        spec: what the data gives.
        activation: makes the activation that each edge adds to its spline.
        hidden: widths of the hidden layers; empty gives an additive model of the inputs.
        grid: intervals of the splines' grid: more follow finer shapes.
        order: degree of the splines' pieces; 3 is smooth to the second derivative.
        reach: the grid covers ``[-reach, reach]``.

    Raises:
        ConfigError: a width is not positive, or the input is tokens.

    Reference: Liu et al. 2024, arXiv:2404.19756.
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        hidden: tuple[int, ...] = (16,),
        grid: Annotated[int, Ge(1), Le(100), Range(3, 10)] = 5,
        order: Annotated[int, Ge(1), Le(5)] = 3,
        reach: Annotated[float, Gt(0)] = 3.0,
    ) -> None:
        super().__init__()
        if spec.input == "tokens":
            raise ConfigError(
                "kan needs numbers and the data gives tokens; use architecture=rnn or transformer"
            )
        check_widths("hidden", hidden)
        widths = (math.prod(spec.input_shape), *hidden, spec.output_size)
        self.layers = nn.Sequential(nn.Flatten())
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            if i:
                self.layers.append(nn.Dropout(0.0))
            self.layers.append(
                SplineLayer(inputs, outputs, activation, grid=grid, order=order, reach=reach)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to ``y[B, output_size]``."""
        y: Tensor = self.layers(x)
        return y
