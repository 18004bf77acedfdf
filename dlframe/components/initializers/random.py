"""Initializers that draw every weight alike, whatever the size of the layer."""

from typing import Annotated

from torch import Tensor, nn

from dlframe.errors import ConfigError
from dlframe.interfaces.initializer import Initializer
from dlframe.interfaces.options import Ge, Gt, Lt, Positive, Range

__all__ = ["Normal", "Sparse", "TruncatedNormal", "Uniform"]


class Normal(Initializer):
    """Independent normal weights of any shape.

    ``w ~ N(mean, std**2)``.

    Args:
        mean: mean of the weights.
        std: standard deviation of the weights.

    Reference:
        arXiv:1511.06434.
    """

    def __init__(
        self,
        *,
        mean: float = 0.0,
        std: Annotated[float, Gt(0), Range(0.001, 1.0, log=True)] = 0.02,
    ) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        nn.init.normal_(weight, self.mean, self.std)


class TruncatedNormal(Initializer):
    """Independent normal weights of any shape, without outliers.

    ``w ~ N(mean, std**2)``, redrawn outside ``mean +- bound * std``, which makes the weights' own
    standard deviation a little smaller (0.88 times at two).

    Args:
        mean: mean of the weights.
        std: standard deviation before truncation.
        bound: largest distance from the mean, in standard deviations.

    Reference:
        arXiv:1810.04805.
    """

    def __init__(
        self,
        *,
        mean: float = 0.0,
        std: Annotated[float, Gt(0), Range(0.001, 1.0, log=True)] = 0.02,
        bound: Positive = 2.0,
    ) -> None:
        self.mean = mean
        self.std = std
        self.bound = bound

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        reach = self.bound * self.std
        nn.init.trunc_normal_(weight, self.mean, self.std, self.mean - reach, self.mean + reach)


class Uniform(Initializer):
    """Independent uniform weights of any shape.

    ``w ~ U(low, high)``.

    Args:
        low: smallest weight.
        high: largest weight.

    Raises:
        ConfigError: ``low`` is not smaller than ``high``.
    """

    def __init__(self, *, low: float = -0.05, high: float = 0.05) -> None:
        if low >= high:
            raise ConfigError(
                f"initializer=uniform needs low < high; got low={low} and high={high}; "
                "swap them or set them apart"
            )
        self.low = low
        self.high = high

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        nn.init.uniform_(weight, self.low, self.high)


class Sparse(Initializer):
    """Normal weights, of which each input keeps only a few.

    ``w ~ N(0, std**2)``, then a random ``sparsity`` of each column set to zero; the weight
    ``[out, in, ...]`` of two or more dimensions is flattened to a matrix with ``out`` rows.

    Args:
        sparsity: fraction of each column that is zero, rounded up to whole weights.
        std: standard deviation of the other weights.

    Reference:
        Martens, Deep learning via Hessian-free optimization, ICML 2010.
    """

    def __init__(
        self,
        *,
        sparsity: Annotated[float, Ge(0), Lt(1), Range(0.1, 0.9)] = 0.5,
        std: Annotated[float, Gt(0), Range(0.001, 1.0, log=True)] = 0.1,
    ) -> None:
        self.sparsity = sparsity
        self.std = std

    def __call__(self, weight: Tensor) -> None:
        """Fill ``weight`` in place."""
        matrix = weight.flatten(1)
        nn.init.sparse_(matrix, self.sparsity, self.std)
        # Flattening may have copied, for instance a channels-last kernel.
        weight.copy_(matrix.view_as(weight))
