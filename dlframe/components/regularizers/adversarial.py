"""Training on inputs that were changed to raise the loss."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlframe.interfaces.options import Ge, Positive, PositiveInt, Probability, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Batch, Spec

__all__ = ["AdversarialTraining"]


class AdversarialTraining(Regularizer):
    """Move some inputs of each batch to where the loss is higher, at most ``epsilon`` away.

    ``fgsm`` makes one step, ``x + epsilon * sign(dL/dx)``. ``pgd`` starts at a random point within
    ``epsilon`` of ``x`` and repeats ``x = x + step_size * sign(dL/dx)``, each time brought back to
    within ``epsilon``. Distances are the largest change of one value. The network attacks itself in
    evaluation mode, so that dropout and the statistics of batch normalization take no part.

    Args:
        method: ``fgsm`` costs one more forward and backward pass, ``pgd`` as many as ``steps``.
        epsilon: largest change of one input value, in units of the (standardized) inputs; 0 changes
            nothing.
        steps: steps of ``pgd``.
        step_size: length of a step of ``pgd``; null takes ``2.5 * epsilon / steps``.
        fraction: share of each batch that is changed, drawn at random.

    Reference:
        FGSM: Goodfellow et al. 2015, arXiv:1412.6572; PGD: Madry et al. 2018, arXiv:1706.06083.
    """

    def __init__(
        self,
        *,
        method: Literal["fgsm", "pgd"] = "fgsm",
        epsilon: Annotated[float, Ge(0), Range(0.0, 0.5)] = 0.1,
        steps: PositiveInt = 7,
        step_size: Positive | None = None,
        fraction: Probability = 0.5,
    ) -> None:
        self.epsilon = epsilon
        self.fraction = fraction
        self.random_start = method == "pgd"
        self.steps = steps if method == "pgd" else 1
        if method == "fgsm":
            self.step_size = epsilon
        else:
            self.step_size = 2.5 * epsilon / steps if step_size is None else step_size
        self._model: nn.Module | None = None

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Note the network, whose mode changes during an attack; it stays as it is."""
        self._model = model
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return the batch with some of ``x[B, ...]`` changed; no parameter gets a gradient."""
        count = round(self.fraction * len(batch.x))
        if self.epsilon == 0 or count == 0:
            return batch
        chosen = torch.randperm(len(batch.x), device=batch.x.device)[:count]
        start = batch.x[chosen].detach()
        x = start
        if self.random_start:
            x = start + torch.empty_like(start).uniform_(-self.epsilon, self.epsilon)
        with torch.enable_grad(), _evaluating(self._model):
            for _ in range(self.steps):
                x = x.detach().requires_grad_()
                # Only the inputs' gradient is computed; the parameters' .grad is not touched.
                (slope,) = torch.autograd.grad(loss(replace(batch, x=x, y=batch.y[chosen])), x)
                x = x.detach() + self.step_size * slope.sign()
                x = start + (x - start).clamp(-self.epsilon, self.epsilon)
        return replace(batch, x=batch.x.index_copy(0, chosen, x.detach()))


@contextmanager
def _evaluating(model: nn.Module | None) -> Iterator[None]:
    """Put all but recurrent layers in evaluation mode; cuDNN has no backward pass for those."""
    modules = () if model is None else tuple(model.modules())
    trained = [m for m in modules if m.training and not isinstance(m, nn.RNNBase)]
    for module in trained:
        module.training = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True
