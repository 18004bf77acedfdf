"""The tasks with labels: steps, predictions, metrics against scikit-learn, columns and figures."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as reference
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.components.losses.binary_cross_entropy import BinaryCrossEntropy
from dlframe.components.losses.cross_entropy import CrossEntropy
from dlframe.components.losses.poisson import PoissonNLL
from dlframe.components.losses.regression import MeanSquaredError
from dlframe.components.tasks import COMPONENTS
from dlframe.components.tasks.classification import Classification
from dlframe.components.tasks.multilabel import Multilabel
from dlframe.components.tasks.regression import Regression
from dlframe.interfaces import Batch, Loss, Spec, Stage, Task

CLASSES = ("setosa", "versicolor", "virginica")
LABELS = ("even", "large", "prime")


def class_spec(task: str, names: tuple[str, ...]) -> Spec:
    return Spec(
        input="features", input_shape=(4,), output_size=len(names), task=task, class_names=names
    )


def classification(names: tuple[str, ...] = CLASSES) -> Classification:
    spec = class_spec("classification", names)
    return Classification(spec, CrossEntropy(spec))


def multilabel(**options: float) -> Multilabel:
    spec = class_spec("multilabel", LABELS)
    return Multilabel(spec, BinaryCrossEntropy(spec), **options)


def value_spec(
    mean: tuple[float, ...] = (), scale: tuple[float, ...] = (), targets: int = 1
) -> Spec:
    return Spec(
        input="features",
        input_shape=(10,),
        output_size=targets,
        task="regression",
        target_names=tuple(f"t{i}" for i in range(targets)),
        target_mean=mean,
        target_scale=scale,
    )


def measured(
    task: Task, stage: Stage, predictions: Tensor, targets: Tensor, size: int = 13
) -> dict[str, float]:
    """Update the task's metrics batch by batch, as the training does."""
    collection = task.metrics(stage)
    for p, t in zip(predictions.split(size), targets.split(size), strict=True):  # type: ignore[no-untyped-call]
        collection.update(p, t)
    return {name: float(value) for name, value in collection.compute().items()}


def class_probabilities(x: NDArray[Any], y: NDArray[Any]) -> Tensor:
    """Return the predictions of a classifier that is good and not perfect."""
    x = (x - x.mean(0)) / (x.std(0) + 0.1)
    model = LogisticRegression(C=0.1, max_iter=200).fit(x[::7], y[::7])
    return torch.tensor(model.predict_proba(x), dtype=torch.float32)


@pytest.mark.parametrize("load", [load_iris, load_digits, load_breast_cancer])
def test_classification_metrics_equal_scikit_learn(load: Any) -> None:
    x, y = load(return_X_y=True)
    p = class_probabilities(x, y)
    guess = p.argmax(1).numpy()
    task = classification(tuple(map(str, np.unique(y))))
    macro = {"average": "macro", "zero_division": 0.0}
    area = (
        reference.roc_auc_score(y, p[:, 1])
        if p.shape[1] == 2
        else reference.roc_auc_score(y, p, multi_class="ovr")
    )
    expected = {
        "accuracy": reference.accuracy_score(y, guess),
        "precision": reference.precision_score(y, guess, **macro),
        "recall": reference.recall_score(y, guess, **macro),
        "f1": reference.f1_score(y, guess, **macro),
        "roc_auc": area,
    }
    assert 0.7 < expected["accuracy"] < 1
    test, val = (measured(task, stage, p, torch.tensor(y)) for stage in ("test", "val"))
    assert test == pytest.approx(expected, abs=1e-5)
    assert val == pytest.approx({k: v for k, v in expected.items() if k != "roc_auc"}, abs=1e-5)
    assert list(measured(task, "train", p, torch.tensor(y))) == ["accuracy"]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_multilabel_metrics_equal_scikit_learn(threshold: float) -> None:
    x, digits = load_digits(return_X_y=True)
    y = np.stack([digits % 2 == 0, digits > 4, np.isin(digits, (2, 3, 5, 7))], 1).astype(np.float32)
    model = MultiOutputClassifier(LogisticRegression(C=1e-3)).fit(x[::9] / 16, y[::9])
    p = np.stack([column[:, 1] for column in model.predict_proba(x / 16)], 1).astype(np.float32)
    guess = (p > threshold).astype(np.float32)
    task = multilabel(threshold=threshold)
    macro = {"average": "macro", "zero_division": 0.0}
    expected = {
        "accuracy": (guess == y).mean(),
        "precision": reference.precision_score(y, guess, **macro),
        "recall": reference.recall_score(y, guess, **macro),
        "f1": reference.f1_score(y, guess, **macro),
        "roc_auc": reference.roc_auc_score(y, p),
    }
    actual = measured(task, "test", torch.tensor(p), torch.tensor(y))
    assert actual == pytest.approx(expected, abs=1e-5)
    assert list(measured(task, "train", torch.tensor(p), torch.tensor(y))) == ["accuracy"]


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("load", [load_diabetes, load_linnerud])
def test_regression_metrics_equal_scikit_learn(load: Any, shift: float) -> None:
    x, y = load(return_X_y=True)
    y = (y.reshape(len(x), -1) + shift).astype(np.float32)
    p = LinearRegression().fit(x[::2], y[::2]).predict(x).astype(np.float32)
    task = Regression(value_spec(targets=y.shape[1]), MeanSquaredError())
    mse = reference.mean_squared_error(y, p)
    expected = {
        "mae": reference.mean_absolute_error(y, p),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": reference.r2_score(y, p),
    }
    actual = measured(task, "val", torch.tensor(p), torch.tensor(y))
    assert actual == pytest.approx(expected, rel=1e-4)
    assert list(measured(task, "train", torch.tensor(p), torch.tensor(y))) == ["mae"]


