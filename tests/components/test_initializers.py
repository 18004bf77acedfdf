"""Initializers against the moments and structures they promise."""

import inspect
import math
from typing import Any

import pytest
import torch
from scipy.stats import kstest, truncnorm
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.initializers import COMPONENTS
from dlframe.errors import ConfigError
from dlframe.interfaces.initializer import Initializer

BY_NAME = {component.name: component for component in COMPONENTS}
SHAPES = [(40, 30), (24, 16, 5), (16, 12, 3, 3), (8, 6, 3, 3, 3), (3, 40)]
RANDOM = ["xavier", "kaiming", "lecun", "orthogonal", "normal", "truncated_normal", "uniform"]
RANDOM += ["sparse"]


def build(name: str, **options: Any) -> Initializer:
    made = BY_NAME[name].load()(**options)
    assert isinstance(made, Initializer)
    return made


def filled(shape: tuple[int, ...], name: str, **options: Any) -> Tensor:
    weight = torch.full(shape, math.nan)
    with torch.no_grad():
        build(name, **options)(weight)
    return weight


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "default"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_is_set_in_any_memory_layout(name: str, shape: tuple[int, ...]) -> None:
    weight = filled(shape, name)
    assert weight.isfinite().all()
    # A reversed view stands for every layout whose memory order is not that of its axes.
    view = torch.full(shape[::-1], math.nan).permute(*reversed(range(len(shape))))
    with torch.no_grad():
        build(name)(view)
    assert view.isfinite().all()


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides_the_draw(name: str) -> None:
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(filled((12, 8), name))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("name", BY_NAME)
def test_layers_can_be_filled_and_trained(name: str) -> None:
    initializer = build(name)
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        initializer(layer.weight)
    layer(torch.ones(2, 6)).sum().backward()
    assert layer.weight.grad is not None


def test_default_alone_keeps_what_the_layer_set() -> None:
    assert [name for name in BY_NAME if build(name).keeps_defaults] == ["default"]
    layer = nn.Conv2d(3, 4, 3)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        build("default")(layer.weight)
    assert torch.equal(layer.weight, before)


# The standard deviation each formula gives for a weight of 300 rows, 200 columns and a kernel of 3,
# whose fan_in is 600 and fan_out 900.
STDS: list[tuple[str, dict[str, Any], float]] = [
    ("xavier", {}, math.sqrt(2 / 1500)),
    ("xavier", {"gain": 5 / 3}, 5 / 3 * math.sqrt(2 / 1500)),
    ("kaiming", {}, math.sqrt(2 / 600)),
    ("kaiming", {"mode": "fan_out"}, math.sqrt(2 / 900)),
    ("kaiming", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(600)),
    ("kaiming", {"nonlinearity": "linear"}, 1 / math.sqrt(600)),
    (
        "kaiming",
        {"nonlinearity": "leaky_relu", "negative_slope": 0.5},
        math.sqrt(2 / (1 + 0.25) / 600),
    ),
    ("lecun", {}, 1 / math.sqrt(600)),
]


@pytest.mark.parametrize(("name", "options", "std"), STDS)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_scaled_weights_have_the_formulas_distribution(
    name: str, options: dict[str, Any], std: float, distribution: str
) -> None:
    torch.manual_seed(0)
    weight = filled((300, 200, 3), name, distribution=distribution, **options).flatten()
    if distribution == "normal":
        fit = kstest(weight.numpy(), "norm", args=(0, std))
    else:
        reach = math.sqrt(3) * std
        fit = kstest(weight.numpy(), "uniform", args=(-reach, 2 * reach))
    assert fit.pvalue > 1e-3
    assert float(weight.std()) == pytest.approx(std, rel=0.01)


@pytest.mark.parametrize(
    ("name", "options", "cdf", "args"),
    [
        ("normal", {}, "norm", (0, 0.02)),
        ("normal", {"mean": 1.0, "std": 0.5}, "norm", (1, 0.5)),
        ("uniform", {}, "uniform", (-0.05, 0.1)),
        ("uniform", {"low": 1.0, "high": 3.0}, "uniform", (1, 2)),
        ("truncated_normal", {}, truncnorm.cdf, (-2, 2, 0, 0.02)),
        (
            "truncated_normal",
            {"mean": 1.0, "std": 0.5, "bound": 1.0},
            truncnorm.cdf,
            (-1, 1, 1, 0.5),
        ),
    ],
)
def test_unscaled_weights_have_the_stated_distribution(
    name: str, options: dict[str, float], cdf: Any, args: tuple[float, ...]
) -> None:
    torch.manual_seed(0)
    weight = filled((300, 200), name, **options).double().flatten()
    assert kstest(weight.numpy(), cdf, args=args).pvalue > 1e-3


def test_the_truncated_tails_are_gone() -> None:
    torch.manual_seed(0)
    weight = filled((300, 200), "truncated_normal", mean=1.0, std=0.5, bound=1.0)
    assert weight.min() >= 0.5
    assert weight.max() <= 1.5


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (8, 6, 3, 3)])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...], gain: float) -> None:
    matrix = filled(shape, "orthogonal", gain=gain).flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    expected = gain**2 * torch.eye(len(matrix))
    torch.testing.assert_close(matrix @ matrix.T, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(40, 30), (40, 6, 3, 3)])
def test_sparse_zeroes_the_stated_share_of_each_column(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrix = filled(shape, "sparse", sparsity=0.75, std=0.5).flatten(1)
    assert (matrix == 0).sum(0).tolist() == [30] * matrix.shape[1]
    assert float(matrix[matrix != 0].std()) == pytest.approx(0.5, rel=0.1)


def test_dirac_makes_layers_the_identity() -> None:
    x = torch.randn(2, 5, 7, 7)
    assert torch.equal(F.linear(x, filled((7, 7), "dirac")), x)
    assert torch.equal(F.conv2d(x, filled((5, 5, 3, 3), "dirac"), padding=1), x)
    assert torch.equal(F.conv1d(x[:, 0], filled((7, 7, 5), "dirac"), padding=2), x[:, 0])


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (6, 4, 3), (4, 6, 3, 3), (6, 4, 3, 3, 3)])
def test_dirac_is_torchs(shape: tuple[int, ...]) -> None:
    expected = torch.empty(shape)
    (nn.init.eye_ if len(shape) == 2 else nn.init.dirac_)(expected)
    assert torch.equal(filled(shape, "dirac"), expected)


def test_constant_and_zeros() -> None:
    assert torch.equal(filled((3, 4, 5), "zeros"), torch.zeros(3, 4, 5))
    assert torch.equal(filled((3, 4), "constant", value=-0.5), torch.full((3, 4), -0.5))


def test_rectifiers_keep_the_scale_of_signals_with_kaiming_and_selu_with_lecun() -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 256)
    rectified, normalized = x, x
    for _ in range(20):
        rectified = (rectified @ filled((256, 256), "kaiming").T).relu()
        normalized = F.selu(normalized @ filled((256, 256), "lecun").T)
    assert 0.2 < float(rectified.square().mean()) < 5
    assert 0.8 < float(normalized.std()) < 1.2


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.1), (0.2, -0.2)])
def test_an_empty_interval_is_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="initializer=uniform needs low < high"):
        build("uniform", low=low, high=high)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_options_are_keywords_with_defaults_and_documented(component: Any) -> None:
    target = component.load()
    assert "__init__" in vars(target)
    for name, parameter in inspect.signature(target).parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is not inspect.Parameter.empty
        assert f"\n        {name}: " in target.__doc__
