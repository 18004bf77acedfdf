"""An architecture."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from dlframe.interfaces import Architecture, Spec
from dlframe.interfaces.options import PositiveInt


class ResidualMLP(Architecture):
    """A linear layer, ``depth`` residual blocks ``x + V f(U norm(x))``, and a linear head.

    The input is flattened. Each block holds a place for dropout.

    Args:
        spec: what the data says of itself; dlframe passes it.
        activation: makes the activation ``f``; dlframe passes it.
        width: units that the blocks pass on.
        hidden: units inside a block.
        depth: number of blocks.

    Reference: Gorishniy et al. 2021, arXiv:2106.11959.
    """

    def __init__(
        self,
        spec: Spec,
        activation: Callable[[], nn.Module],
        *,
        width: PositiveInt = 64,
        hidden: PositiveInt = 128,
        depth: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(spec.input_shape), width))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, hidden),
                activation(),
                nn.Dropout(0.0),
                nn.Linear(hidden, width),
            )
            for _ in range(depth)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, spec.output_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *spec.input_shape]`` to ``y[B, spec.output_size]``, both float32."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        y: Tensor = self.head(x)
        return y
