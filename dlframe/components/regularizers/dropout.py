"""Dropout, wherever a network has a place for it."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import activation as activations
from torch.nn.modules.dropout import _DropoutNd

from dlframe.errors import ConfigError
from dlframe.interfaces.activation import Activation
from dlframe.interfaces.options import Dropout
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Spec

__all__ = ["DropoutEverywhere"]

_ACTIVATIONS = (
    Activation,
    *(
        kind
        for name in activations.__all__
        if (kind := getattr(activations, name)) is not nn.MultiheadAttention
    ),
)


class DropoutEverywhere(Regularizer):
    """Set each hidden value to zero with probability ``p`` and divide the others by ``1 - p``.

    Sets the probability of every ``nn.Dropout`` of the network (also of ``Dropout1d``,
    ``Dropout2d`` and ``AlphaDropout``). A network without any drops values after each of its
    activation modules. Names of parameters stay as they are. The options of ``nn.LSTM`` and its kin
    are not changed.

    Args:
        p: probability of dropping a value, in training; 0 keeps all.

    Reference:
        Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(self, *, p: Dropout = 0.5) -> None:
        self.p = p

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Return the same network, with dropout at all its places.

        Raises:
            ConfigError: the network has neither dropout nor activation modules.
        """
        places = [module for module in model.modules() if isinstance(module, _DropoutNd)]
        for place in places:
            place.p = self.p
        if not places:
            after = list(_outermost_activations(model))
            if not after:
                raise ConfigError(
                    f"regularizer=dropout needs a network with dropout or activation modules, but "
                    f"{type(model).__name__} has neither; add nn.Dropout(0.0) to it"
                )
            for module in after:
                module.register_forward_hook(_DropAfter(self.p))
        return model


class _DropAfter:
    """A forward hook; a class, unlike a closure, can be copied and pickled with the network."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return F.dropout(output, self.p, training=module.training)


def _outermost_activations(model: nn.Module) -> Iterator[nn.Module]:
    """Yield each activation once; those inside another (the gate of a GLU) are part of it."""
    seen = set[int]()

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        if id(module) in seen:
            return
        seen.add(id(module))
        if isinstance(module, _ACTIVATIONS):
            yield module
        else:
            for child in module.children():
                yield from walk(child)

    yield from walk(model)
