"""What the optimizers share: fused kernels where torch has them, and checks of their options."""

from collections.abc import Iterable

from torch import nn

from dlframe.errors import ConfigError

__all__ = ["check_betas", "fusible"]

_FUSED_DEVICES = frozenset({"cpu", "cuda"})


def fusible(params: Iterable[nn.Parameter]) -> bool | None:
    """Return True where one fused kernel can update all ``params``, else None (torch then decides).

    A fused step is several times faster than torch's default on a CPU, which is a loop in Python.
    """
    fits = all(p.is_floating_point() and p.device.type in _FUSED_DEVICES for p in params)
    return True if fits else None


def check_betas(betas: tuple[float, float]) -> tuple[float, float]:
    """Return ``betas`` as a tuple.

    Raises:
        ConfigError: one of them is outside [0, 1).
    """
    first, second = betas
    if not (0 <= first < 1 and 0 <= second < 1):
        raise ConfigError(
            f"both optimizer.betas must be at least 0 and less than 1, but they are "
            f"[{first}, {second}]; the usual values are [0.9, 0.999]"
        )
    return first, second
