"""When a unit says nothing: the ends of activations at which their slope is (almost) zero."""

import torch
from torch import Tensor, nn

__all__ = ["ends", "has_bounds", "has_ends"]

_MARGIN = 0.025
"""Share of a bounded activation's range that counts as its end: of a sigmoid below 0.025 and above
0.975, of tanh beyond 0.95, where the slope is a tenth of the steepest."""
_FAINT = 1e-3
"""Share of the largest value below which a smooth rectifier counts as silent."""
_SELU_FLOOR = 1.0507009873554805 * 1.6732632423543772

_FREE = (nn.Identity, nn.Softmax, nn.LogSoftmax, nn.LogSigmoid, nn.Tanhshrink)
_SMOOTH = (nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Hardswish)


def has_ends(module: nn.Module) -> bool:
    """Whether units of the activation can fall silent, as those of the identity cannot."""
    return not isinstance(module, _FREE)


def has_bounds(module: nn.Module) -> bool:
    """Whether the activation saturates: large values of either sign make no difference."""
    return _bounds(module) is not None


def ends(module: nn.Module, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return where values lie at the lower and at the upper end of an activation.

    Bounded ones end at their bounds, exponential ones at their floor, smooth rectifiers where they are
    next to zero, all others (rectifiers, a plugin's) at zero.

    Args:
        module: the activation.
        y: what it gave, any shape.

    Returns:
        Two boolean tensors of the same shape.
    """
    bounds = _bounds(module)
    if bounds is not None:
        low, high = bounds
        margin = _MARGIN * (high - low)
        return y <= low + margin, y >= high - margin
    nowhere = torch.zeros_like(y, dtype=torch.bool)
    if isinstance(module, (nn.ELU, nn.CELU)):
        return y <= -float(module.alpha) * (1 - _MARGIN), nowhere
    if isinstance(module, nn.SELU):
        return y <= -_SELU_FLOOR * (1 - _MARGIN), nowhere
    if isinstance(module, _SMOOTH):
        return y.abs() <= _FAINT * y.abs().max(), nowhere
    return y == 0, nowhere


def _bounds(module: nn.Module) -> tuple[float, float] | None:
    if isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)):
        return 0.0, 1.0
    if isinstance(module, (nn.Tanh, nn.Softsign)):
        return -1.0, 1.0
    if isinstance(module, nn.Hardtanh) and not isinstance(module, nn.ReLU6):
        return float(module.min_val), float(module.max_val)
    return None
