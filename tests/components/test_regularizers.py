"""Regularizers that act on the model, the loss, the gradients or the weights."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlframe.components.regularizers import COMPONENTS
from dlframe.components.regularizers.constraints import MaxNorm, SpectralNorm
from dlframe.components.regularizers.dropout import DropoutEverywhere
from dlframe.components.regularizers.gradient_clipping import GradientClipping
from dlframe.components.regularizers.penalties import L1, L2, ElasticNet
from dlframe.errors import ConfigError
from dlframe.interfaces import Activation, Regularizer, Spec

SPEC = Spec(input="features", input_shape=(4,), output_size=3, task="classification")
X = torch.linspace(-2, 2, 32).view(8, 4)


def network(*, dropout: float | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU()]
    if dropout is not None:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(16, 3))


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach() for name, p in model.named_parameters() if name in ("0.weight", "3.weight")]


def test_every_component_makes_a_regularizer_with_its_defaults() -> None:
    for component in COMPONENTS:
        assert isinstance(component.load()(), Regularizer), component.name


# Penalties.


@pytest.mark.parametrize(
    ("regularizer", "l1", "l2"),
    [
        (L1(weight=0.3), 0.3, 0.0),
        (L2(weight=0.3), 0.0, 0.3),
        (ElasticNet(l1=0.1, l2=0.2), 0.1, 0.2),
        (ElasticNet(l1=0.1, l2=0.0), 0.1, 0.0),
    ],
)
def test_penalties_sum_over_weights_only(regularizer: Regularizer, l1: float, l2: float) -> None:
    model = network()
    penalty = regularizer.penalty(model)
    assert penalty is not None
    expected = sum(l1 * w.abs().sum() + l2 * w.square().sum() for w in weights(model))
    torch.testing.assert_close(penalty.detach(), expected)
    penalty.backward()  # type: ignore[no-untyped-call]
    for name, p in model.named_parameters():
        if name in ("0.weight", "3.weight"):
            torch.testing.assert_close(p.grad, l1 * p.detach().sign() + 2 * l2 * p.detach())
        else:
            assert p.grad is None


@pytest.mark.parametrize("regularizer", [L1(weight=0), L2(weight=0), ElasticNet(l1=0, l2=0)])
def test_penalties_of_strength_zero_add_nothing(regularizer: Regularizer) -> None:
    assert regularizer.penalty(network()) is None


def test_penalties_leave_frozen_weights_out() -> None:
    model = network()
    for p in model.parameters():
        p.requires_grad_(False)
    assert L2().penalty(model) is None


def test_penalties_keep_float32_under_bfloat16_autocast() -> None:
    model = network()
    plain = L2(weight=1.0).penalty(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = L2(weight=1.0).penalty(model)
    assert plain is not None
    assert cast is not None
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_l2_is_weight_decay_of_plain_gradient_descent() -> None:
    ours, theirs = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizers = [
        torch.optim.SGD(ours.parameters(), lr=0.1),
        torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=0.02),
    ]
    for model, optimizer in zip((ours, theirs), optimizers, strict=True):
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(X).square().mean()
            penalty = L2(weight=0.01).penalty(model)
            assert penalty is not None
            (loss + penalty if model is ours else loss).backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


# Dropout.


def test_dropout_sets_the_places_that_the_network_has() -> None:
    model = nn.Sequential(nn.Dropout(0.0), nn.Sequential(nn.Dropout2d(0.9), nn.AlphaDropout(0.2)))
    assert DropoutEverywhere(p=0.4).on_model(model, SPEC) is model
    assert [m.p for m in model.modules() if hasattr(m, "p")] == [0.4] * 3


class Gate(Activation):
    """An activation with parameters and another activation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.inner = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return 1 + self.gain * torch.as_tensor(self.inner(x))


