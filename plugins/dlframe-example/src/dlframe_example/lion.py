"""An optimizer."""

from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from torch import nn

from dlframe.interfaces.options import Ge, Gt, Range


class Lion(torch.optim.Optimizer):
    """``w -= lr * (sign(b1 m + (1 - b1) g) + weight_decay * w)``; then ``m = b2 m + (1 - b2) g``.

    Every value moves by the same amount, so the learning rate is some three to ten times smaller than
    Adam's.

    Args:
        lr: size of a step.
        betas: shares of the momentum in the step, and in the momentum itself.
        weight_decay: share of each weight that a step of size 1 takes away.

    Raises:
        ValueError: a beta is not in [0, 1).

    Reference: Chen et al. 2023, arXiv:2302.06675.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: Annotated[float, Gt(0), Range(1e-5, 1e-2, log=True)] = 3e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: Annotated[float, Ge(0), Range(1e-4, 1.0, log=True)] = 0.0,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be at least 0 and below 1; got {list(betas)}")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient; return what ``closure`` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                direction = torch.lerp(weight.grad, momentum, first).sign_()
                weight.add_(direction, alpha=-group["lr"])
                momentum.lerp_(weight.grad, 1 - second)
        return loss
