"""What an optimizer must do."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dlframe.config.signature import load
from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, CheckFailure, require
from dlframe.testing.common import through_file
from dlframe.training.build import build

__all__ = ["CHECKS"]

_RATES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def _make(case: Case, params: list[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = build("optimizer", case.node(**options), params=params)
    return optimizer


def _network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def _steps(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], count: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    for _ in range(count):
        optimizer.step(closure)  # type: ignore[arg-type]  # torch wants a float and returns it


def _fit(network: nn.Module) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(6)
    x, y = (torch.randn(16, size, generator=generator) for size in (4, 2))

    def loss() -> Tensor:
        value: Tensor = (network(x) - y).square().mean()
        return value

    return loss


def _plain(params: Iterable[nn.Parameter]) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in params]


def constructs(case: Case) -> None:
    """It is a ``torch.optim.Optimizer`` over the parameters, and drew no random numbers."""
    params = list(_network().parameters())
    optimizer = _make(case, params)
    require(
        isinstance(optimizer, torch.optim.Optimizer),
        f"it makes a {type(optimizer).__name__}, not a torch.optim.Optimizer",
    )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    require(held == {id(p) for p in params}, "its groups do not hold exactly the parameters given")
    draws_nothing(lambda: _make(case, list(params)))


def _descends(
    case: Case, start: list[Tensor], loss: Callable[[list[nn.Parameter]], Tensor]
) -> None:
    names = [option.name for option in load(case.entry).options]
    rates = [{}, *({"lr": rate} for rate in _RATES)] if "lr" in names else [{}]
    reached = []
    for options in rates:
        params = [nn.Parameter(value.clone()) for value in start]
        before = loss(params).item()
        _steps(_make(case, params, **options), partial(loss, params), 200)
        reached.append(loss(params).item() / before)
        if reached[-1] < 0.1:
            return
    shares = ", ".join(f"{share:.3g}" for share in reached)
    raise CheckFailure(f"200 steps leave these shares of the loss, by learning rate: {shares}")


def descends_a_quadratic(case: Case) -> None:
    """Within 200 steps, at some learning rate, a quadratic falls to a tenth."""
    goal = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.5, -1.0]])
    curvature = torch.tensor([[1.0, 0.2, 3.0], [1.0, 0.5, 2.0]])

    def quadratic(params: list[nn.Parameter]) -> Tensor:
        return (curvature * (params[0] - goal).square()).sum() + params[1].square().sum()

    _descends(case, [torch.zeros(2, 3), torch.ones(3)], quadratic)


def descends_rosenbrock(case: Case) -> None:
    """Within 200 steps, at some learning rate, Rosenbrock's valley is reached."""

    def rosenbrock(params: list[nn.Parameter]) -> Tensor:
        x, y = params[0].unbind()
        return (1 - x).square() + 100 * (y - x.square()).square()

    _descends(case, [torch.tensor([1.5, 1.5])], rosenbrock)


def resumes_exactly(case: Case) -> None:
    """Three steps, a checkpoint and three steps equal six steps to the last bit."""
    whole = _network()
    _steps(_make(case, list(whole.parameters())), _fit(whole), 6)
    half = _network()
    optimizer = _make(case, list(half.parameters()))
    _steps(optimizer, _fit(half), 3)
    weights, state = through_file((half.state_dict(), optimizer.state_dict()))
    rest = _network()
    rest.load_state_dict(weights)
    optimizer = _make(case, list(rest.parameters()))
    optimizer.load_state_dict(state)
    _steps(optimizer, _fit(rest), 3)
    require(
        _plain(rest.parameters()) == _plain(whole.parameters()),
        "a run resumed from state_dict() differs from the uninterrupted one",
    )


def skips_missing_gradients(case: Case) -> None:
    """A parameter without gradient stays as it is, and the others move."""
    network, idle = _network(), nn.Parameter(torch.ones(3))
    before = _plain(network.parameters())
    _steps(_make(case, [*network.parameters(), idle]), _fit(network), 2)
    require(torch.equal(idle.detach(), torch.ones(3)), "a parameter without gradient was changed")
    after = _plain(network.parameters())
    require(all(a != b for a, b in zip(before, after, strict=True)), "a parameter did not move")


def follows_the_learning_rate(case: Case) -> None:
    """Each group's ``lr`` is read at every step, so that schedules work."""
    names = [option.name for option in load(case.entry).options]
    require("lr" in names, "it has no option `lr`")

    def moved(factor: float) -> float:
        network = _network()
        optimizer = _make(case, list(network.parameters()))
        _steps(optimizer, _fit(network), 2)
        before = [p.detach().clone() for p in network.parameters()]
        for group in optimizer.param_groups:
            require("lr" in group, "a parameter group has no `lr`, which schedules change")
            group["lr"] *= factor
        _steps(optimizer, _fit(network), 1)
        pairs = zip(network.parameters(), before, strict=True)
        return sum(float((p.detach() - old).abs().sum()) for p, old in pairs)

    far, near = moved(1.0), moved(1e-3)
    require(
        near < 0.1 * far,
        f"with a thousandth of the learning rate a step is {near / max(far, 1e-30):.2g} times as long",
    )


def same_seed_same_steps(case: Case) -> None:
    """Two runs with the same seed give the same parameters."""
    networks = [_network(), _network()]
    for network in networks:
        _steps(_make(case, list(network.parameters())), _fit(network), 4)
    first, second = (_plain(network.parameters()) for network in networks)
    require(first == second, "two runs with the same seed differ")


CHECKS = (
    constructs,
    descends_a_quadratic,
    descends_rosenbrock,
    resumes_exactly,
    skips_missing_gradients,
    follows_the_learning_rate,
    same_seed_same_steps,
)
