"""Networks for tables against independent references: the feature tokenizer and splines on edges."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import nn

from dlframe.components.architectures.ft_transformer import FeatureTokens, FTTransformer
from dlframe.components.architectures.kan import KAN, SplineLayer
from dlframe.errors import ConfigError
from dlframe.interfaces import Spec

TABLE = Spec(
    input="features",
    input_shape=(6,),
    output_size=3,
    task="classification",
    feature_groups=(1, 1, 3, 1),
)
IMAGE = Spec(input="image", input_shape=(1, 4, 4), output_size=3, task="classification")
TOKENS = Spec(
    input="tokens", input_shape=(4,), output_size=3, task="classification", vocabulary_size=5
)


def test_numbers_scale_a_vector_and_categories_pick_one() -> None:
    tokens = FeatureTokens(TABLE.feature_groups, 5)
    embedding = nn.Embedding(3, 5, _weight=tokens.weight.weight[:, 2:5].T.detach())
    x = torch.tensor([[0.3, -2.0, 0, 1, 0, 1.5], [1.0, 0.5, 0, 0, 1, 0.0]])
    found = tokens(x)
    assert found.shape == (2, 4, 5)
    torch.testing.assert_close(found[:, 2], embedding(torch.tensor([1, 2])) + tokens.bias[2])
    for group, column in ((0, 0), (1, 1), (3, 5)):
        expected = x[:, column, None] * tokens.weight.weight[:, column] + tokens.bias[group]
        torch.testing.assert_close(found[:, group], expected)


def test_the_first_block_normalizes_nothing_before_it_attends() -> None:
    model = FTTransformer(TABLE, nn.ReLU, width=8, heads=2, depth=2)
    norms = [type(block.attention_norm) for block in model.blocks]
    assert norms == [nn.Identity, nn.LayerNorm]
    assert model.tokens(torch.zeros(1, 6)).shape == (1, 4, 8)


def test_columns_without_groups_are_tokens_each() -> None:
    plain = Spec(input="features", input_shape=(6,), output_size=3, task="classification")
    assert FTTransformer(plain, nn.ReLU).tokens.bias.shape == (6, 64)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", [1, 5])
def test_splines_are_scipy_s(order: int, grid: int) -> None:
    layer = SplineLayer(2, 4, nn.SiLU, grid=grid, order=order, reach=2.5)
    x = torch.linspace(-6, 6, 97)
    found = layer.basis(x).numpy()
    knots = layer.knots.double().numpy()
    assert found.shape == (97, grid + order)
    for k in range(grid + order):
        spline = BSpline.basis_element(knots[k : k + order + 2], extrapolate=False)
        np.testing.assert_allclose(found[:, k], np.nan_to_num(spline(x.numpy())), atol=1e-5)
    inside = np.abs(x.numpy()) < 2.5
    np.testing.assert_allclose(found[inside].sum(1), 1, atol=1e-5)


def test_a_layer_sums_one_function_per_edge() -> None:
    layer = SplineLayer(2, 3, nn.SiLU, grid=5, order=3, reach=3.0)
    x = torch.randn(7, 2)
    weights = layer.splines.weight.reshape(3, 2, 8)
    expected = torch.einsum("oik,bik->bo", weights, layer.basis(x)) + layer.base(nn.SiLU()(x))
    torch.testing.assert_close(layer(x), expected)


def test_an_additive_network_learns_functions_of_single_inputs() -> None:
    """Without hidden layers splines fit what no linear model of silu can: a wave and a square."""
    torch.manual_seed(0)
    spec = Spec(input="features", input_shape=(2,), output_size=1, task="regression")
    model = KAN(spec, nn.SiLU, hidden=(), grid=10)
    x = torch.rand(512, 2) * 4 - 2
    y = torch.sin(3 * x[:, :1]) + x[:, 1:].square()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = (model(x) - y).square().mean()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert closure().item() < 1e-2 * float(y.var())


def test_unfit_data_and_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"ft_transformer needs the columns .* gives image: use"):
        FTTransformer(IMAGE, nn.ReLU)
    with pytest.raises(ConfigError, match=r"heads=8 and width=60: use width=64"):
        FTTransformer(TABLE, nn.ReLU, width=60)
    with pytest.raises(ConfigError, match=r"kan needs numbers and the data gives tokens"):
        KAN(TOKENS, nn.ReLU)
    with pytest.raises(ConfigError, match=r"every number in `hidden` must be at least 1"):
        KAN(TABLE, nn.ReLU, hidden=(4, 0))
