"""Regularizers that act through Lightning callbacks, in short trainings."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.regularizers.early_stopping import EarlyStopping
from dlframe.components.regularizers.weight_averaging import WeightAveraging
from dlframe.errors import ConfigError
from dlframe.interfaces import Regularizer

# Lightning 2.6 asks torch's tree utilities in a way that torch 2.13 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


class Batches:
    """The same few batches in every epoch, for Lightning any iterable will do."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            (torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator))
            for _ in range(count)
        ]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


TRAIN, VALIDATE = Batches(4), Batches(1)
BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end", "on_before_backward")


class Module(lightning.LightningModule):
    """Calls a regularizer where dlframe calls it, and notes the weights of each validation."""

    def __init__(self, regularizer: Regularizer, validation_losses: Sequence[float] = ()) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
        self.regularizer = regularizer
        self.validation_losses = validation_losses
        self.validated: list[Tensor] = []
        self.trained: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(self.network(batch[0]), batch[1])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.regularizer.after_step(self.network)
        self.trained.append(flat(self))

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.validated.append(flat(self))
        losses = self.validation_losses
        loss = torch.tensor(losses[self.current_epoch]) if losses else self.training_step(batch)
        self.log("val/loss", loss)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.validated.append(flat(self))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=0.05)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["regularizer"] = self.regularizer.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.regularizer.load_state_dict(checkpoint["regularizer"])


def flat(module: Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.network.parameters()).detach().clone()


def trainer_for(
    regularizer: Regularizer, epochs: int, *more: lightning.Callback, **options: Any
) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[*regularizer.callbacks(), *more],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in more),
        num_sanity_val_steps=0,
        **options,
    )


def fit(regularizer: Regularizer, epochs: int, **options: Any) -> Module:
    module = Module(regularizer)
    trainer_for(regularizer, epochs, **options).fit(module, TRAIN, VALIDATE)
    return module


# Early stopping.


@pytest.mark.parametrize(
    ("options", "losses", "epochs"),
    [
        ({"patience": 2}, [3.0, 2.0, 2.5, 2.1, 0.0, 0.0], 4),
        ({"patience": 2, "mode": "max"}, [3.0, 2.0, 2.5, 4.0, 0.0, 0.0], 3),
        ({"patience": 1, "min_delta": 0.5}, [3.0, 2.6, 1.0, 0.0, 0.0, 0.0], 2),
        ({"patience": 2}, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 6),
        ({"patience": 2}, [1.0, float("nan"), 0.5, 0.4, 0.3, 0.2], 6),
    ],
)
def test_early_stopping_waits_out_its_patience(
    options: dict[str, Any], losses: list[float], epochs: int
) -> None:
    regularizer = EarlyStopping(**options)
    trainer = trainer_for(regularizer, 6)
    trainer.fit(Module(regularizer, losses), TRAIN, VALIDATE)
    assert trainer.current_epoch == epochs


def test_early_stopping_on_an_unknown_value_names_the_known_ones() -> None:
    regularizer = EarlyStopping(monitor="val/los")
    with pytest.raises(ConfigError, match="did you mean 'val/loss'"):
        trainer_for(regularizer, 2).fit(Module(regularizer), TRAIN, VALIDATE)


def test_early_stopping_counts_on_when_resumed(tmp_path: Path) -> None:
    losses = [3.0, 2.0, 2.5, 2.1, 0.0, 0.0]
    regularizer = EarlyStopping(patience=2)
    first = trainer_for(regularizer, 3)
    first.fit(Module(regularizer, losses), TRAIN, VALIDATE)
    first.save_checkpoint(tmp_path / "last.ckpt")
    second = trainer_for(regularizer, 6)
    second.fit(
        Module(regularizer, losses),
        TRAIN,
        VALIDATE,
        ckpt_path=tmp_path / "last.ckpt",
        weights_only=True,
    )
    assert second.current_epoch == 4


# Weight averaging.


