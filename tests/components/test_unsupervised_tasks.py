"""Reconstruction and generation: steps, players, metrics, figures, and learning on real data."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from sklearn.datasets import load_digits, load_iris
from torch import Tensor, nn
from torch.nn import functional as F

import dlframe
from dlframe.components.architectures.autoencoder import DenseOrConvAutoencoder
from dlframe.components.architectures.gan import GAN
from dlframe.components.losses.binary_cross_entropy import BinaryCrossEntropy
from dlframe.components.losses.regression import MeanSquaredError
from dlframe.components.losses.wasserstein import Wasserstein
from dlframe.components.tasks.generation import Generation
from dlframe.components.tasks.reconstruction import Reconstruction
from dlframe.errors import ConfigError
from dlframe.interfaces import Batch, Spec

DIGITS = Spec(input="image", input_shape=(1, 8, 8), output_size=10, task="generation")
IRIS = Spec(
    input="features",
    input_shape=(4,),
    output_size=3,
    task="generation",
    feature_names=("sepal length", "sepal width", "petal length", "petal width"),
)


def digits() -> Tensor:
    return torch.tensor(load_digits().images[:, None] / 16, dtype=torch.float32)


def iris() -> Tensor:
    x = torch.tensor(load_iris().data, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0)


def batch_of(x: Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x), dtype=torch.int64))


def test_reconstruction_makes_the_inputs_the_targets() -> None:
    task = Reconstruction(DIGITS, MeanSquaredError())
    batch = task.prepare(batch_of(digits()[:5]))
    assert batch.y is batch.x
    assert task.output_size() == 64


@pytest.mark.parametrize("variational", [False, True])
def test_reconstruction_adds_what_the_network_adds(variational: bool) -> None:
    task = Reconstruction(DIGITS, MeanSquaredError())
    model = DenseOrConvAutoencoder(DIGITS, nn.ReLU, variational=variational).eval()
    batch = task.prepare(batch_of(digits()[:5]))
    outputs, own = model.reconstruct(batch.x)
    step = task.step(model, batch, "model")
    torch.testing.assert_close(step.loss, F.mse_loss(outputs, batch.x) + own)
    torch.testing.assert_close(step.logs["latent_loss"], own)
    torch.testing.assert_close(step.logs["reconstruction_loss"], F.mse_loss(outputs, batch.x))
    assert (own.item() > 0) is variational
    loss, predictions = task.evaluate(model, batch)
    torch.testing.assert_close(loss, step.loss)
    torch.testing.assert_close(predictions, outputs)


def test_reconstructions_are_on_the_scale_of_the_inputs() -> None:
    model = DenseOrConvAutoencoder(DIGITS, nn.ReLU, kind="conv")
    x = digits()[:5]
    predictions = Reconstruction(DIGITS, BinaryCrossEntropy(DIGITS)).predict(model, x)
    torch.testing.assert_close(predictions, model(x).sigmoid())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Reconstruction(DIGITS, MeanSquaredError()).predict(model, x).dtype == torch.float32


def test_reconstruction_metrics_equal_scikit_learn() -> None:
    x, task = digits()[:50], Reconstruction(DIGITS, MeanSquaredError())
    guess = x.roll(1, 0)
    collection = task.metrics("test")
    for p, t in zip(guess.split(20), x.split(20), strict=True):  # type: ignore[no-untyped-call]
        collection.update(p, t)
    expected = {
        "mae": reference.mean_absolute_error(x.flatten(), guess.flatten()),
        "mse": reference.mean_squared_error(x.flatten(), guess.flatten()),
    }
    assert {k: float(v) for k, v in collection.compute().items()} == pytest.approx(expected)
    assert list(task.metrics("train")) == ["mae"]


def test_reconstruction_learns_digits() -> None:
    x, task = digits()[:512], Reconstruction(DIGITS, MeanSquaredError())
    torch.manual_seed(0)
    model = DenseOrConvAutoencoder(DIGITS, nn.ReLU, latent_size=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        task.step(model, task.prepare(batch_of(x)), "model").loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert F.mse_loss(task.predict(model, x), x) < 0.4 * x.var(0).mean()


def test_reconstruction_columns_carry_feature_names() -> None:
    named = Reconstruction(IRIS, MeanSquaredError()).columns(iris()[:3])
    assert tuple(named) == IRIS.feature_names
    np.testing.assert_allclose(named["petal length"].astype(float), iris()[:3, 2], rtol=1e-6)
    assert len(Reconstruction(DIGITS, MeanSquaredError()).columns(digits()[:3])) == 64


def test_reconstruction_figures() -> None:
    x = digits()[:12]
    axes = Reconstruction(DIGITS, MeanSquaredError()).figures(1 - x, x)["reconstructions"].axes
    assert len(axes) == 20
    np.testing.assert_allclose(np.asarray(axes[0].images[0].get_array()), x[0, 0])
    np.testing.assert_allclose(np.asarray(axes[10].images[0].get_array()), 1 - x[0, 0])
    rows = iris()
    points = (
        Reconstruction(IRIS, MeanSquaredError())
        .figures(rows, rows)["residuals"]
        .axes[0]
        .collections[0]
    )
    assert len(np.asarray(points.get_offsets())) == rows.numel()


def test_a_sparse_code_is_busy_for_few_examples() -> None:
    x, shares = digits()[:512], {}
    for sparsity in (0.0, 1.0):
        torch.manual_seed(0)
        model = DenseOrConvAutoencoder(
            DIGITS, nn.ReLU, latent_size=48, sparsity=sparsity, activity=0.1
        )
        task = Reconstruction(DIGITS, MeanSquaredError())
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(200):
            optimizer.zero_grad()
            task.step(model, task.prepare(batch_of(x)), "model").loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        code = model.encode(x) if sparsity else model.encode(x).sigmoid()
        shares[sparsity] = code.mean().item()
        if sparsity:
            mean = code.mean(0)
            coins = [torch.distributions.Bernoulli(p) for p in (torch.full((48,), 0.1), mean)]
            expected = torch.distributions.kl_divergence(*coins).sum() / 64
            torch.testing.assert_close(model.reconstruct(x)[1], expected)
            assert (mean - 0.1).abs().max() < 0.05
            assert F.mse_loss(model(x), x) < 0.4 * x.var(0).mean()
    assert shares[0.0] > 0.3
    with pytest.raises(ConfigError, match="sparse or variational, not both"):
        DenseOrConvAutoencoder(DIGITS, nn.ReLU, sparsity=1.0, variational=True)


def gan(spec: Spec, **options: Any) -> GAN:
    torch.manual_seed(0)
    return GAN(spec, lambda: nn.LeakyReLU(0.2), **options)


def test_the_discriminator_steps_first() -> None:
    model, task = gan(IRIS), Generation(IRIS, BinaryCrossEntropy(DIGITS))
    players = task.players(model)
    assert list(players) == ["discriminator", "generator"]
    assert players["generator"] is model.generator
    ours = {id(p) for player in players.values() for p in player.parameters()}
    assert ours == {id(p) for p in model.parameters()}


def test_discriminator_step_is_its_formula_and_spares_the_generator() -> None:
    model, task = gan(DIGITS, normalization="layer"), Generation(DIGITS, BinaryCrossEntropy(DIGITS))
    batch = task.prepare(batch_of(digits()[:16]))
    torch.manual_seed(1)
    step = task.step(model, batch, "discriminator")
    torch.manual_seed(1)
    fake = model.discriminator(model(torch.randn(16, model.latent_size)))
    real = model.discriminator(batch.x)
    expected = (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    torch.testing.assert_close(step.loss, expected)
    assert step.logs["d_real"].item() == pytest.approx(real.mean().item(), rel=1e-4, abs=1e-6)
    assert step.logs["d_fake"].item() == pytest.approx(fake.mean().item(), rel=1e-4, abs=1e-6)
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_generator_step_does_not_saturate() -> None:
    model, task = gan(DIGITS, normalization="layer"), Generation(DIGITS, BinaryCrossEntropy(DIGITS))
    batch = task.prepare(batch_of(digits()[:16]))
    torch.manual_seed(1)
    step = task.step(model, batch, "generator")
    torch.manual_seed(1)
    logits = model.discriminator(model(torch.randn(16, model.latent_size)))
    torch.testing.assert_close(step.loss, F.softplus(-logits).mean())
    step.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.generator.parameters()]
    assert all(g is not None and g.abs().max() > 0 for g in gradients)


def test_least_squares_game_takes_the_same_door() -> None:
    model, task = gan(IRIS, normalization="none"), Generation(IRIS, MeanSquaredError())
    torch.manual_seed(1)
    step = task.step(model, task.prepare(batch_of(iris())), "generator")
    torch.manual_seed(1)
    logits = model.discriminator(model(torch.randn(150, model.latent_size)))
    torch.testing.assert_close(step.loss, (logits - 1).square().mean())


def test_generation_evaluates_as_many_samples_as_examples() -> None:
    model, task = gan(DIGITS).eval(), Generation(DIGITS, BinaryCrossEntropy(DIGITS))
    batch = task.prepare(batch_of(digits()[:16]))
    torch.manual_seed(1)
    loss, samples = task.evaluate(model, batch)
    torch.manual_seed(1)
    expected = task.predict(model, torch.randn(16, model.latent_size))
    assert torch.equal(samples, expected)
    real, fake = model.discriminator(batch.x), model.discriminator(expected)
    torch.testing.assert_close(loss, (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2)
    assert batch.y is batch.x


def test_the_loss_of_a_game_sees_ones_and_zeros() -> None:
    seen = list[Tensor]()
    loss = BinaryCrossEntropy(DIGITS)
    loss.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    task, batch = Generation(DIGITS, loss), batch_of(digits()[:4] * 16)
    task.step(gan(DIGITS), batch, "discriminator")
    assert [targets.tolist() for targets in seen] == [[[1.0]] * 4, [[0.0]] * 4]
    assert set(task.targets(batch).flatten().tolist()) == {0.0, 1.0}
    loss.check(task.targets(batch))


def test_frechet_distance_is_that_of_normal_distributions() -> None:
    task = Generation(IRIS, BinaryCrossEntropy(DIGITS))
    x = iris()
    y = x * torch.tensor([1.0, 2.0, 0.5, 1.0]) + torch.tensor([0.0, 0.0, 1.0, -2.0])
    collection = task.metrics("val")
    for p, t in zip(y.split(40), x.split(40), strict=True):  # type: ignore[no-untyped-call]
        collection.update(p, t)
    a, b = (part.double().numpy() for part in (x, y))
    expected = ((a.mean(0) - b.mean(0)) ** 2 + (a.std(0) - b.std(0)) ** 2).mean()
    assert float(collection.compute()["frechet"]) == pytest.approx(expected, rel=1e-4)
    collection.reset()
    collection.update(x, x)
    assert float(collection.compute()["frechet"]) == 0.0
    collection.reset()
    collection.update(x.mean(0).expand_as(x), x)  # a generator that makes one sample only
    assert float(collection.compute()["frechet"]) == pytest.approx(1.0, rel=0.02)
    assert len(task.metrics("train")) == 0
    assert task.monitor == "val/frechet"


@pytest.mark.parametrize(
    ("spec", "options"),
    [(IRIS, {"normalization": "none"}), (DIGITS, {"width": 16})],
    ids=["features", "image"],
)
def test_players_together_learn_the_data(spec: Spec, options: dict[str, Any]) -> None:
    x = digits()[:512] if spec is DIGITS else iris()
    model, task = gan(spec, latent_size=8, **options), Generation(spec, BinaryCrossEntropy(DIGITS))
    optimizers = {
        name: torch.optim.Adam(player.parameters(), lr=2e-3, betas=(0.5, 0.999))
        for name, player in task.players(model).items()
    }

    def distance() -> float:
        collection = task.metrics("val")
        with torch.no_grad():
            collection.update(task.evaluate(model, task.prepare(batch_of(x)))[1], x)
        return float(collection.compute()["frechet"])

    before = distance()
    for _ in range(200):
        batch = task.prepare(batch_of(x[torch.randint(0, len(x), (64,))]))
        for name, optimizer in optimizers.items():
            optimizer.zero_grad()
            task.step(model, batch, name).loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    after = distance()
    assert math.isfinite(after)
    assert after < 0.5 * before


def test_the_wasserstein_critic_is_its_formula() -> None:
    model = gan(IRIS, normalization="none")
    task = Generation(IRIS, Wasserstein(), gradient_penalty=7.0)
    batch = task.prepare(batch_of(iris()))
    torch.manual_seed(1)
    step = task.step(model, batch, "discriminator")
    torch.manual_seed(1)
    fake = model(torch.randn(150, model.latent_size)).detach()
    share = torch.rand(150, 1)
    lengths = []
    for point in share * batch.x + (1 - share) * fake:  # one by one, by torch's own Jacobian
        jacobian = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
            lambda u: model.discriminator(u[None])[0, 0], point
        )
        lengths.append(jacobian.norm())
    penalty = (torch.stack(lengths) - 1).square().mean()
    gap = model.discriminator(fake).mean() - model.discriminator(batch.x).mean()
    torch.testing.assert_close(step.loss, (gap + 7 * penalty) / 2)
    torch.testing.assert_close(step.logs["gradient_penalty"], penalty)
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.generator.parameters())
    weights = [p for p in model.discriminator.parameters() if p.ndim == 2]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in weights)
    torch.manual_seed(1)
    made = task.step(model, batch, "generator").loss
    torch.manual_seed(1)
    expected = -model.discriminator(model(torch.randn(150, model.latent_size))).mean()
    torch.testing.assert_close(made, expected)


def test_a_gradient_penalty_refuses_batch_normalization() -> None:
    task = Generation(DIGITS, Wasserstein(), gradient_penalty=10.0)
    with pytest.raises(ConfigError, match=r"set architecture\.normalization=layer"):
        task.players(gan(DIGITS, normalization="batch"))
    task.players(gan(DIGITS, normalization="layer"))


def test_the_generator_waits_for_the_critic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    moves: dict[str, list[int]] = {"discriminator": [], "generator": []}
    step, steps = Generation.step, itertools.count(1)

    def counted(self: Generation, model: nn.Module, batch: Batch, player: str) -> Any:
        moves[player].append(
            next(steps) if player == "discriminator" else moves["discriminator"][-1]
        )
        return step(self, model, batch, player)

    monkeypatch.setattr(Generation, "step", counted)
    run = dlframe.train(
        "experiment=wgan_gp", "architecture.width=8", "task.critic_steps=3", "trainer.max_epochs=2",
        "trainer.limit_train=5", "trainer.max_steps=8", "tracking.enabled=false",
    )  # fmt: skip
    assert moves["discriminator"] == list(range(1, 9))
    assert moves["generator"] == [1, 4, 7]  # over the end of an epoch, too
    measured = run.history.dropna(subset=["train/loss_generator"])
    assert len(measured) == 2
    assert measured["train/gradient_penalty"].between(0, 2).all()


def test_generation_figures() -> None:
    x = digits()[:70]
    grid = Generation(DIGITS, BinaryCrossEntropy(DIGITS)).figures(x, x)["samples"]
    assert sum(bool(axes.images) for axes in grid.axes) == 64
    few = Generation(DIGITS, BinaryCrossEntropy(DIGITS)).figures(x[:7], x)["samples"]
    assert sum(bool(axes.images) for axes in few.axes) == 7
    rows = iris()
    axes = Generation(IRIS, BinaryCrossEntropy(DIGITS)).figures(rows, rows)["samples"].axes
    assert [a.get_title() for a in axes] == list(IRIS.feature_names)
    assert sum(p.get_height() for p in axes[0].patches) == 300  # type: ignore[attr-defined]