def test_r2_of_tiny_and_of_constant_targets() -> None:
    task = Regression(value_spec(targets=1), MeanSquaredError())
    y = torch.tensor([[1e-4], [2e-4], [4e-4]])
    p = torch.tensor([[2e-4], [2e-4], [3e-4]])
    expected = reference.r2_score(y, p)
    assert measured(task, "val", p, y)["r2"] == pytest.approx(expected, abs=1e-5)
    constant = torch.full((3, 1), 0.1)
    assert measured(task, "val", constant, constant)["r2"] == 1.0
    assert measured(task, "val", p, constant)["r2"] == 0.0


def test_r2_of_one_example_is_nan() -> None:
    actual = measured(
        Regression(value_spec(), MeanSquaredError()), "val", torch.ones(1, 1), torch.zeros(1, 1)
    )
    assert math.isnan(actual["r2"])
    assert actual["mae"] == 1.0


def test_roc_auc_leaves_out_classes_that_the_data_lacks() -> None:
    x, y = load_iris(return_X_y=True)
    p, task = class_probabilities(x, y), classification()
    known = y < 2
    areas = [reference.roc_auc_score(y[known] == c, p[known, c]) for c in (0, 1)]
    actual = measured(task, "test", p[known], torch.tensor(y[known]))
    assert actual["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-6)
    lone = measured(task, "test", p[:5], torch.tensor(y[:5]))
    assert math.isnan(lone["roc_auc"])
    assert lone["accuracy"] == reference.accuracy_score(y[:5], p[:5].argmax(1))


def test_multilabel_roc_auc_leaves_out_labels_that_all_or_none_have() -> None:
    task = multilabel()
    y = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    p = torch.tensor([[0.9, 0.2, 0.3], [0.9, 0.2, 0.6]])
    assert measured(task, "test", p, y)["roc_auc"] == 0.0
    assert math.isnan(measured(task, "test", p[:, :3], torch.ones(2, 3))["roc_auc"])


def test_classification_step_takes_indices_and_probabilities() -> None:
    x, y = (torch.tensor(part) for part in load_iris(return_X_y=True))
    model, task = nn.Linear(4, 3), classification()
    hard = Batch(x.float(), y)
    soft = Batch(x.float(), F.one_hot(y, 3).float())
    step = task.step(model, hard, "model")
    torch.testing.assert_close(step.loss, task.step(model, soft, "model").loss)
    torch.testing.assert_close(step.loss, F.cross_entropy(model(hard.x), y))
    assert step.predictions is not None
    assert not step.predictions.requires_grad
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert model.weight.grad is not None
    assert model.weight.grad.abs().sum() > 0
    with torch.no_grad():
        loss, predictions = task.evaluate(model, hard)
        torch.testing.assert_close(loss, step.loss.detach())
        torch.testing.assert_close(predictions, model(hard.x).softmax(1))
        torch.testing.assert_close(task.predict(model, hard.x), predictions)
    torch.testing.assert_close(step.predictions, predictions)


def test_one_logit_predicts_two_classes() -> None:
    spec = class_spec("classification", ("no", "yes"))
    task = Classification(spec, BinaryCrossEntropy(spec))
    assert task.output_size() == 1
    model, x = nn.Linear(4, 1), torch.randn(9, 4)
    p = task.predict(model, x)
    assert p.shape == (9, 2)
    y = (model(x)[:, 0] > 0).long()
    assert measured(task, "test", p, y)["accuracy"] == 1.0
    assert task.step(model, Batch(x, y), "model").loss.item() > 0


@pytest.mark.parametrize("stage", ["train", "val", "test"])
@pytest.mark.parametrize("task", [
    classification(),
    multilabel(),
    Regression(value_spec(), MeanSquaredError()),
], ids=lambda task: type(task).__name__)  # fmt: skip
def test_monitored_values_exist(task: Task, stage: Stage) -> None:
    names = set(task.metrics(stage).keys())
    if stage == "val":
        assert {task.monitor.removeprefix("val/")} <= names | {"loss"}
    assert all("/" not in str(name) for name in names)


def test_half_precision_outputs_become_float32_predictions() -> None:
    task = Regression(value_spec((5.0,), (2.0,)), MeanSquaredError())
    model, x = nn.Linear(10, 1), torch.randn(4, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        assert task.predict(model, x).dtype == torch.float32
        predictions = task.step(model, Batch(x, torch.zeros(4, 1)), "model").predictions
    assert predictions is not None
    assert predictions.dtype == torch.float32
    assert task.predict(model.double(), x.double()).dtype == torch.float64


def test_regression_standardizes_and_predicts_in_units() -> None:
    task = Regression(value_spec((150.0, -3.0), (70.0, 0.5), targets=2), MeanSquaredError())
    model, x = nn.Linear(10, 2), torch.randn(6, 10)
    mean, scale = torch.tensor([150.0, -3.0]), torch.tensor([70.0, 0.5])
    y = mean + scale * torch.randn(6, 2)
    loss, predictions = task.evaluate(model, Batch(x, y))
    torch.testing.assert_close(loss, F.mse_loss(model(x), (y - mean) / scale))
    torch.testing.assert_close(task.targets(Batch(x, y)), (y - mean) / scale)
    torch.testing.assert_close(predictions, model(x) * scale + mean)
    torch.testing.assert_close(task.predict(model, x), predictions)
    torch.testing.assert_close(task.step(model, Batch(x, y), "model").loss, loss)


@pytest.mark.parametrize(
    ("loss", "mean", "scale"), [(PoissonNLL(), (150.0,), (70.0,)), (MeanSquaredError(), (), ())]
)
def test_regression_leaves_raw_targets_alone(
    loss: Loss, mean: tuple[float, ...], scale: tuple[float, ...]
) -> None:
    task = Regression(value_spec(mean, scale), loss)
    model, x, y = nn.Linear(10, 1), torch.randn(6, 10), torch.rand(6, 1).round()
    actual, predictions = task.evaluate(model, Batch(x, y))
    torch.testing.assert_close(actual, loss(model(x), y))
    torch.testing.assert_close(predictions, loss.link(model(x)))


def test_regression_learns_diabetes_in_its_units() -> None:
    x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
    x, y = x / x.std(0), y[:, None]
    task = Regression(value_spec((float(y.mean()),), (float(y.std()),)), MeanSquaredError())
    torch.manual_seed(0)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        task.step(model, Batch(x, y), "model").loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    expected = LinearRegression().fit(x, y).score(x, y)
    assert measured(task, "test", task.predict(model, x).detach(), y)["r2"] == pytest.approx(
        expected, abs=0.005
    )


def test_classification_columns() -> None:
    task = classification()
    columns = task.columns(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]))
    assert list(columns) == ["prediction", "probability", *(f"p_{name}" for name in CLASSES)]
    assert columns["prediction"].tolist() == ["versicolor", "setosa"]
    np.testing.assert_allclose(columns["probability"].astype(float), [0.7, 0.5])
    np.testing.assert_allclose(columns["p_virginica"].astype(float), [0.2, 0.3])