def walk(regularizer: Regularizer, steps: int) -> list[Tensor]:
    """Move a weight, tell the regularizer, and return where the weight was."""
    model, seen = nn.Linear(3, 2, bias=False), []
    for _ in range(steps):
        nn.init.normal_(model.weight)
        seen.append(model.weight.detach().clone())
        regularizer.after_step(model)
    return seen


def test_ema_follows_its_formula() -> None:
    regularizer = WeightAveraging(decay=0.5)
    seen = walk(regularizer, 20)
    average = seen[0]
    for n, weight in enumerate(seen[1:], start=1):
        share = min(0.5, (1 + n) / (10 + n))
        average = share * average + (1 - share) * weight
    torch.testing.assert_close(regularizer.average, [average])


def test_swa_is_the_mean() -> None:
    regularizer = WeightAveraging(method="swa")
    seen = walk(regularizer, 20)
    torch.testing.assert_close(regularizer.average, [torch.stack(seen).mean(0)])


def test_averaging_every_few_steps() -> None:
    regularizer = WeightAveraging(method="swa", every=3)
    seen = walk(regularizer, 10)
    torch.testing.assert_close(regularizer.average, [torch.stack(seen[2::3]).mean(0)])


def test_a_decay_of_zero_follows_the_weights_exactly() -> None:
    regularizer = WeightAveraging(decay=0)
    assert torch.equal(walk(regularizer, 5)[-1], regularizer.average[0])


@pytest.mark.parametrize("method", ["ema", "swa"])
def test_the_average_survives_a_round_trip_to_the_bit(method: Any) -> None:
    regularizer = WeightAveraging(method=method, every=2)
    walk(regularizer, 7)
    again = WeightAveraging(method=method, every=2)
    again.load_state_dict(regularizer.state_dict())
    for each in (regularizer, again):
        torch.manual_seed(0)
        walk(each, 6)
    assert torch.equal(again.average[0], regularizer.average[0])


