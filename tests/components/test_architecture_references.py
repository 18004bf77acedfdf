"""The built-in networks against independent references: torch's own modules and closed forms."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dlframe.components.architectures.autoencoder import DenseOrConvAutoencoder
from dlframe.components.architectures.cnn import CNN
from dlframe.components.architectures.gan import GAN
from dlframe.components.architectures.mlp import MLP
from dlframe.components.architectures.patches import (
    MixerBlock,
    MLPMixer,
    PatchEmbedding,
    VisionTransformer,
)
from dlframe.components.architectures.resnet import BasicBlock, Bottleneck, ResNet
from dlframe.components.architectures.rnn import RNN
from dlframe.components.architectures.sequences import SequenceView
from dlframe.components.architectures.transformer import EncoderBlock, SelfAttention, Transformer
from dlframe.components.architectures.vgg import VGG
from dlframe.interfaces import Spec

MNIST = Spec(input="image", input_shape=(1, 28, 28), output_size=10, task="classification")
IMAGENET = Spec(input="image", input_shape=(3, 224, 224), output_size=1000, task="classification")
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


def test_bottleneck_adds_its_shortcut() -> None:
    block = Bottleneck(8, 16, 2, nn.ELU, "none")
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = ((m.weight, m.bias) for m in convolutions)
    x = torch.randn(2, 8, 7, 8)
    h = F.elu(F.conv2d(F.elu(F.conv2d(x, w1, b1)), w2, b2, stride=2, padding=1))
    expected = F.elu(F.conv2d(h, w3, b3) + F.conv2d(x, w4, b4, stride=2))
    torch.testing.assert_close(block(x), expected)
    assert w2.shape == (4, 4, 3, 3)


@pytest.mark.parametrize(
    ("model", "options", "published"),
    [
        (ResNet, {"depth": 18, "width": 64, "stem": "standard"}, 11_689_512),
        (ResNet, {"depth": 34, "width": 64, "stem": "standard"}, 21_797_672),
        (ResNet, {"depth": 50, "width": 64, "stem": "standard"}, 25_557_032),
        (VGG, {"depth": 11}, 132_863_336),
        (VGG, {"depth": 13}, 133_047_848),
        (VGG, {"depth": 16}, 138_357_544),
        (VGG, {"depth": 19}, 143_667_240),
        (VGG, {"depth": 16, "normalization": "batch"}, 138_365_992 - 4224),  # biases doubled there
        # ViT-B/16 has a bias of 768 for the keys of each of its 12 blocks.
        (
            VisionTransformer,
            {"patch_size": 16, "width": 768, "depth": 12, "heads": 12},
            86_567_656 - 12 * 768,
        ),
        (
            MLPMixer,
            {"patch_size": 16, "width": 768, "depth": 12, "token_hidden": 384, "channel_hidden": 3072},
            59_880_472,
        ),
    ],
)  # fmt: skip
def test_published_networks_have_their_published_sizes(
    model: type[nn.Module], options: dict[str, object], published: int
) -> None:
    if model is VGG:
        common = {"width": 64, "stem": "standard", "dense": (4096, 4096), "normalization": "none"}
        options = {**common, **options}
    with torch.device("meta"):
        assert size(model(IMAGENET, nn.ReLU, **options)) == published


@pytest.mark.parametrize("model", [ResNet, VGG])
def test_standard_stems_reduce_224_pixels_to_7(model: type[ResNet | VGG]) -> None:
    options = {"depth": 18, "stem": "standard"} if model is ResNet else {"stem": "standard"}
    with torch.device("meta"):
        features = model(IMAGENET, nn.ReLU, width=4, **options).features
        assert features(torch.empty(1, 3, 224, 224)).shape[2:] == (7, 7)


def test_the_stem_for_small_images_does_not_pool_early() -> None:
    model = VGG(MNIST, nn.ReLU, width=4)
    sizes = []
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(lambda _m, _i, maps: sizes.append(maps.shape[2]))
    model(torch.randn(2, 1, 28, 28))
    assert sizes == [14, 7, 3, 1]
    assert isinstance(ResNet(MNIST, nn.ReLU).features[0], nn.Conv2d)
    assert ResNet(MNIST, nn.ReLU).features[0].stride == (1, 1)


def test_patches_are_mapped_one_by_one() -> None:
    spec = Spec(input="image", input_shape=(2, 7, 8), output_size=3, task="classification")
    patches = PatchEmbedding(spec, 4, 5, "test")
    x = torch.randn(3, 2, 7, 8)
    whole = F.pad(x, (0, 0, 0, 1))
    cut = whole.unfold(2, 4, 4).unfold(3, 4, 4)  # [B, C, rows, columns, 4, 4]
    flat = cut.permute(0, 2, 3, 1, 4, 5).reshape(3, 4, 32)
    expected = F.linear(flat, patches.projection.weight.flatten(1), patches.projection.bias)
    assert patches.length == 4
    torch.testing.assert_close(patches(x), expected)


def test_mixer_is_its_formula() -> None:
    model = MLPMixer(MNIST, nn.Tanh, patch_size=7, width=6, depth=1, token_hidden=5)
    block = model.blocks[0]
    assert isinstance(block, MixerBlock)

    def two_layers(x: Tensor, weights: list[Tensor]) -> Tensor:
        w1, b1, w2, b2 = weights
        return torch.tanh(x @ w1.T + b1) @ w2.T + b2

    x = torch.randn(3, 1, 28, 28)
    h = model.patches(x)
    norm = F.layer_norm(h, (6,)).transpose(1, 2)
    h = h + two_layers(norm, list(block.tokens.parameters())).transpose(1, 2)
    h = h + two_layers(F.layer_norm(h, (6,)), list(block.channels.parameters()))
    torch.testing.assert_close(model(x), model.head(F.layer_norm(h, (6,)).mean(1)))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vision_transformer_knows_where_a_patch_is(pooling: Literal["cls", "mean"]) -> None:
    model = VisionTransformer(MNIST, nn.GELU, patch_size=14, pooling=pooling).eval()
    x = torch.randn(2, 1, 28, 28)
    turned = torch.cat((x[:, :, 14:], x[:, :, :14]), 2)  # the upper patches below
    assert not torch.allclose(model(x), model(turned), atol=1e-5)
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(turned), atol=1e-5, rtol=1e-5)


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