def test_dropout_follows_each_activation_of_a_network_without_places() -> None:
    model = nn.Sequential(nn.Linear(4, 1000), nn.PReLU(), Gate(), nn.Identity())
    names = list(model.state_dict())
    DropoutEverywhere(p=0.25).on_model(model, SPEC)
    assert list(model.state_dict()) == names
    torch.manual_seed(0)
    y = model(X)
    # The last activation is never 0 by itself, and its inner one has no dropout of its own.
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert len({id(m) for m in model.modules() if m._forward_hooks}) == 2
    kept = y[y != 0]
    assert kept.min() > 1 / 0.75
    model.eval()
    assert (model(X) > 0).all()
    assert torch.equal(model(X), model(X))


def test_attention_is_no_activation() -> None:
    model = nn.TransformerEncoderLayer(4, 2, 8, activation=nn.GELU(), dropout=0.0, batch_first=True)
    for name in ("dropout", "dropout1", "dropout2"):
        setattr(model, name, nn.Identity())
    plain = copy.deepcopy(model)
    DropoutEverywhere(p=0.5).on_model(model, SPEC)
    assert [type(m) for m in model.modules() if m._forward_hooks] == [nn.GELU]
    assert not torch.equal(model(X[None]), plain(X[None]))


def test_inserted_dropout_survives_copy_and_pickle() -> None:
    model = DropoutEverywhere(p=0.5).on_model(network(), SPEC)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.manual_seed(1)
        expected = model(X)
        torch.manual_seed(1)
        assert torch.equal(twin(X), expected)
        assert not torch.equal(twin(X), expected)


@pytest.mark.parametrize("dropout", [None, 0.0])
def test_dropout_of_zero_is_the_identity_and_draws_nothing(dropout: float | None) -> None:
    plain = network(dropout=dropout)
    model = DropoutEverywhere(p=0.0).on_model(copy.deepcopy(plain), SPEC)
    state = torch.get_rng_state()
    assert torch.equal(model(X), plain(X))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_under_bfloat16_autocast() -> None:
    model = DropoutEverywhere(p=0.5).on_model(network(), SPEC)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(X)
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()


def test_dropout_without_any_place_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"add nn\.Dropout\(0\.0\)"):
        DropoutEverywhere().on_model(nn.Linear(4, 3), SPEC)


# Constraints on weights.


@pytest.mark.parametrize(
    ("layer", "units"),
    [
        (nn.Linear(5, 4), lambda w: w),
        (nn.Conv2d(4, 6, 3, groups=2), lambda w: w.flatten(1)),
        (nn.ConvTranspose2d(3, 5, 2), lambda w: w.transpose(0, 1).flatten(1)),
        (
            nn.ConvTranspose1d(4, 6, 2, groups=2),
            lambda w: w.view(2, 2, 3, 2).transpose(1, 2).reshape(6, -1),
        ),
        (nn.Embedding(7, 3), lambda w: w),
    ],
)
def test_max_norm_limits_each_units_incoming_weights(layer: nn.Module, units: Any) -> None:
    weight = layer.get_parameter("weight")
    nn.init.normal_(weight)
    before = weight.detach().clone()
    limit = float(units(before).norm(dim=1).median())
    bias = copy.deepcopy(dict(layer.named_parameters()).get("bias"))
    MaxNorm(max_norm=limit).after_step(layer)
    old, new = units(before), units(weight.detach())
    long = old.norm(dim=1) > limit
    assert long.any()
    assert not long.all()
    assert torch.equal(new[~long], old[~long])
    torch.testing.assert_close(new[long], torch.nn.functional.normalize(old[long]) * limit)
    if bias is not None:
        assert torch.equal(layer.get_parameter("bias"), bias)


