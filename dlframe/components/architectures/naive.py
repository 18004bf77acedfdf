"""Naive forecasts: nothing to train, and what every trained network has to beat."""

from torch import Tensor

from dlframe.components.architectures.horizons import forecast_of
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Spec
from dlframe.interfaces.options import PositiveInt

__all__ = ["SeasonalNaive", "last_value"]


class SeasonalNaive(Architecture):
    """Repeats the last season of the history, without parameters.

    ``y_{T+h} = x_{T - season + 1 + (h - 1) mod season}`` for each channel that is asked for;
    ``x[B, T, D]`` to ``y[B, C * H]``, float32, channel by channel. It is evaluated and recorded like
    any run, after 0 steps.

    Args:
        spec: what the data gives.
        season: length of a season in steps (24 for the days of hourly data).

    Raises:
        ConfigError: the data asks for no forecast, the history is shorter than a season, or the loss
            asks for more than one number per target.

    Reference: Hyndman and Koehler 2006, doi:10.1016/j.ijforecast.2006.03.001.
    """

    def __init__(self, spec: Spec, *, season: PositiveInt = 24) -> None:
        super().__init__()
        asked = forecast_of(spec, "a naive forecast")
        if season > asked.history:
            raise ConfigError(
                f"architecture.season must not exceed the history of {asked.history} steps; got "
                f"{season}: lower it, or raise data.window"
            )
        if spec.output_size != asked.channels * asked.horizon:
            raise ConfigError(
                f"a naive forecast gives one number per target, {asked.channels * asked.horizon} in "
                f"all; the loss asks for {spec.output_size}: choose loss=mse or mae"
            )
        self.season, self.channels, self.horizon = season, asked.channels, asked.horizon

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, T, D]`` to ``y[B, C * H]``."""
        last = x[:, -self.season :, : self.channels]
        repeated = last.repeat(1, -(-self.horizon // self.season), 1)
        return repeated[:, : self.horizon].transpose(1, 2).flatten(1)


def last_value(spec: Spec) -> SeasonalNaive:
    """Repeats the last value of the history: ``y_{T+h} = x_T``, a season of one step.

    Without parameters; ``x[B, T, D]`` to ``y[B, C * H]``, float32, channel by channel.

    Args:
        spec: what the data gives.

    Raises:
        ConfigError: the data asks for no forecast, or the loss asks for more than one number per
            target.

    Reference: Hyndman and Koehler 2006, doi:10.1016/j.ijforecast.2006.03.001.
    """
    return SeasonalNaive(spec, season=1)
