"""Squashing functions, which bound what passes, and the identity, which does not."""

from torch import nn

from dlframe.errors import ConfigError

__all__ = ["Hardsigmoid", "Hardtanh", "Identity", "LogSigmoid", "Sigmoid", "Softsign", "Tanh"]


class Identity(nn.Identity):
    """No non-linearity: a network of such layers is linear.

    ``f(x) = x``; any shape and floating dtype, both kept.
    """

    def __init__(self) -> None:
        super().__init__()


class Sigmoid(nn.Sigmoid):
    """Logistic function, between 0 and 1.

    ``f(x) = 1 / (1 + exp(-x))``; any shape and floating dtype, both kept.

    Reference:
        doi:10.1038/323533a0.
    """

    def __init__(self) -> None:
        super().__init__()


class LogSigmoid(nn.LogSigmoid):
    """Logarithm of the logistic function, at most zero.

    ``f(x) = -log(1 + exp(-x))``; any shape and floating dtype, both kept.
    """

    def __init__(self) -> None:
        super().__init__()


class Hardsigmoid(nn.Hardsigmoid):
    """Piecewise linear stand-in for the sigmoid.

    ``f(x) = min(max(0, x + 3), 6) / 6``; any shape and floating dtype, both kept.

    Reference:
        arXiv:1905.02244.
    """

    def __init__(self) -> None:
        super().__init__()


class Tanh(nn.Tanh):
    """Hyperbolic tangent, between -1 and 1.

    ``f(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x))``; any shape and floating dtype, both kept.

    Reference:
        doi:10.1007/978-3-642-35289-8_3.
    """

    def __init__(self) -> None:
        super().__init__()


class Hardtanh(nn.Hardtanh):
    """The identity, cut off at both ends.

    ``f(x) = min(max(min_val, x), max_val)``; any shape and floating dtype, both kept.

    Args:
        min_val: smallest value that passes.
        max_val: largest value that passes.

    Raises:
        ConfigError: ``min_val`` is not smaller than ``max_val``.

    Reference:
        arXiv:1103.0398.
    """

    def __init__(self, *, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if min_val >= max_val:
            raise ConfigError(
                f"activation=hardtanh needs min_val < max_val; got min_val={min_val} and "
                f"max_val={max_val}; swap them or set them apart"
            )
        super().__init__(min_val, max_val)


class Softsign(nn.Softsign):
    """Between -1 and 1 like the hyperbolic tangent, but slower to saturate.

    ``f(x) = x / (1 + |x|)``; any shape and floating dtype, both kept.

    Reference:
        Turian, Bergstra and Bengio, Quadratic features and deep architectures for chunking, NAACL
        2009.
    """

    def __init__(self) -> None:
        super().__init__()
