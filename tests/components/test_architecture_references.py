"""The built-in networks against independent references: torch's own modules and closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dlframe.components.architectures.autoencoder import DenseOrConvAutoencoder
from dlframe.components.architectures.cnn import CNN
from dlframe.components.architectures.gan import GAN
from dlframe.components.architectures.mlp import MLP
from dlframe.components.architectures.resnet import BasicBlock, ResNet
from dlframe.components.architectures.rnn import RNN
from dlframe.components.architectures.sequences import SequenceView
from dlframe.components.architectures.transformer import EncoderBlock, SelfAttention, Transformer
from dlframe.interfaces import Spec

MNIST = Spec(input="image", input_shape=(1, 28, 28), output_size=10, task="classification")
FEATURES = Spec(input="features", input_shape=(5,), output_size=3, task="classification")
SEQUENCE = Spec(input="sequence", input_shape=(6, 4), output_size=3, task="classification")


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_mlp_is_its_formula() -> None:
    model = MLP(FEATURES, nn.Tanh, hidden=(7, 6))
    w1, b1, w2, b2, w3, b3 = model.parameters()
    x = torch.randn(4, 5)
    expected = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(model(x), expected)


def test_mlp_without_hidden_layers_is_linear() -> None:
    assert size(MLP(FEATURES, nn.ReLU, hidden=())) == 5 * 3 + 3


def test_cnn_can_be_the_keras_tutorial_network() -> None:
    model = CNN(MNIST, nn.ReLU, channels=(32,), padding="valid")
    reference = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * 13 * 13, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    values = model.state_dict().values()
    reference.load_state_dict(dict(zip(reference.state_dict(), values, strict=True)))
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(model(x), reference(x))
    assert size(model) == 347_146
    layers = [m for m in model.modules() if not list(m.children())]
    assert [type(m) for m in layers if not isinstance(m, nn.Dropout)] == [
        nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear,
    ]  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
def test_basic_block_adds_its_shortcut(stride: int) -> None:
    outputs = 4 if stride == 1 else 8
    block = BasicBlock(4, outputs, stride, nn.ELU, "batch").eval()
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    scale = 1 / math.sqrt(1 + 1e-5)  # fresh batch normalization in evaluation
    x = torch.randn(2, 4, 7, 8)
    h = F.elu(F.conv2d(x, convolutions[0].weight, stride=stride, padding=1) * scale)
    h = F.conv2d(h, convolutions[1].weight, padding=1) * scale
    shortcut = x if stride == 1 else F.conv2d(x, convolutions[2].weight, stride=2) * scale
    torch.testing.assert_close(block(x), F.elu(h + shortcut))


def test_resnet_20_of_the_paper() -> None:
    cifar = Spec(input="image", input_shape=(3, 32, 32), output_size=10, task="classification")
    model = ResNet(cifar, nn.ReLU, blocks=(3, 3, 3))
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in model.modules()) == 19
    projections = 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64  # the paper pads instead: 0.27 million
    assert size(model) - projections == 269_722
    assert 150_000 < size(ResNet(MNIST, nn.ReLU)) < 250_000


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("cell", "reference"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)]
)
def test_stacked_cells_equal_torchs_own(
    cell: str, reference: type[nn.RNN | nn.LSTM | nn.GRU], bidirectional: bool
) -> None:
    options = {"cell": cell, "hidden": 8, "layers": 2, "dense": (), "bidirectional": bidirectional}
    model = RNN(SEQUENCE, nn.ReLU, **options)  # type: ignore[arg-type]
    stacked = reference(4, 8, num_layers=2, batch_first=True, bidirectional=bidirectional)
    stacked.load_state_dict(
        {
            name.replace("_l0", f"_l{i}"): value
            for i, layer in enumerate(model.recurrent)
            for name, value in layer.state_dict().items()
        }
    )
    x = torch.randn(5, 6, 4)
    state = stacked(x)[1]
    last = state[0] if cell == "lstm" else state
    final = torch.cat(tuple(last[-2:]), 1) if bidirectional else last[-1]
    torch.testing.assert_close(model(x), model.head(final))


def test_mean_pooling_averages_over_time() -> None:
    model = RNN(SEQUENCE, nn.ReLU, hidden=8, pooling="mean")
    x = torch.randn(5, 6, 4)
    outputs: Tensor = model.recurrent[0](x)[0]
    torch.testing.assert_close(model(x), model.head(outputs.mean(1)))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_encoder_block_equals_torchs_own(pre_norm: bool) -> None:
    block = EncoderBlock(12, 3, 2, nn.GELU, "layer", pre_norm).eval()
    reference = nn.TransformerEncoderLayer(
        12, 3, 24, 0.0, nn.GELU(), batch_first=True, norm_first=pre_norm
    )
    attention = block.attention[0]
    assert isinstance(attention, SelfAttention)
    parts = (attention.query, attention.key, attention.value)
    biases = (attention.query.bias, torch.zeros(12), attention.value.bias)
    copied = {
        "self_attn.in_proj_weight": torch.cat([part.weight for part in parts]),
        "self_attn.in_proj_bias": torch.cat(biases),
    }
    modules: list[tuple[str, nn.Module]] = [
        ("self_attn.out_proj", attention.output),
        ("linear1", block.feed_forward[0]),
        ("linear2", block.feed_forward[3]),
        ("norm1", block.attention_norm),
        ("norm2", block.feed_forward_norm),
    ]
    for theirs, ours in modules:
        copied |= {f"{theirs}.{name}": value for name, value in ours.state_dict().items()}
    reference.load_state_dict(copied)
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(block(x), reference(x))


def test_transformer_knows_the_order_of_steps() -> None:
    model = Transformer(SEQUENCE, nn.ReLU).eval()
    x = torch.randn(2, 6, 4)
    assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-5)
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(x.flip(1)), atol=1e-5, rtol=1e-5)


def test_images_are_read_row_by_row() -> None:
    spec = Spec(input="image", input_shape=(2, 3, 4), output_size=1, task="regression")
    view = SequenceView(spec, 1)
    x = torch.randn(5, 2, 3, 4)
    rows = torch.stack([x[:, :, row].reshape(5, 8) for row in range(3)], 1)
    assert (view.length, view.size) == (3, 8)
    assert torch.equal(view(x), rows)


def test_features_are_read_one_by_one() -> None:
    view, x = SequenceView(FEATURES, 1), torch.randn(2, 5)
    assert (view.length, view.size) == (5, 1)
    assert torch.equal(view(x)[:, :, 0], x)


def test_divergence_is_that_of_normal_distributions() -> None:
    model = DenseOrConvAutoencoder(FEATURES, nn.ReLU, variational=True, beta=0.7, latent_size=4)
    assert model.log_variance is not None
    x = torch.randn(6, 5)
    h = model.encoder(x)
    code = Normal(model.mean(h), (model.log_variance(h) / 2).exp())
    per_value: Tensor = kl_divergence(code, Normal(0.0, 1.0))
    expected = 0.7 * per_value.sum(1).mean() / 5
    torch.testing.assert_close(model.reconstruct(x)[1], expected)


def test_the_code_is_random_in_training_only() -> None:
    torch.manual_seed(0)
    model = DenseOrConvAutoencoder(FEATURES, nn.ReLU, variational=True)
    x = torch.randn(6, 5)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model.decode(model.encode(x)))


def test_noise_has_its_standard_deviation_in_training_only() -> None:
    torch.manual_seed(0)
    model = DenseOrConvAutoencoder(FEATURES, nn.ReLU, noise=0.3)
    x, seen = torch.randn(5000, 5), list[Tensor]()
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    model.eval()(x)
    assert (seen[0] - x).std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(seen[1], x)


def test_without_variational_nothing_is_added_to_the_loss() -> None:
    model = DenseOrConvAutoencoder(FEATURES, nn.ReLU)
    assert model.reconstruct(torch.randn(2, 5))[1].item() == 0.0


@pytest.mark.parametrize("spec", [MNIST, FEATURES], ids=lambda s: s.input)
def test_gan_leaves_ends_unnormalized(spec: Spec) -> None:
    model = GAN(spec, nn.LeakyReLU, depth=2)
    for network, plain in ((model.generator, -1), (model.discriminator, 0)):
        weights = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert weights[plain].bias is not None
        assert any(m.bias is None for m in weights)
