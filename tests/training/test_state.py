"""A training that goes on from a checkpoint gives what the undisturbed one gives, to the last bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

import dlframe
from dlframe.config.validate import validate
from dlframe.training.checkpoint import LAST, read
from dlframe.training.fit import Fit
from dlframe.training.prepare import prepare

Start = Callable[..., Fit]


class _Copies(L.Callback):
    """Keeps a copy of every last checkpoint, as one that a killed training would leave."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def _copy(self, trainer: L.Trainer) -> None:
        trainer.strategy.checkpoint_io.teardown()  # the file is put in its place by a thread
        source = self.folder / "checkpoints" / LAST
        if source.is_file():
            shutil.copy(source, self.folder / f"{self.number:04}.ckpt")
            self.number += 1

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._copy(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._copy(trainer)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._copy(trainer)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Set a training up that writes a checkpoint after every call."""

    def build(name: str, *overrides: str) -> Fit:
        base = ["trainer.max_epochs=3", "trainer.checkpoint_every=0", "tracking.enabled=false"]
        parts = prepare(validate(dlframe.compose(*base, *overrides)))
        return Fit(parts, tmp_path / name, log=lambda values, step: None)

    return build


def _history(fit: Fit) -> list[dict[str, float]]:
    return [
        {key: value for key, value in values.items() if not key.startswith("perf/")}
        for values in fit.module.history
    ]


def _assert_same_end(one: Fit, other: Fit) -> None:
    assert _history(one) == _history(other)
    assert one.module.steps == other.module.steps
    if (
        other.trainer.fit_loop.epoch_loop.batch_progress.total.ready
    ):  # else all had been done before
        for key, value in one.module.network.state_dict().items():
            assert torch.equal(value, other.module.network.state_dict()[key]), key
    first, second = (read(fit.folder / "checkpoints" / "best.ckpt") for fit in (one, other))
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key


CONFIGS = [
    ["architecture.hidden=[8]", "data.limit=300"],
    ["data=diabetes", "architecture.hidden=[8]", "trainer.accumulate=3", "scheduler=cosine"],
    ["data=iris", "data.batch_size=8", "regularizer=[early_stopping,dropout]",
     "regularizer.early_stopping.patience=1", "regularizer.early_stopping.min_delta=1"],
    ["data.limit=300", "architecture=cnn", "regularizer=[mixup,augment,dropout,max_norm,input_noise]",
     "trainer.steps_per_call=1"],
    ["data.limit=200", "regularizer=[weight_averaging,adversarial_training]", "scheduler=plateau",
     "regularizer.weight_averaging.start=0.4"],
    ["data.limit=200", "architecture=gan", "architecture.normalization=layer", "loss=wasserstein",
     "task.gradient_penalty=10", "task.critic_steps=3"],
    ["data.limit=200", "architecture=autoencoder", "architecture.variational=true"],
    ["data=iris", "optimizer=lbfgs", "data.batch_size=20"],
    ["data=iris", "optimizer=muon", "trainer.max_epochs=-1", "trainer.max_steps=20",
     "data.batch_size=12", "scheduler=one_cycle"],
    ["data=iris", "architecture=transformer", "optimizer=nadam", "trainer.eval_every=2"],
    ["data=iris", "architecture.hidden=[8]", "data.batch_size=8", "trainer.watch=true",
     "trainer.watch_every=5"],
    ["data.limit=200", "architecture=cnn", "trainer.freeze=['features.*']",
     "trainer.unfreeze_every=1", "architecture.normalization=batch", "regularizer=[l2,max_norm]"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", CONFIGS, ids=lambda words: " ".join(words[:2]))
def test_going_on_from_any_checkpoint_gives_the_same_end(
    start: Start, tmp_path: Path, overrides: list[str]
) -> None:
    whole = start("whole", *overrides)
    copies = _Copies(whole.folder)
    whole.trainer.callbacks.append(copies)  # type: ignore[attr-defined]
    whole.fit()
    kept = sorted(whole.folder.glob("*.ckpt"))
    assert len(kept) >= 4
    middle = [path for path in kept if read(path)["dlframe"]["position"][1] > 0]
    assert middle, "no checkpoint lies within an epoch"
    for number, path in enumerate({kept[0], middle[len(middle) // 2], kept[-2], kept[-1]}):
        resumed = start(f"resumed{number}", *overrides)
        shutil.copytree(whole.folder / "checkpoints", resumed.folder / "checkpoints")
        torch.rand(number + 1)  # another process would have drawn other numbers
        resumed.fit(resume=path)
        _assert_same_end(whole, resumed)
