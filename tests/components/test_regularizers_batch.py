"""Regularizers that change the batch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.regularizers.adversarial import AdversarialTraining
from dlframe.components.regularizers.augment import Augment
from dlframe.components.regularizers.input_noise import InputNoise
from dlframe.components.regularizers.mixing import CutMix, Mixup
from dlframe.components.regularizers.targets import LabelSmoothing
from dlframe.errors import ConfigError
from dlframe.interfaces import Batch, Regularizer, Spec

CLASSES = 3
SPEC = Spec(input="features", input_shape=(4,), output_size=CLASSES, task="classification")
BINARY = Spec(
    input="features",
    input_shape=(4,),
    output_size=1,
    task="classification",
    class_names=("no", "yes"),
)
IMAGES = Spec(input="image", input_shape=(1, 8, 8), output_size=CLASSES, task="classification")


def no_loss(batch: Batch) -> Tensor:
    raise AssertionError("only adversarial training may evaluate the loss")


def batch_of(*shape: int, size: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(size, *shape, generator=generator),
        torch.randint(CLASSES, (size,), generator=generator),
    )


def prepared(regularizer: Regularizer, spec: Spec = SPEC) -> Regularizer:
    model = nn.Identity()
    assert regularizer.on_model(model, spec) is model
    return regularizer


@pytest.mark.parametrize(
    "regularizer",
    [
        InputNoise(std=0),
        LabelSmoothing(smoothing=0),
        Mixup(alpha=0),
        CutMix(alpha=0),
        Augment(rotation=0, crop=0),
        AdversarialTraining(epsilon=0),
        AdversarialTraining(method="pgd", epsilon=0),
        AdversarialTraining(fraction=0),
    ],
    ids=lambda regularizer: type(regularizer).__name__,
)
def test_strength_zero_is_the_identity_and_draws_nothing(regularizer: Regularizer) -> None:
    batch = batch_of(1, 8, 8)
    state = torch.get_rng_state()
    after = prepared(regularizer, IMAGES).on_batch(batch, no_loss)
    assert after.x is batch.x
    assert after.y is batch.y
    assert after.clean
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "regularizer",
    [InputNoise(), LabelSmoothing(), Mixup(), CutMix(), Augment(noise=0.1, horizontal_flip=0.5)],
    ids=lambda regularizer: type(regularizer).__name__,
)
def test_a_batch_is_replaced_never_changed_and_follows_the_seed(regularizer: Regularizer) -> None:
    batch, twin = batch_of(1, 8, 8), batch_of(1, 8, 8)
    prepared(regularizer, IMAGES)
    torch.manual_seed(5)
    first = regularizer.on_batch(batch, no_loss)
    torch.manual_seed(5)
    second = regularizer.on_batch(batch, no_loss)
    assert torch.equal(batch.x, twin.x)
    assert torch.equal(batch.y, twin.y)
    assert batch.clean
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.y, second.y)
    assert not (torch.equal(first.x, batch.x) and first.clean)


def test_input_noise_has_the_given_deviation_and_keeps_the_targets() -> None:
    batch = batch_of(4, size=20_000)
    after = InputNoise(std=0.3).on_batch(batch, no_loss)
    noise = after.x - batch.x
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert after.y is batch.y
    assert after.clean


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_equals_torchs_cross_entropy(smoothing: float) -> None:
    batch, logits = batch_of(4), torch.randn(16, CLASSES)
    after = prepared(LabelSmoothing(smoothing=smoothing)).on_batch(batch, no_loss)
    expected = F.cross_entropy(logits, batch.y, label_smoothing=smoothing)
    torch.testing.assert_close(F.cross_entropy(logits, after.y), expected)
    assert not after.clean


def test_label_smoothing_softens_targets_that_are_already_mixed() -> None:
    y = torch.tensor([[0.7, 0.3, 0.0]])
    batch = Batch(torch.zeros(1, 4), y, clean=False)
    after = prepared(LabelSmoothing(smoothing=0.3)).on_batch(batch, no_loss)
    torch.testing.assert_close(after.y, torch.tensor([[0.59, 0.31, 0.1]]))


@pytest.mark.parametrize("regularizer", [LabelSmoothing(), Mixup()])
def test_two_classes_need_two_probabilities_even_with_one_output(regularizer: Regularizer) -> None:
    batch = replace(batch_of(4), y=torch.tensor([0, 1] * 8))
    after = prepared(regularizer, BINARY).on_batch(batch, no_loss)
    assert after.y.shape == (16, 2)
    torch.testing.assert_close(after.y.sum(1), torch.ones(16))


def mixed_with(batch: Batch, after: Batch, share: float) -> Tensor:
    """Return which example each was mixed with, found from the inputs."""
    partners = (after.x - share * batch.x) / (1 - share)
    return torch.cdist(partners.flatten(1), batch.x.flatten(1)).argmin(1)


def test_mixup_mixes_inputs_and_targets_by_the_same_share() -> None:
    batch = batch_of(4)
    after = prepared(Mixup(alpha=1.0)).on_batch(batch, no_loss)
    one_hot = F.one_hot(batch.y, CLASSES).float()
    # The share is the same for all; an example mixed with another class shows it.
    shares = (after.y * one_hot).sum(1)
    share = shares[shares < 1 - 1e-6][0].item()
    other = mixed_with(batch, after, share)
    torch.testing.assert_close(after.x, share * batch.x + (1 - share) * batch.x[other])
    torch.testing.assert_close(after.y, share * one_hot + (1 - share) * one_hot[other])
    assert sorted(other.tolist()) == list(range(16))
    assert not after.clean


def test_mixup_of_a_regression_mixes_values() -> None:
    x = torch.randn(16, 4)
    batch = Batch(x, x @ torch.ones(4, 2))  # a linear target stays linear under mixing
    after = prepared(Mixup(alpha=1.0), replace(SPEC, task="regression")).on_batch(batch, no_loss)
    torch.testing.assert_close(after.y, after.x @ torch.ones(4, 2), atol=1e-5, rtol=1e-5)
    assert not torch.equal(after.x, x)


def test_mixup_draws_its_share_from_the_beta_distribution() -> None:
    mixup = prepared(Mixup(alpha=0.5))
    batch = Batch(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    shares = []
    for _ in range(3000):
        after = mixup.on_batch(batch, no_loss)
        assert torch.equal(after.y[:, 1], after.x[:, 0])
        shares.append(after.x[1].item())
    drawn = torch.tensor(shares)
    drawn = drawn[drawn != 1]  # half of all permutations of two change nothing
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / 8, abs=0.01)


def test_cutmix_pastes_one_rectangle_and_mixes_targets_by_its_area() -> None:
    cutmix = prepared(CutMix(), IMAGES)
    size, height, width = 12, 8, 10
    # Every pixel of an image holds the image's number, so that its origin can be read.
    x = torch.arange(float(size)).view(-1, 1, 1, 1).expand(size, 2, height, width)
    batch = Batch(x, torch.arange(size) % CLASSES)
    areas = []
    for _ in range(50):
        after = cutmix.on_batch(batch, no_loss)
        foreign = after.x != x
        rows, columns = foreign.any(0)[0].any(1), foreign.any(0)[0].any(0)
        share = 1 - rows.sum().item() * columns.sum().item() / (height * width)
        rectangle = rows[:, None] & columns[None, :]
        other = after.x[:, 0][:, rectangle][:, :1].long().flatten() if rectangle.any() else None
        one_hot = F.one_hot(batch.y, CLASSES).float()
        if other is None:
            assert torch.equal(after.y, one_hot)
        else:
            expected = torch.where(rectangle, x[other], x)
            assert torch.equal(after.x, expected)
            torch.testing.assert_close(after.y, share * one_hot + (1 - share) * one_hot[other])
        areas.append(1 - share)
        assert not after.clean
    assert min(areas) < 0.2
    assert max(areas) > 0.5


# Augmentation.


@pytest.mark.parametrize(("option", "axis"), [("horizontal_flip", -1), ("vertical_flip", -2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_flips(option: str, axis: int, channels: int) -> None:
    batch = batch_of(channels, 8, 8, size=400)
    always = Augment(rotation=0, crop=0, **{option: 1.0}).on_batch(batch, no_loss)
    assert torch.equal(always.x, batch.x.flip(axis))
    half = Augment(rotation=0, crop=0, **{option: 0.5}).on_batch(batch, no_loss)
    flipped = (half.x == batch.x.flip(axis)).flatten(1).all(1)
    assert torch.equal(half.x[~flipped], batch.x[~flipped])
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_crop_shifts_each_image_by_whole_pixels_and_repeats_the_border() -> None:
    batch = batch_of(3, 8, 6, size=200)
    after = Augment(rotation=0, crop=2).on_batch(batch, no_loss)
    padded = F.pad(batch.x, (2, 2, 2, 2), mode="replicate")
    shifts = {(dy, dx): padded[..., dy : dy + 8, dx : dx + 6] for dy in range(5) for dx in range(5)}
    counts = torch.stack([(after.x == s).flatten(1).all(1) for s in shifts.values()])
    assert counts.any(0).all()
    assert counts.any(1).all()


def test_rotation_keeps_the_middle_the_range_and_the_border_value() -> None:
    x = torch.full((50, 1, 9, 9), -0.4)
    x[..., 4, 4] = 2.0  # the centre of the rotation
    x[..., 4, 6] = 2.0
    after = Augment(rotation=30, crop=0).on_batch(Batch(x, torch.zeros(50)), no_loss).x
    torch.testing.assert_close(after[..., 4, 4], x[..., 4, 4], atol=1e-4, rtol=0)
    torch.testing.assert_close(after[..., 0, 0], torch.full((50, 1), -0.4))
    assert after.min() >= -0.4 - 1e-5
    assert after.max() <= 2.0 + 1e-5
    assert len({tuple(image.flatten().tolist()) for image in after}) == 50  # each its own angle


def test_rotation_is_as_exact_under_bfloat16_autocast() -> None:
    batch = batch_of(1, 28, 28)
    torch.manual_seed(1)
    plain = Augment(rotation=20).on_batch(batch, no_loss)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = Augment(rotation=20).on_batch(batch, no_loss)
    assert torch.equal(plain.x, cast.x)


def test_noise_of_augmentation_has_the_given_deviation() -> None:
    batch = batch_of(1, 8, 8, size=400)
    after = Augment(rotation=0, crop=0, noise=0.2).on_batch(batch, no_loss)
    assert (after.x - batch.x).std().item() == pytest.approx(0.2, rel=0.05)


def test_a_shift_as_large_as_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"augment\.crop must be less than"):
        Augment(crop=8).on_model(nn.Identity(), IMAGES)


# Adversarial training.


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, CLASSES)
    )


def loss_of(model: nn.Module) -> Callable[[Batch], Tensor]:
    return lambda batch: F.cross_entropy(model(batch.x), batch.y)


def test_fgsm_is_one_signed_step_of_the_network_in_evaluation_mode() -> None:
    model, batch = network(), batch_of(4)
    regularizer = AdversarialTraining(epsilon=0.2, fraction=1.0)
    regularizer.on_model(model, SPEC)
    after = regularizer.on_batch(batch, loss_of(model))
    model.eval()
    x = batch.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(model)(Batch(x, batch.y)), x)
    torch.testing.assert_close(after.x, batch.x + 0.2 * slope.sign())
    assert not after.x.requires_grad
    assert after.clean
    assert torch.equal(after.y, batch.y)


def test_pgd_stays_within_epsilon_and_beats_fgsm() -> None:
    model, batch = network(), batch_of(4, size=256)
    losses = {}
    for method in ("fgsm", "pgd"):
        regularizer = AdversarialTraining(method=method, epsilon=0.5, steps=20, fraction=1.0)
        regularizer.on_model(model, SPEC)
        after = regularizer.on_batch(batch, loss_of(model))
        assert (after.x - batch.x).abs().max() <= 0.5 + 1e-6
        model.eval()
        losses[method] = loss_of(model)(after).item()
        clean = loss_of(model)(batch).item()
        model.train()
    assert clean < losses["fgsm"] <= losses["pgd"]


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_an_attack_leaves_gradients_buffers_and_modes_of_the_network_alone(method: str) -> None:
    model, batch = network(), batch_of(4)
    model[3].eval()
    loss_of(model)(batch).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    regularizer = AdversarialTraining(method=method)  # type: ignore[arg-type]
    regularizer.on_model(model, SPEC)
    regularizer.on_batch(batch, loss_of(model))
    assert all(
        torch.equal(p.grad, g)
        for p, g in zip(model.parameters(), gradients, strict=True)
        if p.grad is not None
    )
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model] == [True, True, True, False, True]


def test_a_failing_attack_restores_the_networks_mode() -> None:
    model = network()
    regularizer = AdversarialTraining()
    regularizer.on_model(model, SPEC)
    with pytest.raises(AssertionError):
        regularizer.on_batch(batch_of(4), no_loss)
    assert all(module.training for module in model.modules())


def test_only_the_given_share_of_a_batch_is_attacked() -> None:
    model, batch = network(), batch_of(4, size=20)
    regularizer = AdversarialTraining(fraction=0.3)
    regularizer.on_model(model, SPEC)
    moved = (regularizer.on_batch(batch, loss_of(model)).x != batch.x).any(1)
    again = (regularizer.on_batch(batch, loss_of(model)).x != batch.x).any(1)
    assert moved.sum() == again.sum() == 6
    assert not torch.equal(moved, again)


def test_an_attack_on_a_recurrent_network() -> None:
    rnn, batch = nn.LSTM(4, 8, batch_first=True), batch_of(5, 4)
    regularizer = AdversarialTraining(method="pgd", fraction=1.0)
    regularizer.on_model(rnn, SPEC)
    after = regularizer.on_batch(
        batch, lambda b: F.cross_entropy(rnn(b.x)[0][:, -1, :CLASSES], b.y)
    )
    assert (after.x != batch.x).any(1).all()


def test_gradients_after_an_attack_under_bfloat16_autocast_are_those_without_one() -> None:
    def gradients(attack: bool) -> list[Tensor]:
        model, batch = network(), batch_of(4)
        regularizer = AdversarialTraining(fraction=1.0)
        regularizer.on_model(model, SPEC)
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attacked = regularizer.on_batch(batch, loss_of(model))
            assert attacked.x.dtype == torch.float32
        if not attack:
            model = network()  # same weights, without what autocast has cached
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if attack:
                regularizer.on_batch(batch, loss_of(model))
                torch.manual_seed(3)
            loss = loss_of(model)(attacked)
        loss.backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in model.parameters() if p.grad is not None]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(a, b)


def test_regularizers_of_the_batch_compose_in_the_order_given() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    chain = [
        Augment(noise=0.1),
        Mixup(),
        CutMix(),
        LabelSmoothing(),
        InputNoise(),
        AdversarialTraining(method="pgd"),
    ]
    batch = batch_of(1, 8, 8)
    for regularizer in chain:
        regularizer.on_model(model, IMAGES)
    for regularizer in chain:
        batch = regularizer.on_batch(batch, loss_of(model))
    assert batch.x.shape == (16, 1, 8, 8)
    assert batch.x.isfinite().all()
    torch.testing.assert_close(batch.y.sum(1), torch.ones(16))
    assert batch.y.min() >= 0.1 / CLASSES - 1e-6
    assert not batch.clean
