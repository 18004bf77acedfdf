"""What a spec says of a forecast: the history that is known, and the steps that are asked for."""

from dataclasses import dataclass

from dlframe.errors import ConfigError
from dlframe.interfaces import Spec

__all__ = ["Forecast", "forecast_of"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The sizes of a forecast.

    Args:
        history: steps that are known, ``T``.
        channels: how many of the first channels are asked for, ``C``.
        horizon: steps ahead, ``H``.
    """

    history: int
    channels: int
    horizon: int


def forecast_of(spec: Spec, user: str) -> Forecast:
    """Return the sizes of the forecast that ``spec`` asks for.

    Raises:
        ConfigError: the data does not ask for one.
    """
    if spec.input != "sequence" or not spec.horizon:
        raise ConfigError(
            f"{user} needs histories [steps, channels] and a horizon; the data gives {spec.input} "
            f"{list(spec.input_shape)} without one: use data=timeseries_csv, or another architecture"
        )
    return Forecast(spec.input_shape[0], len(spec.target_names) // spec.horizon, spec.horizon)
