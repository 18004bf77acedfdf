"""Muon: momentum whose matrices are orthogonalized, beside AdamW for what is no hidden matrix."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from dlframe.components.optimizers.common import check_betas, fusible
from dlframe.interfaces.options import Ge, LearningRate, Lt, Positive, PositiveInt, Range, Strength

__all__ = ["Muon", "orthogonalize"]

# Coefficients of Jordan (2024): steep at zero, so that few steps lift small singular values.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Bring all singular values of ``matrix`` near 1 (to about 0.7 .. 1.2) and keep its directions.

    Newton-Schulz: ``X = M / |M|``, then ``steps`` times ``X = a X + (b A + c A^2) X`` with
    ``A = X X^T``.

    Args:
        matrix: ``[M, N]``, floating dtype.
        steps: iterations.

    Returns:
        A matrix ``[M, N]`` of the same dtype.
    """
    # bfloat16 is exact enough and fast on a GPU; many CPUs only emulate it.
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for hidden weights and AdamW for the rest, as one optimizer with one learning rate.

    Hidden weights: ``m = momentum * m + (1 - momentum) * g``, ``u = (1 - momentum) * g +
    momentum * m`` (or ``m`` without Nesterov), ``O = orthogonalize(u)``, then
    ``w *= 1 - lr * weight_decay`` and ``w -= 0.2 * lr * sqrt(max(M, N)) * O`` for ``w[M, N]``. The
    factor gives the step the size of AdamW's, so that one ``lr`` serves both.

    A hidden weight is a parameter with two axes or more, except the last such parameter, which is
    the output layer's. Kernels of convolutions count as matrices ``[out, in * height * width]``.
    Biases, gains and the output layer are given to AdamW.

    Args:
        params: parameters in the order of the network, in any shape, floating dtype.
        lr: learning rate, of the size that suits AdamW.
        momentum: decay rate of the hidden weights' momentum.
        nesterov: look ahead along the momentum.
        steps: Newton-Schulz iterations.
        weight_decay: share of the weights, times ``lr``, that each step takes away.
        betas: decay rates of AdamW's moments, each in [0, 1).
        eps: added to AdamW's denominator, against division by zero.
        skip_first: give the first weight to AdamW too, as suits an embedding table.

    Raises:
        ConfigError: a beta is outside [0, 1).

    Reference:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; scaling: Liu et al. 2025,
        arXiv:2502.16982.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: LearningRate = 1e-3,
        momentum: Annotated[float, Ge(0), Lt(1), Range(0.8, 0.99)] = 0.95,
        nesterov: bool = True,
        steps: PositiveInt = 5,
        weight_decay: Strength = 0.1,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: Positive = 1e-8,
        skip_first: bool = False,
    ) -> None:
        hidden, rest = _split(list(params), skip_first)
        groups: list[dict[str, Any]] = [
            {"params": hidden, "momentum": momentum, "nesterov": nesterov, "steps": steps},
            {"params": rest, "betas": check_betas(betas), "eps": eps, "fused": fusible(rest)},
        ]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step; ``closure``, if given, evaluates the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if "momentum" in group:
                for p in params:
                    self._step_hidden(p, group)
            elif params:
                self._step_rest(params, group)
        return loss

    def _step_hidden(self, p: nn.Parameter, group: dict[str, Any]) -> None:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p.grad)
        momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
        update = p.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        direction = orthogonalize(update.flatten(1), group["steps"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction.view_as(p), alpha=-0.2 * group["lr"] * max(direction.shape) ** 0.5)

    def _step_rest(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.zeros((), device=p.device if group["fused"] else "cpu"),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        states = [self.state[p] for p in params]
        adamw(
            list[Tensor](params),
            [p.grad for p in params if p.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _split(
    params: list[nn.Parameter], skip_first: bool
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Part hidden weights from all others; a matrix with a single row or column is a vector."""
    weights = [p for p in params if p.ndim >= 2 and min(p.flatten(1).shape) > 1]
    hidden = {id(p) for p in weights[1 if skip_first else 0 : -1]}
    return [p for p in params if id(p) in hidden], [p for p in params if id(p) not in hidden]