def test_classification_columns_stop_at_twenty_classes() -> None:
    task = classification(tuple(f"c{i}" for i in range(30)))
    columns = task.columns(torch.eye(30))
    assert len(columns) == 22
    assert columns["prediction"].tolist() == [f"c{i}" for i in range(30)]


def test_multilabel_columns() -> None:
    task = multilabel(threshold=0.4)
    columns = task.columns(torch.tensor([[0.1, 0.7, 0.45]], dtype=torch.bfloat16))
    assert list(columns) == ["p_even", "even", "p_large", "large", "p_prime", "prime"]
    assert [int(columns[name][0]) for name in LABELS] == [0, 1, 1]


def test_regression_columns() -> None:
    task = Regression(value_spec(targets=2), MeanSquaredError())
    columns = task.columns(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert {name: values.tolist() for name, values in columns.items()} == {
        "t0": [1.0, 3.0],
        "t1": [2.0, 4.0],
    }


def test_confusion_matrix_shows_the_counts() -> None:
    x, y = load_iris(return_X_y=True)
    p, task = class_probabilities(x, y), classification()
    figure = task.figures(p, torch.tensor(y))["confusion_matrix"]
    counts = reference.confusion_matrix(y, p.argmax(1))
    axes = figure.axes[0]
    shown = {(int(t.get_position()[1]), int(t.get_position()[0])): int(t.get_text())
             for t in axes.texts}  # fmt: skip
    assert shown == {(int(i), int(j)): int(counts[i, j]) for i, j in np.argwhere(counts)}
    shares = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shares, counts / counts.sum(1, keepdims=True))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)