def test_max_norm_reaches_recurrent_and_attention_weights_but_no_vectors() -> None:
    model = nn.ModuleDict(
        {"rnn": nn.LSTM(3, 4), "attention": nn.MultiheadAttention(4, 2), "norm": nn.LayerNorm(4)}
    )
    for p in model.parameters():
        nn.init.constant_(p, 5.0)
    MaxNorm(max_norm=1.0).after_step(model)
    for name, p in model.named_parameters():
        expected = torch.ones(len(p)) if p.ndim == 2 else p.new_full(p.shape, 5.0)
        torch.testing.assert_close(p.norm(dim=1) if p.ndim == 2 else p, expected, msg=name)


def test_max_norm_leaves_zero_and_unlimited_weights_alone() -> None:
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    MaxNorm(max_norm=float("inf")).after_step(model)
    assert torch.equal(model.weight, before)
    nn.init.zeros_(model.weight)
    MaxNorm(max_norm=1.0).after_step(model)
    assert torch.equal(model.weight, torch.zeros(2, 3))


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    linear, convolution = nn.Linear(12, 4), nn.Conv1d(2, 3, 3)
    model = nn.Sequential(convolution, nn.Flatten(), linear)
    SpectralNorm(n_power_iterations=5).on_model(model, SPEC)
    x = torch.randn(2, 2, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(20):  # each training step improves the estimate
        model(x)
    model.eval()
    for layer in (linear, convolution):
        values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
        torch.testing.assert_close(values[0], torch.tensor(1.0), atol=1e-3, rtol=0)


def test_spectral_norm_is_rebuilt_from_its_state() -> None:
    model = SpectralNorm().on_model(network(), SPEC)
    model(X)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    again = SpectralNorm().on_model(network(), SPEC)
    again.load_state_dict(torch.load(stored, weights_only=True))
    assert torch.equal(again.eval()(X), model.eval()(X))
    assert torch.equal(copy.deepcopy(model)(X), model(X))


def test_spectral_norm_without_layers_is_an_error() -> None:
    with pytest.raises(ConfigError, match="leave spectral_norm out"):
        SpectralNorm().on_model(nn.Sequential(nn.ReLU()), SPEC)


# Gradients.


def with_gradients() -> nn.Sequential:
    model = network()
    (10 * model(X).square().sum()).backward()
    next(model.parameters()).grad = None
    return model


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_gradient_clipping_by_norm_keeps_the_direction() -> None:
    model = with_gradients()
    before = gradients(model)
    GradientClipping(max_norm=0.5).on_gradients(model)
    torch.testing.assert_close(gradients(model), before / before.norm() * 0.5)
    shortened = gradients(model)
    GradientClipping(max_norm=10.0).on_gradients(model)
    assert torch.equal(gradients(model), shortened)


def test_gradient_clipping_by_value_comes_before_the_norm() -> None:
    model = with_gradients()
    expected = gradients(model).clamp(-0.1, 0.1)
    GradientClipping(max_norm=None, max_value=0.1).on_gradients(model)
    assert torch.equal(gradients(model), expected)
    model = with_gradients()
    GradientClipping(max_norm=0.2, max_value=0.1).on_gradients(model)
    torch.testing.assert_close(gradients(model), expected / expected.norm() * 0.2)


def test_gradient_clipping_without_limits_is_the_identity() -> None:
    model = with_gradients()
    before = gradients(model)
    GradientClipping(max_norm=None).on_gradients(model)
    assert torch.equal(gradients(model), before)


# Composition.


def test_regularizers_of_the_model_compose() -> None:
    chain: list[Regularizer] = [DropoutEverywhere(p=0.2), SpectralNorm(), MaxNorm(), L2(weight=0.1)]
    model: nn.Module = network()
    for regularizer in chain:
        model = regularizer.on_model(model, SPEC)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(X).square().mean()
        for regularizer in chain:
            penalty = regularizer.penalty(model)
            loss = loss if penalty is None else loss + penalty
        loss.backward()
        for regularizer in chain:
            regularizer.on_gradients(model)
        optimizer.step()
        for regularizer in chain:
            regularizer.after_step(model)
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.parameters())
