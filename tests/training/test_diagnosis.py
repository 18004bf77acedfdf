"""Sick trainings get the right diagnosis, and healthy ones none; all of them are real."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dlframe
from dlframe.config.validate import validate
from dlframe.errors import TrainingDivergedError
from dlframe.training import diagnosis
from dlframe.training.case import Case, Finding, advice
from dlframe.training.fit import Fit
from dlframe.training.prepare import prepare

DEEP = f"architecture.hidden={[16] * 20}".replace(" ", "")
SMALL = "data.limit=400"


def _case(fit: Fit, error: str | None = None, *, watched: bool = True) -> Case:
    parts, layers = fit.parts, fit.module.layers
    return Case(
        config=parts.config,
        history=fit.module.history,
        rows=layers.rows() if layers is not None and watched else (),
        class_counts=parts.splits.spec.class_counts,
        scaled=bool(parts.splits.spec.target_scale),
        players=len(parts.task.players(parts.network)),
        error=error,
    )


def _train(
    folder: Path, overrides: Sequence[str], change: Callable[[nn.Module], object] | None = None
) -> tuple[Fit, str | None]:
    base = ["trainer.checkpoint=false", "trainer.watch=true"]
    parts = prepare(validate(dlframe.compose(*base, *overrides)))
    if change is not None:
        with torch.no_grad():
            change(parts.network)
    fit = Fit(parts, folder, log=lambda values, step: None)
    try:
        fit.fit()
    except TrainingDivergedError as error:
        return fit, str(error)
    return fit, None


def _names(findings: Sequence[Finding]) -> list[str]:
    return [finding["name"] for finding in findings]


def _checked(fit: Fit, error: str | None, overrides: Sequence[str]) -> list[Finding]:
    """Diagnose; every piece of advice must be one that the command line takes."""
    found = diagnosis.diagnose(_case(fit, error))
    for finding in found:
        assert diagnosis.told(finding).startswith(finding["name"].replace("_", " "))
        for override in finding["mend"]:
            replaced = (
                override.partition("=")[0] + "."
            )  # its options are those of another component
            kept = [each for each in overrides if not each.startswith(replaced)]
            dlframe.compose(*kept, *override.split())
    return found


def _unbias(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.out_features > 10:
            module.bias.fill_(-20.0)


SICK: dict[str, tuple[list[str], list[str], list[str]]] = {
    # overrides; what is found with the layers watched; and from the curves alone
    "a deep network of sigmoids": (
        [DEEP, "activation=sigmoid", SMALL, "trainer.max_epochs=8", "optimizer.lr=0.01"],
        ["vanishing_gradients", "nothing_learned"], ["nothing_learned"],
    ),
    "steps far too long": (
        ["optimizer.lr=100", SMALL, "trainer.max_epochs=6"],
        ["learning_rate_too_high"], ["learning_rate_too_high"],
    ),
    "descent far too fast": (
        ["optimizer=sgd", "optimizer.lr=100", SMALL], ["diverged"], ["diverged"],
    ),
    "a constant rate that diverges": (
        ["data=diabetes", "optimizer=sgd", "optimizer.lr=1"], ["diverged"], ["diverged"],
    ),
    "a rate that lets the loss leap": (
        ["data=diabetes", "optimizer=sgd", "optimizer.lr=0.5", "trainer.max_epochs=20"],
        ["learning_rate_too_high"], ["learning_rate_too_high"],
    ),
    "steps far too short": (
        ["optimizer.lr=1e-7", SMALL, "trainer.max_epochs=6"],
        ["learning_rate_too_low"], ["learning_rate_too_low"],
    ),
    "descent far too slow": (
        ["optimizer=sgd", "optimizer.lr=1e-7", SMALL, "trainer.max_epochs=6"],
        ["learning_rate_too_low"], ["learning_rate_too_low"],
    ),
    "few examples and a large network": (
        ["data.limit=120", "architecture.hidden=[512,512]", "trainer.max_epochs=60"],
        ["overfitting"], ["overfitting"],
    ),
    "one unit for ten classes": (
        ["architecture.hidden=[1]", SMALL, "optimizer.lr=0.03", "trainer.max_epochs=40"],
        ["underfitting"], ["underfitting"],
    ),
    "hyperbolic tangents that begin at their bounds": (
        ["activation=tanh", "initializer=normal", "initializer.std=3", SMALL, "trainer.max_epochs=5"],
        ["saturated_units", "weights_too_large"], ["weights_too_large"],
    ),
    "a deep network with large weights": (
        [DEEP, "initializer=normal", "initializer.std=2", SMALL, "trainer.max_epochs=5"],
        ["exploding_gradients"], [],
    ),
    "too few epochs": (["data=iris"], ["training_too_short"], ["training_too_short"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_a_sick_training_gets_its_diagnosis(name: str, tmp_path: Path) -> None:
    overrides, watched, alone = SICK[name]
    fit, error = _train(tmp_path, overrides)
    found = _names(_checked(fit, error, overrides))
    assert set(watched) <= set(found), fit.module.history
    assert found[0] in watched
    from_curves = _names(diagnosis.diagnose(_case(fit, error, watched=False)))
    assert set(alone) <= set(from_curves)


def test_units_that_begin_dead_are_found(tmp_path: Path) -> None:
    overrides = [SMALL, "trainer.max_epochs=5", "architecture.hidden=[64]"]
    fit, error = _train(tmp_path, overrides, _unbias)
    found = _checked(fit, error, overrides)
    assert found[0]["name"] == "dead_units"
    assert "100 % of the units of layers.2 (ReLU)" in found[0]["seen"]
    assert "activation=leaky_relu" in found[0]["mend"]


def test_a_rare_class_that_is_never_named_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with (tmp_path / "rare.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        for number in range(600):
            rare = number % 20 == 0
            writer.writerow([*rng.normal(0.7 * rare, 1.0, 2), "rare" if rare else "usual"])
    overrides = ["data=csv", f"data.path={tmp_path / 'rare.csv'}", "data.target=label"]
    fit, error = _train(tmp_path, overrides)
    found = _checked(fit, error, overrides)
    assert _names(found) == ["class_imbalance"]
    assert "0.949 of the training examples" in found[0]["seen"]
    assert found[0]["mend"] == [
        "loss=cross_entropy loss.class_weights=balanced", "loss=focal",
    ]  # fmt: skip
    balanced, _ = _train(tmp_path, [*overrides, *found[0]["mend"][0].split()])
    assert "class_imbalance" not in _names(diagnosis.diagnose(_case(balanced)))


HEALTHY = {
    "digits": [],
    "diabetes": ["data=diabetes"],
    "breast cancer": ["data=breast_cancer"],
    "a schedule and an augmented loss": [SMALL, "scheduler=cosine", "regularizer=[mixup,dropout]"],
    "a game of two": ["architecture=gan", "data.limit=200", "trainer.max_epochs=4"],
    "batches learned by heart": ["trainer.overfit=2", "trainer.max_epochs=20"],
}
LONGER = {
    "digits, long": ["trainer.max_epochs=40"],
    "tanh": ["activation=tanh", "trainer.max_epochs=30"],
    "sigmoid": ["activation=sigmoid", "trainer.max_epochs=30"],
    "descent": ["optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=30"],
    "cnn": ["architecture=cnn"],
    "rnn": ["architecture=rnn"],
    "transformer": ["architecture=transformer"],
    "resnet": ["architecture=resnet", "trainer.max_epochs=5"],
    "regularized": ["experiment=regularized_mlp"],
    "denoising": ["experiment=denoising_autoencoder"],
    "huber": ["data=diabetes", "loss=huber"],
    "focal": ["loss=focal"],
    "iris, long": ["data=iris", "trainer.max_epochs=60"],
    "breast cancer, long": ["data=breast_cancer", "trainer.max_epochs=50"],
}


@pytest.mark.parametrize("name", HEALTHY)
def test_of_a_healthy_training_nothing_is_said(name: str, tmp_path: Path) -> None:
    fit, error = _train(tmp_path, HEALTHY[name])
    assert diagnosis.diagnose(_case(fit, error)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_of_longer_and_other_healthy_trainings_nothing_is_said(name: str, tmp_path: Path) -> None:
    fit, error = _train(tmp_path, LONGER[name])
    assert diagnosis.diagnose(_case(fit, error)) == []


@pytest.mark.slow
def test_of_a_healthy_training_on_mnist_nothing_is_said(tmp_path: Path, shared_data: Path) -> None:
    data = ["data=mnist", f"data.root={shared_data / 'mnist'}", "data.limit=3000"]
    for more in (["architecture=cnn", "trainer.max_epochs=4"], []):
        fit, error = _train(tmp_path, [*data, *more])
        assert diagnosis.diagnose(_case(fit, error)) == []


def _made_up(config: dict[str, Any], losses: Sequence[float], **rows: float) -> Case:
    history = [
        {"epoch": n + 1, "step": n, "train/loss": loss, "val/loss": loss, "optim/lr": 1e-3}
        for n, loss in enumerate(losses)
    ]
    table = [
        {"epoch": 1, "step": 1, "layer": f"layers.{n}", "type": "Tanh" if active else "Linear",
         "weighted": not active, "active": active, "dead": 1.0, "saturated": 1.0,
         "grad_norm": (rows["first"] if n == 0 else 1.0)}
        for n, active in enumerate((False, True, False, False))
    ]  # fmt: skip
    return Case(config=config, history=history, rows=table, class_counts=(50, 50))


def test_every_piece_of_advice_is_a_valid_override() -> None:
    """Whatever architecture, optimizer and activation are chosen already."""
    choices = (
        ("mlp", "adam", "tanh", "[]"), ("cnn", "lbfgs", "relu", "[l2,dropout]"),
        ("rnn", "sgd", "sigmoid", "[early_stopping]"),
    )  # fmt: skip
    courses = (
        [2.3] * 8,
        [50.0, 2.0, 60.0, 2.0, 90.0],
        [2.0, 1.9, 1.8, 1.7, 1.6],
        [9e5, 1.0, 0.69, 0.68],
    )
    for architecture, optimizer, activation, regularizer in choices:
        base = [f"architecture={architecture}", f"optimizer={optimizer}"]
        base += [f"activation={activation}", f"regularizer={regularizer}", "loss=cross_entropy"]
        config = dlframe.compose(*base, "task=classification")
        advised = {
            override
            for losses, first in zip(courses, (1e-9, 1.0, 1e9, 1.0), strict=True)
            for rule in diagnosis.RULES
            if (found := rule(_made_up(config, losses, first=first))) is not None
            for override in found["mend"]
        }
        assert len(advised) > 3
        for override in advised:
            assert dlframe.compose(*base, *override.split()) != config, override


def test_advice_that_a_config_cannot_take_or_follows_already_is_left_out() -> None:
    case = _made_up(dlframe.compose("architecture=rnn", "activation=relu"), [1.0], first=1.0)
    wishes = ("activation=relu", "activation=elu", "architecture.hidden=[7]", "loss.no_such=1")
    assert advice(case, *wishes, "activation=no_such") == [
        "activation=elu",
        "architecture.hidden=[7]",
    ]


def test_a_diagnosis_is_recorded_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dlframe.cli import result, runs_show

    monkeypatch.chdir(tmp_path)
    run = dlframe.train("data=iris", "trainer.max_epochs=6", "tracking.offline=true")
    assert _names(run.findings) == ["training_too_short"]
    assert diagnosis.read(run.folder) == run.findings
    result.report(run, as_json=False)
    assert (
        "diagnosis   training too short: the validation loss still fell" in capsys.readouterr().out
    )
    runs_show.run([run.id])
    assert "\ndiagnosis\n  training too short: " in capsys.readouterr().out


def test_a_training_that_diverges_leaves_its_diagnosis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["data=diabetes", "optimizer=sgd", "optimizer.lr=1", "tracking.offline=true"]
    with pytest.raises(TrainingDivergedError):
        dlframe.train(*options)
    (folder,) = (path.parent for path in tmp_path.glob("runs/*/diagnosis.json"))
    assert _names(diagnosis.read(folder)) == ["diverged"]
