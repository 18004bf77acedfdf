"""What the tasks with labels share."""

import torch
from torch import Tensor, nn

from dlframe.interfaces import Batch, Step, Task

__all__ = ["SupervisedTask", "at_least_single"]


def at_least_single(values: Tensor) -> Tensor:
    """Return ``values`` in float32 where they have half precision, else as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class SupervisedTask(Task):
    """One network, whose outputs a loss compares with the data's targets.

    A task sets ``targets`` and ``predictions`` where the loss works on another scale than the data.
    """

    def predictions(self, outputs: Tensor) -> Tensor:
        """Map raw outputs ``[B, ...]`` to predictions in the data's units."""
        return at_least_single(self.loss.link(outputs))

    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        """Evaluate the loss on one batch, whose targets may be mixed or softened."""
        outputs = model(batch.x)
        loss = self.loss(outputs, self.targets(batch))
        return Step(loss, self.predictions(outputs.detach()))

    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return predictions for ``x[B, *input_shape]`` in the data's units."""
        return self.predictions(model(x))

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss and the predictions of a batch."""
        outputs = model(batch.x)
        return self.loss(outputs, self.targets(batch)), self.predictions(outputs)
