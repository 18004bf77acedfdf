"""Linear forecasts of a series' trend and of what is left."""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from dlframe.components.architectures.horizons import forecast_of
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Range, Spec
from dlframe.interfaces.options import Ge

__all__ = ["DLinear"]


class DLinear(Architecture):
    """A moving average and the rest of the history, each mapped to the horizon by one linear layer.

    ``trend = average of the `kernel` steps around each``, its ends repeated; ``y = W_t trend + b_t +
    W_s (x - trend) + b_s``. Each channel that is asked for is forecast from its own history alone;
    other channels are not read. ``x[B, T, D]`` to ``y[B, output_size]``, float32, channel by channel.

    Args:
        spec: what the data gives.
        kernel: steps of the moving average, an odd number; 1 leaves one linear layer to act twice.
        shared: whether all channels share one set of weights; else each has its own.

    Raises:
        ConfigError: the data asks for no forecast, or ``kernel`` is even.

    Reference: Zeng et al. 2022, arXiv:2205.13504.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        kernel: Annotated[int, Ge(1), Range(3, 49)] = 25,
        shared: bool = True,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ConfigError(
                f"architecture.kernel must be odd, to have a middle; got {kernel}: use {kernel + 1}"
            )
        asked = forecast_of(spec, "dlinear")
        self.kernel, self.channels = kernel, asked.channels
        outputs = spec.output_size // asked.channels
        sets = 1 if shared else asked.channels
        self.trend = nn.ModuleList(nn.Linear(asked.history, outputs) for _ in range(sets))
        self.rest = nn.ModuleList(nn.Linear(asked.history, outputs) for _ in range(sets))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, T, D]`` to ``y[B, output_size]``."""
        x = x[:, :, : self.channels].transpose(1, 2)
        trend = self._average(x)
        return (_by_channel(self.trend, trend) + _by_channel(self.rest, x - trend)).flatten(1)

    def _average(self, x: Tensor) -> Tensor:
        """Return the moving average of ``x[B, C, T]``, of the same shape."""
        reach = self.kernel // 2
        before, after = (end.expand(-1, -1, reach) for end in (x[:, :, :1], x[:, :, -1:]))
        return avg_pool1d(torch.cat((before, x, after), 2), self.kernel, stride=1)


def _by_channel(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Map ``x[B, C, T]`` to ``[B, C, H]`` by one layer, or by one for each channel."""
    if len(layers) == 1:
        mapped: Tensor = layers[0](x)
        return mapped
    return torch.stack([layer(x[:, c]) for c, layer in enumerate(layers)], 1)
