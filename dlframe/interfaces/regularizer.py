"""Regularizers: whatever keeps a network from fitting noise."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from dlframe.interfaces.spec import Batch, Spec

__all__ = ["Regularizer"]


class Regularizer:
    """Acts at any of six places of a training; each does nothing unless overridden.

    Several regularizers compose, in the order they are listed. They act in training only, never in
    validation, test or prediction, except for what ``on_model`` builds into the network. All
    parameters of the constructor are options; strength 0 must be the identity.

    A regularizer is an ordinary object: tensors it keeps go into ``state_dict`` so that training can
    be resumed.

    Example:
        >>> class Ridge(Regularizer):
        ...     def __init__(self, *, weight: float = 1e-4):
        ...         self.weight = weight
        ...     def penalty(self, model):
        ...         return self.weight * sum(p.square().sum() for p in model.parameters())
    """

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Return the network, changed or wrapped, once after it is built and initialized.

        It is called again, with the same options, when a recorded run is rebuilt.
        """
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return the batch to train on; ``loss`` evaluates the network on any batch.

        Set ``clean=False`` on a batch whose targets were changed.
        """
        return batch

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return a scalar that is added to the loss, or None."""
        return None

    def on_gradients(self, model: nn.Module) -> None:
        """Change gradients in place, after the backward pass and before the optimizer's step."""

    def after_step(self, model: nn.Module) -> None:
        """Act after each optimizer step, without gradient tracking."""

    def callbacks(self) -> Sequence[Any]:
        """Return Lightning callbacks.

        One that overrides a hook of single training batches makes dlframe run one optimizer step per
        Lightning batch, which is slower on small networks.
        """
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return what must be restored when training resumes: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