@pytest.mark.parametrize("method", ["ema", "swa"])
def test_validation_sees_the_average_and_training_does_not(method: Any) -> None:
    averaged = fit(WeightAveraging(method=method, decay=0.9), 3)
    plain = fit(Regularizer(), 3)
    for a, b in zip(averaged.trained, plain.trained, strict=True):
        assert torch.equal(a, b)
    expected = WeightAveraging(method=method, decay=0.9)
    model = Module(expected)
    for step, weights in enumerate(plain.trained, start=1):
        nn.utils.vector_to_parameters(weights, model.network.parameters())
        expected.after_step(model.network)
        if step % len(TRAIN) == 0:
            average = nn.utils.parameters_to_vector(expected.average)
            assert torch.equal(averaged.validated[step // len(TRAIN) - 1], average)
            assert not torch.equal(average, weights)
    assert torch.equal(flat(averaged), average)  # and it stays when the training has ended


def test_averaging_starts_after_its_share_of_the_epochs() -> None:
    module = fit(WeightAveraging(method="swa", start=0.5), 4)
    torch.testing.assert_close(flat(module), torch.stack(module.trained[8:]).mean(0))
    assert torch.equal(module.validated[1], module.trained[7])
    assert not torch.equal(module.validated[2], module.trained[11])


def test_a_share_of_endless_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"share of trainer\.max_epochs"):
        fit(WeightAveraging(start=0.5), -1, max_steps=3)


def test_averaging_works_in_endless_training() -> None:
    module = fit(WeightAveraging(method="swa"), -1, max_steps=6)
    torch.testing.assert_close(flat(module), torch.stack(module.trained).mean(0))


def test_batch_statistics_stay_those_of_the_moving_weights() -> None:
    averaged, plain = fit(WeightAveraging(), 2), fit(Regularizer(), 2)
    for a, b in zip(averaged.network.buffers(), plain.network.buffers(), strict=True):
        assert torch.equal(a, b)


def checkpointed(
    regularizer: WeightAveraging, epochs: int, folder: Path, **options: Any
) -> tuple[Module, lightning.Trainer]:
    module = Module(regularizer)
    every_epoch = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = trainer_for(regularizer, epochs, every_epoch)
    trainer.fit(module, TRAIN, VALIDATE, **options)
    return module, trainer


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # so that both runs' files differ
@pytest.mark.parametrize("method", ["ema", "swa"])
def test_checkpoints_hold_the_average_and_resuming_changes_nothing(
    method: Any, tmp_path: Path
) -> None:
    undisturbed, _ = checkpointed(WeightAveraging(method=method), 5, tmp_path / "a")
    checkpoint = torch.load(tmp_path / "a" / "epoch=1.ckpt", weights_only=True)
    model = Module(Regularizer())
    model.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(flat(model), undisturbed.validated[1])

    resumed, trainer = checkpointed(
        WeightAveraging(method=method),
        5,
        tmp_path / "b",
        ckpt_path=tmp_path / "a" / "epoch=1.ckpt",
        weights_only=True,
    )
    for a, b in zip(resumed.trained, undisturbed.trained[8:], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(resumed.validated, undisturbed.validated[2:], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(flat(resumed), flat(undisturbed))

    # A test of an earlier checkpoint uses that checkpoint's average, not the last one.
    resumed.validated.clear()
    trainer.test(
        resumed,
        VALIDATE,
        ckpt_path=tmp_path / "a" / "epoch=1.ckpt",
        weights_only=True,
        verbose=False,
    )
    assert torch.equal(resumed.validated[0], undisturbed.validated[1])


def test_a_checkpoint_of_the_finished_training_can_be_continued(tmp_path: Path) -> None:
    undisturbed = fit(WeightAveraging(), 4)
    half = WeightAveraging()
    module, trainer = Module(half), trainer_for(half, 2)
    trainer.fit(module, TRAIN, VALIDATE)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    rest = WeightAveraging()
    continued = Module(rest)
    trainer_for(rest, 4).fit(
        continued, TRAIN, VALIDATE, ckpt_path=tmp_path / "end.ckpt", weights_only=True
    )
    assert torch.equal(flat(continued), flat(undisturbed))


def test_a_second_fit_goes_on_from_the_trained_weights() -> None:
    regularizer = WeightAveraging()
    module, trainer = Module(regularizer), trainer_for(regularizer, 2)
    trainer.fit(module, TRAIN, VALIDATE)
    average, trained = flat(module), module.trained[-1]
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, TRAIN, VALIDATE)
    first = module.trained[2 * len(TRAIN)]
    # A new Adam's first step moves no weight by more than its learning rate.
    assert (first - trained).abs().max() <= 0.05 + 1e-6
    assert (first - average).abs().max() > 0.06


def test_tied_weights_are_averaged_under_each_of_their_names(tmp_path: Path) -> None:
    regularizer = WeightAveraging(method="swa")
    module = Module(regularizer)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    module.network = nn.Sequential(first, second, nn.Linear(4, 2))
    every_epoch = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer_for(regularizer, 2, every_epoch).fit(module, TRAIN, VALIDATE)
    state = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["state_dict"]
    average = module.validated[0][: first.weight.numel()].view_as(first.weight)
    assert torch.equal(state["network.0.weight"], average)
    assert torch.equal(state["network.1.weight"], average)


@pytest.mark.parametrize("regularizer", [EarlyStopping(), WeightAveraging()])
def test_no_callback_acts_on_single_training_batches(regularizer: Regularizer) -> None:
    for callback in regularizer.callbacks():
        for hook in BATCH_HOOKS:
            assert getattr(type(callback), hook) is getattr(lightning.Callback, hook)


def test_both_compose() -> None:
    stopping, averaging = EarlyStopping(patience=1), WeightAveraging(decay=0.5)
    module = Module(averaging, [2.0, 3.0, 1.0, 0.0])
    trainer = trainer_for(averaging, 4, *stopping.callbacks())
    trainer.fit(module, TRAIN, VALIDATE)
    assert trainer.current_epoch == 2
    average = copy.deepcopy(averaging.average)
    assert torch.equal(flat(module), nn.utils.parameters_to_vector(average))
