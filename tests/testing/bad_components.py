"""Components that each break one promise of their kind."""

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlframe.components.data.standardize import Standardize
from dlframe.interfaces import (
    Batch,
    Data,
    Examples,
    Loss,
    Preprocessor,
    Regularizer,
    Spec,
    Stage,
    Step,
    Task,
)


class Flattens(nn.Module):
    """Forgets the shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten()


class Normalizes(nn.Module):
    """Subtracts the first value."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.flatten()[0]


class WrongGradient(nn.Module):
    """Cuts the graph of a factor."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.detach().sigmoid()


class Root(nn.Module):
    """Has no finite gradient at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().sqrt()


class Reseeds(nn.Module):
    """Sets the seed of the process."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        random.seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh()


class Hidden(nn.Module):
    """Keeps a random factor outside of its state."""

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.factor = scale * random.random()

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Reads(nn.Module):
    """Raises in every call."""

    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError("no reason")


class Summed(Loss):
    """Grows with the batch."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum()


class PerExample(Loss):
    """Is no scalar."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(1)


class Backwards(Loss):
    """Is lowest far from the answer."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs - targets).square().mean()


class Exponential(Loss):
    """Overflows."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (2 * (outputs - targets).abs()).exp().mean()


class _Descent(torch.optim.Optimizer):
    def __init__(self, params: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.count = 0

    def direction(self, weight: nn.Parameter) -> Tensor:
        assert weight.grad is not None
        return weight.grad

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is not None
        with torch.enable_grad():
            closure()
        self.count += 1
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(group["lr"] * self.direction(weight))


class Ascends(_Descent):
    """Goes uphill.

    Args:
        lr: learning rate.
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float = 0.01) -> None:
        super().__init__(params, lr)

    def direction(self, weight: nn.Parameter) -> Tensor:
        return -super().direction(weight)


class Forgets(_Descent):
    """Counts its steps outside of its state.

    Args:
        lr: learning rate.
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float = 0.01) -> None:
        super().__init__(params, lr)

    def direction(self, weight: nn.Parameter) -> Tensor:
        return super().direction(weight) / self.count


class AlwaysOn(Regularizer):
    """Ignores its strength.

    Args:
        weight: strength.
    """

    def __init__(self, *, weight: float = 0.1) -> None:
        self.weight = weight

    def penalty(self, model: nn.Module) -> Tensor | None:
        total: Any = sum(p.square().sum() for p in model.parameters())
        penalty: Tensor = 0.1 * total
        return penalty


class Relabels(Regularizer):
    """Changes targets and says they are clean."""

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        return Batch(batch.x, batch.y.flip(0))


class Dead(nn.Module):
    """Has a parameter that no loss reaches."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.used = nn.Linear(spec.input_shape[0], spec.output_size)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.used(x)
        return y


class Constant(nn.Module):
    """Learns a bias only."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(spec.output_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), -1)


def negative(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """Turn the rate negative."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step)


class HalfFilled:
    """Fills one row."""

    def __call__(self, weight: Tensor) -> None:
        weight[0] = 0.5


class Unequal(Data):
    """Has fewer targets than inputs, drawn anew each time."""

    def load(self) -> Examples:
        x = np.random.default_rng().normal(size=(50, 2)).astype(np.float32)
        return Examples(x=x, y=np.zeros(40, np.int64), task="classification")

    def preprocessor(self) -> Preprocessor:
        return Standardize()


class NoMetric(Task):
    """Watches a metric that it does not have."""

    monitor = "val/missing"

    def __init__(self, spec: Spec, loss: Loss) -> None:
        super().__init__(spec=spec, loss=loss)

    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        outputs = model(batch.x)
        return Step(self.loss(outputs, batch.y), outputs)

    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = model(x)
        return y

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = model(batch.x)
        return self.loss(outputs, batch.y), outputs

    def metrics(self, stage: Stage) -> Any:
        from torchmetrics import MeanSquaredError, MetricCollection

        return MetricCollection({"mse": MeanSquaredError()})
