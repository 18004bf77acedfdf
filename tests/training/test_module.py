"""The loop: what it computes, whatever number of steps it runs per call."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dlframe
from dlframe.config.validate import validate
from dlframe.errors import ConfigError, TrainingDivergedError
from dlframe.interfaces import Batch, Regularizer
from dlframe.training.fit import Fit
from dlframe.training.prepare import prepare

Train = Callable[..., Fit]


@pytest.fixture
def fitted(tmp_path: Path) -> Train:
    """Train a config without recording it and return the finished fit."""

    def run(*overrides: str, regularizers: Sequence[Regularizer] = (), **changes: Any) -> Fit:
        base = ["trainer.max_epochs=2", "trainer.checkpoint=false", f"tracking.root={tmp_path}"]
        parts = prepare(validate(dlframe.compose(*base, *overrides)))
        parts.regularizers.extend(regularizers)
        for name, value in changes.items():
            setattr(parts, name, value)
        fit = Fit(parts, tmp_path, log=lambda values, step: None)
        fit.fit()
        return fit

    return run


def _weights(fit: Fit) -> dict[str, Tensor]:
    return fit.module.network.state_dict()


def _assert_equal(one: Fit, other: Fit) -> None:
    for key, value in _weights(one).items():
        assert torch.equal(value, _weights(other)[key]), key


@pytest.mark.parametrize(
    "overrides",
    [
        ["architecture=mlp"],
        ["architecture=mlp", "optimizer=sgd", "scheduler=cosine", "trainer.accumulate=3"],
        ["architecture=cnn", "regularizer=[dropout,mixup,l2,max_norm]", "data.limit=400"],
        ["architecture=gan", "data.limit=300"],
        ["optimizer=lbfgs", "data.limit=300", "data.batch_size=100"],
        ["regularizer=[weight_averaging,gradient_clipping]"],
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_results_do_not_depend_on_steps_per_call(fitted: Train, overrides: list[str]) -> None:
    one = fitted(*overrides, "trainer.steps_per_call=1")
    many = fitted(*overrides, "trainer.steps_per_call=16")
    adaptive = fitted(*overrides)
    _assert_equal(one, many)
    _assert_equal(one, adaptive)
    assert one.module.steps == many.module.steps == adaptive.module.steps


def test_one_step_is_what_torch_does_by_hand(fitted: Train) -> None:
    options = ["optimizer=sgd", "optimizer.lr=0.1", "data.batch_size=all", "trainer.max_epochs=3"]
    parts = prepare(dlframe.compose(*options))
    network, train = parts.network, parts.splits.train
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    fit = fitted(*options)
    order = fit.loaders["train"]
    order.epoch = 0
    for _ in range(3):
        rows = order.order()
        order.epoch += 1
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(train.x[rows]), train.y[rows])
        torch.autograd.backward(loss)
        optimizer.step()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(_weights(fit)[key], value, rtol=1e-5, atol=1e-6)


def test_accumulating_batches_is_one_larger_batch(fitted: Train) -> None:
    share = ["optimizer=sgd", "optimizer.lr=0.1", "data.limit=1000", "trainer.max_epochs=1"]
    share += ["trainer.limit_train=4"]
    small = fitted(*share, "data.batch_size=50", "trainer.accumulate=4")
    large = fitted(*share, "data.batch_size=200", "trainer.limit_train=1")
    assert small.module.steps == large.module.steps == 1
    for key, value in _weights(large).items():
        torch.testing.assert_close(_weights(small)[key], value)


@pytest.mark.parametrize("steps", [1, 7, 45, 50])
def test_max_steps_is_exact_and_ends_with_a_validation(fitted: Train, steps: int) -> None:
    fit = fitted("trainer.max_epochs=100", f"trainer.max_steps={steps}", "data.batch_size=32")
    assert fit.module.steps == steps
    assert "val/loss" in fit.trainer.callback_metrics


def test_max_steps_counts_rounds_of_a_game_of_two(fitted: Train) -> None:
    fit = fitted("architecture=gan", "trainer.max_steps=5", "data.limit=300")
    assert fit.module.steps == 5


@pytest.mark.parametrize(("size", "per_epoch"), [("all", 1), ("1", 107), ("16", 7)])
def test_full_stochastic_and_mini_batch_descent(fitted: Train, size: str, per_epoch: int) -> None:
    fit = fitted("data=iris", f"data.batch_size={size}")
    assert len(fit.parts.splits.train.x) == 107
    assert fit.module.steps == 2 * per_epoch


class _Spy(Regularizer):
    """Notes what it is called with, at every place a regularizer may act."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.training: list[bool] = []

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        self.calls.append("batch")
        return batch

    def penalty(self, model: nn.Module) -> Tensor | None:
        self.calls.append("penalty")
        self.training.append(model.training)
        return None

    def on_gradients(self, model: nn.Module) -> None:
        assert all(p.grad is not None for p in model.parameters())
        self.calls.append("gradients")

    def after_step(self, model: nn.Module) -> None:
        assert not torch.is_grad_enabled()
        self.calls.append("step")


