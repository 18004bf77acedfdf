"""What every built-in architecture must do: shapes, gradients, copies, learning, errors."""

import copy
import inspect
import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components import architectures
from dlframe.components.architectures.autoencoder import DenseOrConvAutoencoder
from dlframe.components.architectures.cnn import CNN
from dlframe.components.architectures.gan import GAN
from dlframe.components.architectures.mlp import MLP
from dlframe.components.architectures.patches import MLPMixer, VisionTransformer
from dlframe.components.architectures.resnet import ResNet
from dlframe.components.architectures.rnn import RNN
from dlframe.components.architectures.transformer import Transformer
from dlframe.components.architectures.vgg import VGG
from dlframe.errors import ConfigError
from dlframe.interfaces import Architecture, Autoencoder, GenerativeAdversarial, InputKind, Spec

ELSEWHERE = (("forecasting",), ("language_modelling",))
"""Tasks whose architectures are in test_forecasting and test_language_modelling."""
COMPONENTS = [c for c in architectures.COMPONENTS if c.tasks not in ELSEWHERE]
BY_NAME = {component.name: component for component in COMPONENTS}
SHAPES: dict[InputKind, tuple[int, ...]] = {
    "features": (5,),
    "image": (3, 9, 8),
    "sequence": (6, 4),
    "tokens": (7,),
}
NORMALIZATIONS = ("none", "batch", "layer", "group", "instance")

CASES: list[tuple[str, InputKind, dict[str, Any]]] = [
    *((c.name, kind, {}) for c in COMPONENTS for kind in SHAPES if kind in c.inputs),
    *(("cnn", "image", {"normalization": n}) for n in NORMALIZATIONS),
    *(("resnet", "image", {"normalization": n}) for n in NORMALIZATIONS),
    *(("gan", "image", {"normalization": n}) for n in NORMALIZATIONS),
    *(("autoencoder", "image", {"kind": "conv", "normalization": n}) for n in NORMALIZATIONS),
    *(("mlp", "features", {"normalization": n}) for n in NORMALIZATIONS[:4]),
    *(("gan", "features", {"normalization": n}) for n in NORMALIZATIONS[:4]),
    ("mlp", "features", {"hidden": ()}),
    ("cnn", "image", {"pooling": "average", "channels": (4, 6, 8), "dense": ()}),
    ("resnet", "image", {"blocks": (1, 1), "width": 6}),
    ("rnn", "sequence", {"cell": "gru", "layers": 3, "bidirectional": True}),
    (
        "rnn",
        "tokens",
        {"cell": "rnn", "pooling": "mean", "normalization": "layer", "dense": (9, 8)},
    ),
    ("transformer", "image", {"pooling": "cls", "pre_norm": False, "heads": 2, "width": 6}),
    ("transformer", "sequence", {"normalization": "rms", "depth": 1, "feed_forward": 1}),
    ("transformer", "tokens", {"normalization": "none"}),
    ("rnn", "tokens", {"pooling": "attention", "bidirectional": True, "layers": 2}),
    ("bag_of_embeddings", "tokens", {"dense": (9,), "normalization": "layer"}),
    ("autoencoder", "features", {"variational": True, "noise": 0.1, "hidden": ()}),
    ("autoencoder", "image", {"kind": "conv", "variational": True, "channels": (4, 6, 8)}),
]
CASE_IDS = [
    "-".join([name, kind, *(f"{k}={v}" for k, v in options.items())])
    for name, kind, options in CASES
]
every_case = pytest.mark.parametrize(("name", "kind", "options"), CASES, ids=CASE_IDS)


def spec_of(kind: InputKind, shape: tuple[int, ...] | None = None, outputs: int = 3) -> Spec:
    return Spec(
        input=kind,
        input_shape=shape or SHAPES[kind],
        output_size=outputs,
        task="classification",
        vocabulary_size=11 if kind == "tokens" else 0,
    )


