"""Every component passes dlframe's conformance kit; two formulas are checked besides."""

import torch
from dlframe_example.lion import Lion
from dlframe_example.snake import Snake
from torch import nn

import dlframe.testing


class TestResidualMLP(dlframe.testing.ArchitectureTests):
    component = "example/residual_mlp"
    options = {"width": 32, "hidden": 64}  # noqa: RUF012


class TestSnake(dlframe.testing.ActivationTests):
    component = "example/snake"


class TestCharbonnier(dlframe.testing.LossTests):
    component = "example/charbonnier"


class TestLion(dlframe.testing.OptimizerTests):
    component = "example/lion"


class TestOrthogonality(dlframe.testing.RegularizerTests):
    component = "example/orthogonality"
    off = {"weight": 0.0}  # noqa: RUF012


def test_snake_is_periodic_around_the_identity() -> None:
    x = torch.linspace(-3, 3, 50)
    shifted = Snake(a=2.0)(x + torch.pi / 2) - torch.pi / 2
    torch.testing.assert_close(shifted, Snake(a=2.0)(x))


def test_lion_moves_every_value_by_lr() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    weight.grad = torch.tensor([0.1, -20.0, 1e-4])
    Lion([weight], lr=0.25).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.75, -1.75, 2.75]))