def test_a_regularizer_acts_in_order_at_every_step_and_never_in_evaluation(fitted: Train) -> None:
    spy = _Spy()
    fit = fitted("data.limit=300", "data.batch_size=50", regularizers=[spy])
    assert spy.calls == ["batch", "penalty", "gradients", "step"] * fit.module.steps
    assert all(spy.training)


class _Zero(Regularizer):
    def on_gradients(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_changed_gradients_are_those_that_the_optimizer_sees(fitted: Train, precision: str) -> None:
    start = prepare(dlframe.compose())
    fit = fitted(f"trainer.precision={precision}", regularizers=[_Zero()])
    for key, value in start.network.state_dict().items():
        assert torch.equal(_weights(fit)[key], value)


def test_players_of_a_game_do_not_touch_each_other(fitted: Train) -> None:
    """With the discriminator's learning rate at zero, it stays as it was while the other moves."""
    start = prepare(dlframe.compose("architecture=gan", "data.limit=300"))

    overrides = ["architecture=gan", "data.limit=300", "trainer.checkpoint=false"]
    parts = prepare(dlframe.compose(*overrides, "trainer.max_epochs=1"))
    fit = Fit(parts, Path(), log=lambda values, step: None)
    make = fit.module._make_optimizer
    made: list[torch.optim.Optimizer] = []

    def first_without_rate(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make(parameters)
        if not made:
            for group in optimizer.param_groups:
                group["lr"] = 0.0
        made.append(optimizer)
        return optimizer

    fit.module._make_optimizer = first_without_rate
    fit.fit()
    after = _weights(fit)
    for key, value in start.network.state_dict().items():
        if key.startswith("discriminator.") and "running" not in key and "num_batches" not in key:
            assert torch.equal(after[key], value), key
    moved = [k for k, v in start.network.state_dict().items() if not torch.equal(after[k], v)]
    assert any(key.startswith("generator.") for key in moved)


def test_a_loss_that_is_no_number_stops_training_and_says_at_which_step(fitted: Train) -> None:
    class Broken(Regularizer):
        def __init__(self) -> None:
            self.steps = 0

        def penalty(self, model: nn.Module) -> Tensor | None:
            self.steps += 1
            return torch.tensor(float("nan")) if self.steps == 8 else None

    with pytest.raises(TrainingDivergedError, match="became nan at optimizer step 8 "):
        fitted("trainer.steps_per_call=16", regularizers=[Broken()])


def test_a_closure_and_accumulation_exclude_each_other(fitted: Train) -> None:
    with pytest.raises(ConfigError, match=r"accumulate must be 1"):
        fitted("optimizer=lbfgs", "trainer.accumulate=2")


def test_a_schedule_over_all_steps_needs_an_end(fitted: Train) -> None:
    with pytest.raises(ConfigError, match="where training ends"):
        fitted("scheduler=cosine", "trainer.max_epochs=-1", "trainer.max_time=00:01:00:00")


def test_training_needs_an_end(fitted: Train) -> None:
    with pytest.raises(ConfigError, match="training needs an end"):
        fitted("trainer.max_epochs=-1")


def test_plateau_lowers_the_rate_when_validation_stalls(fitted: Train) -> None:
    fit = fitted(
        "scheduler=plateau", "scheduler.patience=0", "scheduler.factor=0.5", "optimizer=sgd",
        "optimizer.lr=1e-12", "trainer.max_epochs=4",
    )  # fmt: skip
    rate = fit.module._players[0][1].optimizer.param_groups[0]["lr"]
    assert rate == pytest.approx(1e-12 / 8)


def test_per_step_and_per_epoch_schedules_end_where_they_should(fitted: Train) -> None:
    for scheduler, factor in (("cosine", 0.0), ("exponential", 0.95**2)):
        fit = fitted(f"scheduler={scheduler}", "optimizer.lr=0.01", "data.limit=300")
        rate = fit.module._players[0][1].optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(0.01 * factor, abs=1e-9)


def test_a_small_network_learns_ten_batches_by_heart(fitted: Train) -> None:
    fit = fitted("trainer.overfit=10", "trainer.max_epochs=60", "data.batch_size=20")
    assert fit.test()["test/accuracy"] == 1.0


def test_train_loss_weighs_rows_equally_and_not_batches(fitted: Train) -> None:
    still = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.max_epochs=1"]
    one = fitted(*still, "data.batch_size=all")
    uneven = fitted(*still, "data.batch_size=700")
    expected = float(one.trainer.callback_metrics["train/loss"])
    assert float(uneven.trainer.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-6)


def test_evaluation_draws_the_same_numbers_each_time_and_disturbs_no_others(
    fitted: Train,
) -> None:
    options = ["architecture=gan", "data.limit=300"]
    often, seldom = fitted(*options), fitted(*options, "trainer.eval_every=2")
    _assert_equal(often, seldom)
    assert often.test() == often.test()


@pytest.mark.parametrize("ending", ["trainer.eval_every=5", "trainer.max_time=00:00:00:00"])
def test_training_that_ends_before_a_validation_keeps_its_weights(
    fitted: Train, ending: str
) -> None:
    fit = fitted("trainer.checkpoint=true", ending)
    assert (fit.folder / "checkpoints" / "best.ckpt").is_file()
    assert "val/loss" in fit.trainer.callback_metrics
