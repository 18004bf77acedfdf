"""Activations against their formulas, written out in elementary functions."""

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlframe.components.activations import COMPONENTS
from dlframe.errors import ConfigError

BY_NAME = {component.name: component for component in COMPONENTS}
AXISWISE = {"softmax", "log_softmax"}
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def build(name: str, **options: Any) -> nn.Module:
    module = BY_NAME[name].load()(**options)
    assert isinstance(module, nn.Module)
    return module


def phi(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def logistic(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def exponential(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x > 0, x, alpha * (torch.exp(x) - 1))


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def hard(x: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x + 3, torch.zeros_like(x)), torch.full_like(x, 6)) / 6


def softplus(x: Tensor, beta: float = 1.0) -> Tensor:
    return torch.log(1 + torch.exp(beta * x)) / beta


def softmax(x: Tensor, dim: int) -> Tensor:
    return torch.exp(x) / torch.exp(x).sum(dim, keepdim=True)


FORMULAS: list[tuple[str, dict[str, Any], Callable[[Tensor], Tensor]]] = [
    ("identity", {}, lambda x: x),
    ("sigmoid", {}, logistic),
    ("logsigmoid", {}, lambda x: torch.log(logistic(x))),
    ("hardsigmoid", {}, hard),
    ("tanh", {}, lambda x: 2 * logistic(2 * x) - 1),
    ("hardtanh", {}, lambda x: torch.where(x.abs() < 1, x, x.sign())),
    ("hardtanh", {"min_val": -2.0, "max_val": 0.5}, lambda x: x.clip(-2, 0.5)),
    ("softsign", {}, lambda x: x / (1 + x.abs())),
    ("relu", {}, lambda x: leaky(x, 0.0)),
    ("relu6", {}, lambda x: leaky(x, 0.0).clip(max=6)),
    ("leaky_relu", {}, lambda x: leaky(x, 0.01)),
    ("leaky_relu", {"negative_slope": 0.2}, lambda x: leaky(x, 0.2)),
    ("prelu", {}, lambda x: leaky(x, 0.25)),
    ("prelu", {"init": 0.1}, lambda x: leaky(x, 0.1)),
    ("rrelu", {}, lambda x: leaky(x, (1 / 8 + 1 / 3) / 2)),
    ("rrelu", {"lower": 0.2, "upper": 0.4}, lambda x: leaky(x, 0.3)),
    ("elu", {}, lambda x: exponential(x, 1.0)),
    ("elu", {"alpha": 0.5}, lambda x: exponential(x, 0.5)),
    ("selu", {}, lambda x: SELU_SCALE * exponential(x, SELU_ALPHA)),
    ("celu", {}, lambda x: exponential(x, 1.0)),
    ("celu", {"alpha": 2.0}, lambda x: torch.where(x > 0, x, 2 * (torch.exp(x / 2) - 1))),
    ("gelu", {}, lambda x: x * phi(x)),
    (
        "gelu",
        {"approximate": "tanh"},
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    ("silu", {}, lambda x: x * logistic(x)),
    ("mish", {}, lambda x: x * torch.tanh(softplus(x))),
    ("softplus", {}, softplus),
    ("softplus", {"beta": 2.0}, lambda x: softplus(x, 2.0)),
    ("hardswish", {}, lambda x: x * hard(x)),
    ("hardshrink", {}, lambda x: torch.where(x.abs() > 0.5, x, 0.0)),
    ("hardshrink", {"lambd": 1.0}, lambda x: torch.where(x.abs() > 1, x, 0.0)),
    ("softshrink", {}, lambda x: x.sign() * leaky(x.abs() - 0.5, 0.0)),
    ("softshrink", {"lambd": 1.0}, lambda x: x.sign() * leaky(x.abs() - 1, 0.0)),
    ("tanhshrink", {}, lambda x: x - torch.tanh(x)),
    ("softmax", {}, lambda x: softmax(x, -1)),
    ("softmax", {"dim": 1}, lambda x: softmax(x, 1)),
    ("log_softmax", {}, lambda x: softmax(x, -1).log()),
    ("log_softmax", {"dim": 1}, lambda x: softmax(x, 1).log()),
    ("sin", {}, torch.sin),
    ("sin", {"omega": 30.0}, lambda x: torch.sin(30 * x)),
]


def test_every_activation_has_a_formula_here() -> None:
    assert {name for name, _, _ in FORMULAS} == set(BY_NAME)


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS)
def test_values(name: str, options: dict[str, Any], formula: Callable[[Tensor], Tensor]) -> None:
    x = torch.linspace(-8, 8, 96, dtype=torch.float64).reshape(2, 4, 12)
    module = build(name, **options).double().eval()
    torch.testing.assert_close(module(x), formula(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4, 5)])
def test_shape_and_dtype_are_kept(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=dtype)
    kept = x.clone()
    y = build(name).to(dtype)(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert torch.equal(x, kept), "the input was changed in place"


@pytest.mark.parametrize("name", BY_NAME)
def test_gradients_match_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(build(name).double().eval(), (x,))


@pytest.mark.parametrize("name", BY_NAME)
def test_values_and_gradients_are_finite_far_out(name: str) -> None:
    x = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]], requires_grad=True)
    y = build(name)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", BY_NAME)
def test_the_tag_says_whether_values_are_mixed(name: str) -> None:
    x = torch.linspace(-2, 2, 8).reshape(2, 4)
    changed = x.clone()
    changed[:, 0] += 1
    module = build(name).eval()
    others_moved = not torch.equal(module(x)[:, 1:], module(changed)[:, 1:])
    assert others_moved == (name in AXISWISE) == ("axiswise" in BY_NAME[name].tags)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_copy_and_a_restored_module_give_the_same(name: str) -> None:
    x = torch.randn(3, 5)
    module, other = build(name).eval(), build(name).eval()
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.7)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))
    assert torch.equal(copy.deepcopy(module)(x), module(x))


def test_the_slope_of_prelu_is_learned() -> None:
    module = build("prelu")
    module(-torch.ones(4)).sum().backward()
    (slope,) = module.parameters()
    torch.testing.assert_close(slope.grad, torch.tensor([-4.0]))


def test_rrelu_draws_slopes_in_training_only() -> None:
    module = build("rrelu", lower=0.2, upper=0.4)
    x = -torch.ones(1000)
    slopes = -module(x)
    assert 0.2 <= float(slopes.min()) < 0.25
    assert 0.35 < float(slopes.max()) <= 0.4
    torch.testing.assert_close(module.eval()(x), torch.full_like(x, -0.3))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rrelu", {"lower": 0.5, "upper": 0.4}),
        ("hardtanh", {"min_val": 1.0, "max_val": 1.0}),
        ("hardtanh", {"min_val": 2.0, "max_val": 1.0}),
    ],
)
def test_bounds_out_of_order_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"activation={name} needs .*swap them"):
        build(name, **options)


@pytest.mark.parametrize("name", sorted(AXISWISE))
@pytest.mark.parametrize("dim", [0, -2, 2, -3])
def test_the_batch_and_missing_axes_are_refused(name: str, dim: int) -> None:
    with pytest.raises(ConfigError, match="an axis of its input other than the batch"):
        build(name, dim=dim)(torch.zeros(2, 3))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_options_are_keywords_with_defaults_and_documented(component: Any) -> None:
    target = component.load()
    assert "__init__" in vars(target)
    for name, parameter in inspect.signature(target).parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is not inspect.Parameter.empty
        assert f"\n        {name}: " in target.__doc__