def build(name: str, kind: InputKind, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = BY_NAME[name].load()(spec=spec_of(kind), activation=nn.PReLU, **options)
    return model


def inputs(model: nn.Module, kind: InputKind, count: int) -> Tensor:
    if isinstance(model, GenerativeAdversarial):
        return torch.randn(count, model.latent_size)
    if kind == "tokens":
        return torch.randint(0, 11, (count, *SHAPES[kind]))
    return torch.randn(count, *SHAPES[kind])


def objective(model: nn.Module, x: Tensor) -> Tensor:
    """Return a scalar that depends on everything the model computes in training."""
    if isinstance(model, GenerativeAdversarial):
        logits: Tensor = model.discriminator(model(x))
        return logits.square().sum()
    if isinstance(model, Autoencoder):
        outputs, own = model.reconstruct(x)
        return (outputs - x).square().mean() + own
    values: Tensor = model(x)
    return values.square().sum()


@every_case
def test_outputs_have_the_declared_shape(
    name: str, kind: InputKind, options: dict[str, Any]
) -> None:
    model = build(name, kind, options)
    like_input = isinstance(model, Autoencoder | GenerativeAdversarial)
    for training, count in ((True, 2), (True, 5), (False, 1), (False, 5)):
        y = model.train(training)(inputs(model, kind, count))
        assert y.shape == (count, *(SHAPES[kind] if like_input else (3,)))
        assert y.dtype == torch.float32
        assert y.isfinite().all()
    assert isinstance(model, Architecture)


@every_case
def test_every_parameter_gets_a_gradient(
    name: str, kind: InputKind, options: dict[str, Any]
) -> None:
    model = build(name, kind, options)
    objective(model, inputs(model, kind, 8)).backward()  # type: ignore[no-untyped-call]
    largest = {n: 0.0 if p.grad is None else float(p.grad.abs().max())
               for n, p in model.named_parameters()}  # fmt: skip
    assert {n for n, size in largest.items() if not 1e-7 < size < math.inf} == set()


@every_case
def test_copies_and_restored_states_compute_the_same(
    name: str, kind: InputKind, options: dict[str, Any]
) -> None:
    model = build(name, kind, options).eval()
    other = BY_NAME[name].load()(spec=spec_of(kind), activation=nn.PReLU, **options).eval()
    x = inputs(model, kind, 3)
    expected = model(x)
    other.load_state_dict(model.state_dict())
    assert torch.equal(copy.deepcopy(model)(x), expected)
    assert torch.equal(other(x), expected)


@every_case
def test_bfloat16_autocast_stays_close(name: str, kind: InputKind, options: dict[str, Any]) -> None:
    model = build(name, kind, options)
    x = inputs(model, kind, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective(model, x).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    expected = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    assert (y.float() - expected).norm() <= 0.05 * expected.norm() + 0.01


@every_case
def test_the_same_seed_builds_the_same_model(
    name: str, kind: InputKind, options: dict[str, Any]
) -> None:
    first, second = (build(name, kind, options).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_options_are_keywords_with_defaults_and_documented(component: Any) -> None:
    target = component.load()
    assert "__init__" in vars(target)
    parameters = list(inspect.signature(target).parameters.values())
    assert [p.name for p in parameters[:2]] == ["spec", "activation"]
    for option in parameters[2:]:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.default is not inspect.Parameter.empty
        assert f"\n        {option.name}: " in (target.__doc__ or "")


@pytest.mark.parametrize("kind", list(SHAPES))
@pytest.mark.parametrize("name", list(BY_NAME))
def test_inputs_that_are_not_declared_are_refused(name: str, kind: InputKind) -> None:
    if kind in BY_NAME[name].inputs:
        build(name, kind, {})
        return
    with pytest.raises(ConfigError, match=kind):
        build(name, kind, {})


@pytest.mark.parametrize("side", [8, 11, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["cnn", "resnet", "autoencoder", "gan"])
def test_images_of_any_size(name: str, channels: int, side: int) -> None:
    spec = spec_of("image", (channels, side, side + 3))
    options = {"kind": "conv"} if name == "autoencoder" else {}
    model = BY_NAME[name].load()(spec=spec, activation=nn.ReLU, **options)
    x = torch.randn(2, model.latent_size) if name == "gan" else torch.randn(2, *spec.input_shape)
    images = name in ("gan", "autoencoder")
    assert model(x).shape == ((2, *spec.input_shape) if images else (2, 3))
    if name == "gan":
        assert model.discriminator(model(x)).shape == (2, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mlp", "features"), ("mlp", "image"), ("cnn", "image"), ("resnet", "image"),
     ("rnn", "image"), ("rnn", "tokens"), ("transformer", "image"), ("transformer", "tokens")],
)  # fmt: skip
def test_classifiers_overfit_one_batch(name: str, kind: InputKind) -> None:
    shape: tuple[int, ...]
    if kind == "features":
        data, classes = load_iris(return_X_y=True)
        rows, shape = slice(0, 150, 5), (4,)
    else:
        data, classes = load_digits(return_X_y=True)
        rows, shape = slice(0, 32), (1, 8, 8)
    x = torch.tensor(data[rows], dtype=torch.float32)
    if kind == "tokens":
        x, shape = x.long(), (64,)
    else:
        x = ((x - x.mean(0)) / (x.std(0) + 0.1)).reshape(-1, *shape)
    y = torch.tensor(classes[rows])
    spec = Spec(
        input=kind, input_shape=shape, output_size=10, task="classification", vocabulary_size=17
    )
    torch.manual_seed(0)
    model = BY_NAME[name].load()(spec=spec, activation=nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.05
    assert (model(x).argmax(1) == y).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"noise": 0.1}, {"variational": True, "beta": 1e-3}, {"kind": "conv"},
     {"kind": "conv", "variational": True, "beta": 1e-3, "normalization": "batch"}],
    ids=str,
)  # fmt: skip
def test_autoencoders_overfit_one_batch(options: dict[str, Any]) -> None:
    x = torch.tensor(load_digits().images[:32, None] / 16, dtype=torch.float32)
    torch.manual_seed(0)
    model = DenseOrConvAutoencoder(spec_of("image", (1, 8, 8)), nn.ReLU, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        outputs, own = model.reconstruct(x)
        ((outputs - x).square().mean() + own).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        error = (model.eval()(x) - x).square().mean()
    assert error < 0.1 * (x - x.mean(0)).square().mean()


@pytest.mark.parametrize(
    ("model", "kind", "options", "message"),
    [
        (MLP, "features", {"hidden": (8, 0)}, "`hidden` must be at least 1"),
        (CNN, "image", {"channels": (2,) * 4}, "at most 3 convolutions"),
        (CNN, "image", {"channels": (2, 2), "padding": "valid"}, "at most 1 convolutions"),
        (CNN, "image", {"channels": (0,)}, "`channels` must be at least 1"),
        (CNN, "image", {"kernel_size": 4}, "use 5 or padding=valid"),
        (ResNet, "image", {"blocks": (1,) * 6}, "at most 4 stages"),
        (ResNet, "image", {"blocks": (1,) * 4, "normalization": "instance"}, "at most 3 stages"),
        (ResNet, "image", {"blocks": ()}, "at least one stage"),
        (ResNet, "image", {"depth": 50, "stem": "standard"}, "at most 3 halvings"),
        (VGG, "image", {"width": 2, "dense": (0,)}, "`dense` must be at least 1"),
        (VGG, "features", {}, "vgg needs images"),
        (VisionTransformer, "image", {"patch_size": 16}, "must not exceed .* 8 x 8; got 16: use 2"),
        (VisionTransformer, "image", {"width": 10, "heads": 4}, "use width=12"),
        (MLPMixer, "image", {"patch_size": 16}, "must not exceed"),
        (MLPMixer, "tokens", {}, "mlp_mixer needs images"),
        (RNN, "sequence", {"dense": (-1,)}, "`dense` must be at least 1"),
        (Transformer, "sequence", {"width": 10, "heads": 4}, "use width=12"),
        (DenseOrConvAutoencoder, "features", {"kind": "conv"}, "needs images"),
        (DenseOrConvAutoencoder, "image", {"kind": "conv", "channels": (2,) * 5}, "at most 3 conv"),
        (GAN, "image", {"depth": 4}, "at most 3 halvings in `depth`"),
        (DenseOrConvAutoencoder, "features", {"normalization": "instance"}, "layer or batch"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    model: type[Architecture], kind: InputKind, options: dict[str, Any], message: str
) -> None:
    shape = (1, 8, 8) if kind == "image" else SHAPES[kind]
    with pytest.raises(ConfigError, match=message):
        model(spec_of(kind, shape), nn.ReLU, **options)


def test_tokens_without_vocabulary_are_refused() -> None:
    spec = Spec(input="tokens", input_shape=(7,), output_size=2, task="classification")
    with pytest.raises(ConfigError, match="vocabulary_size"):
        RNN(spec, nn.ReLU)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_dropout_modules_act_in_training_only(name: str) -> None:
    kinds: tuple[InputKind, ...] = ("image", "tokens", "features")
    kind = next(kind for kind in kinds if kind in BY_NAME[name].inputs)
    model = build(name, kind, {})
    places = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert places
    network: nn.Module = model.discriminator if isinstance(model, GenerativeAdversarial) else model
    x = inputs(model, kind, 4)
    if isinstance(model, GenerativeAdversarial):
        x = torch.randn(4, *SHAPES[kind])
    for place in places:
        place.p = 0.5
    network.train()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
