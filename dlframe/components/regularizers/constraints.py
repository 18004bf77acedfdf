"""Limits that the weights themselves obey."""

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrizations import spectral_norm

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Gt, PositiveInt, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Spec

__all__ = ["MaxNorm", "SpectralNorm"]


class MaxNorm(Regularizer):
    """Scale each unit's incoming weights back to length ``max_norm`` after a step made them longer.

    ``w *= min(1, max_norm / |w|)`` for the weights ``w`` that lead into one unit: a row of
    ``weight[out, in]``, a kernel of a convolution, a gate's row of a recurrent layer, one vector of
    an embedding. Parameters not called weight, such as biases, those that ``spectral_norm`` already
    limits, and those that are not trained are left alone.

    Args:
        max_norm: largest Euclidean length.

    Reference:
        Srivastava et al. 2014, section 5.1, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(
        self, *, max_norm: Annotated[float, Gt(0), Range(0.5, 8.0, log=True)] = 3.0
    ) -> None:
        self.max_norm = max_norm

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """Limit all weights in place."""
        for weight, axes in _incoming(model):
            norm = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
            weight.mul_((self.max_norm / norm).clamp(max=1))


def _incoming(model: nn.Module) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
    """Yield each weight, as a view, with the axes that lead into one unit."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if "weight" not in name or weight.ndim < 2 or not weight.requires_grad:
                continue
            if isinstance(module, _ConvTransposeNd):  # weight[in, out / groups, ...]
                grouped = weight.view(module.groups, -1, *weight.shape[1:])
                yield grouped, (1, *range(3, grouped.ndim))
            else:
                yield weight, tuple(range(1, weight.ndim))


class SpectralNorm(Regularizer):
    """Divide the weight of every linear and convolution layer by its largest singular value.

    ``w = v / sigma(v)`` with trainable ``v``, flattened to ``[out, in * kernel]`` for ``sigma``,
    which power iteration follows. Each such layer is then 1-Lipschitz (convolutions up to a factor
    of the kernel's size). It acts in evaluation too; parameters are renamed to
    ``parametrizations.weight.original``.

    Args:
        n_power_iterations: power iterations in each training step.

    Reference:
        Miyato et al. 2018, arXiv:1802.05957.
    """

    def __init__(self, *, n_power_iterations: PositiveInt = 1) -> None:
        self.n_power_iterations = n_power_iterations

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Return the same network with its weights reparametrized.

        Raises:
            ConfigError: the network has neither linear nor convolution layers.
        """
        layers = [m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd)]
        if not layers:
            raise ConfigError(
                f"regularizer=spectral_norm needs linear or convolution layers, but "
                f"{type(model).__name__} has none; leave spectral_norm out"
            )
        for layer in layers:
            spectral_norm(layer, n_power_iterations=self.n_power_iterations)
        return model