def test_multilabel_figure_shows_the_outcomes() -> None:
    task = multilabel()
    y = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    p = torch.tensor([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]])
    axes = task.figures(p, y)["confusion_matrix"].axes[0]
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array()),
        [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.5, 0, 0, 0.5]],
    )


def test_residual_plot_shows_every_example() -> None:
    task = Regression(value_spec(targets=2), MeanSquaredError())
    y = torch.randn(50, 2)
    p = y + 0.1 * torch.randn(50, 2)
    axes = task.figures(p, y)["residuals"].axes
    assert len(axes) == 4
    points = np.asarray(axes[2].collections[0].get_offsets())
    np.testing.assert_allclose(points, torch.stack([y[:, 1], p[:, 1]], 1), rtol=1e-6)
    assert sum(patch.get_height() for patch in axes[1].patches) == 50  # type: ignore[attr-defined]


def test_figures_of_extreme_data_can_be_drawn(tmp_path: Any) -> None:
    many = classification(tuple(f"class {i}" for i in range(100)))
    figure = many.figures(torch.rand(500, 100), torch.randint(0, 100, (500,)))["confusion_matrix"]
    assert not figure.axes[0].texts
    figure.savefig(tmp_path / "many.png")
    wide = Regression(value_spec(targets=9), MeanSquaredError())
    values = torch.ones(20_000, 9)
    figure = wide.figures(values, values)["residuals"]
    assert len(figure.axes) == 12
    assert len(np.asarray(figure.axes[0].collections[0].get_offsets())) <= 5000
    figure.savefig(tmp_path / "wide.png")


def test_figures_leave_pyplot_alone() -> None:
    code = (
        "import sys, torch; from dlframe.components.tasks import figures; import numpy as np;"
        "figures.confusion_matrix(np.eye(3, dtype=np.int64), 'abc').canvas.draw();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_descriptors_name_tasks_with_their_defaults(component: Any) -> None:
    target = component.load()
    assert issubclass(target, Task)
    assert "__init__" in vars(target)
    expected = {
        "classification": "cross_entropy",
        "multilabel": "binary_cross_entropy",
        "regression": "mse",
        "forecasting": "mse",
        "language_modelling": "cross_entropy",
        "reconstruction": "mse",
        "generation": "binary_cross_entropy",
    }
    assert component.defaults["loss"] == expected[component.name]
    unsupervised = component.name in ("reconstruction", "generation", "language_modelling")
    assert ("unsupervised" in component.tags) is unsupervised
