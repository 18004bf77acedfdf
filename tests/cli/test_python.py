"""The same from Python, as in a notebook."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_support import QUICK, environment
from sklearn.datasets import load_diabetes, load_iris

import dlframe
from dlframe.cli.main import main
from dlframe.errors import (
    ComponentNotFoundError,
    ConfigError,
    DataError,
    RunNotFoundError,
    StorageError,
    TrainingDivergedError,
)
from dlframe.tracking.recorder import Recorder

OFF = ("tracking.enabled=false", "trainer.max_epochs=2")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "statement",
    [
        "import dlframe",
        "import dlframe; dlframe.compose; dlframe.train; dlframe.load; dlframe.compare",
        "import dlframe; dlframe.compose('architecture=cnn', 'optimizer.lr=1')",
        "import dlframe\ntry:\n    dlframe.train('optimizer=adm')\nexcept dlframe.DlframeError: pass",
    ],
)
def test_torch_is_imported_when_training_starts(statement: str) -> None:
    probe = "\nimport sys\nprint({'torch', 'lightning', 'mlflow', 'pandas'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", statement + probe], env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_the_package_lists_what_it_offers() -> None:
    assert set(dlframe.__all__) <= set(dir(dlframe))
    for name in dlframe.__all__:
        assert getattr(dlframe, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        dlframe.fit  # noqa: B018


def test_two_trainings_in_a_row(place: Path) -> None:
    first = dlframe.train("data=iris", "data.batch_size=16", *OFF)
    second = dlframe.train("data=iris", "data.batch_size=16", *OFF)
    other = dlframe.train("data=iris", "data.batch_size=16", "seed=1", *OFF)
    assert len({first.id, second.id, other.id}) == 3
    assert first.metrics["test/loss"] == second.metrics["test/loss"]
    assert first.metrics["test/loss"] != other.metrics["test/loss"]
    assert (first.status, first.folder) == ("FINISHED", place / "runs" / first.id)
    assert first.seconds > 0
    assert first.note is None


def test_history_is_a_table_by_epoch() -> None:
    history = dlframe.train("data=iris", "data.batch_size=16", *OFF).history
    assert isinstance(history, pd.DataFrame)
    assert history.index.tolist() == [1, 2]
    assert history.index.name == "epoch"
    assert {"train/loss", "val/loss", "val/accuracy", "optim/lr", "step"} <= set(history.columns)
    assert history["step"].tolist() == [7, 14]
    assert history.notna().all(axis=None)


def test_a_run_that_logged_nothing_has_an_empty_history() -> None:
    assert dlframe.Run("20260101-000000-abcd", Path()).history.empty


def test_loading_predicts_labels_as_the_test_did() -> None:
    run = dlframe.train("data=iris", "data.batch_size=16", *OFF, "optimizer.lr=0.01")
    data = load_iris()
    for name in (run.id, run.id[-4:]):
        model = dlframe.load(name)
        labels = model.predict(data.data)
        assert set(labels) <= {"setosa", "versicolor", "virginica"}
        assert (labels == data.target_names[data.target]).mean() > 0.5
    outputs = model.outputs(data.data)
    assert outputs.shape == (150, 3)
    np.testing.assert_allclose(outputs.sum(1), 1, rtol=1e-5)


def test_regression_predicts_in_the_datas_units() -> None:
    run = dlframe.train("data=diabetes", *OFF, "trainer.max_epochs=20")
    data = load_diabetes(scaled=False)
    values = dlframe.load(run.id).predict(data.data)
    assert values.shape == (442,)
    assert np.abs(values - data.target).mean() == pytest.approx(run.metrics["test/mae"], rel=0.25)
    assert values.std() > 20


def test_what_a_model_makes_is_in_the_datas_units(place: Path) -> None:
    values = np.random.default_rng(0).normal(1000, 50, size=200)
    table = pd.DataFrame({"a": values, "b": values * 2, "kind": np.where(values > 1000, "x", "y")})
    table.to_csv("table.csv", index=False)
    run = dlframe.train(
        "data=csv", "data.path=table.csv", "task=reconstruction", "architecture=autoencoder",
        "data.batch_size=8", "optimizer.lr=0.01", *OFF, "trainer.max_epochs=20",
    )  # fmt: skip
    model = dlframe.load(run.id)
    made = model.predict_frame(table)
    assert list(made) == ["a", "b", "kind"]
    assert np.abs(made["a"] - table["a"]).mean() < 25
    assert (made["kind"] == table["kind"]).mean() > 0.9
    assert model.predict(table).shape == (200, 3)


def test_config_dir_is_searched(place: Path) -> None:
    (place / "mine" / "experiment").mkdir(parents=True)
    (place / "mine" / "experiment" / "tiny.yaml").write_text(
        "# @package _global_\narchitecture:\n  hidden: [4]\n"
    )
    config = dlframe.compose("experiment=tiny", config_dir="mine")
    assert config["architecture"]["hidden"] == (4,)
    run = dlframe.train("experiment=tiny", *QUICK, *OFF, config_dir=place / "mine")
    recorded = json.loads((run.folder / "overrides.json").read_text())
    assert recorded == ["experiment=tiny", *QUICK, *OFF]
    assert dlframe.load(run.id).config["architecture"]["hidden"] == (4,)


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        (["optimizer=adm"], ComponentNotFoundError, "did you mean 'adam'"),
        (["optimizer.lrr=1"], ConfigError, "did you mean 'lr'"),
        (["optimizer=[adam,sgd]"], ConfigError, "sweep over several"),
        (["optimizer.lr=1,2"], ConfigError, "has several values"),
        (["data=csv", "data.path=nowhere.csv"], DataError, "no file is at"),
        (["data.batch_size=9999"], DataError, "data.batch_size must not exceed"),
        (["optimizer.betas=[1.5,0]"], ConfigError, "both optimizer.betas must be"),
        (["trainer.max_time=soon"], ConfigError, "the trainer cannot be set up"),
        (["tracking.root=/proc/runs"], StorageError, "with tracking.root"),
        (["data=diabetes", "optimizer=sgd", "optimizer.lr=1e9"], TrainingDivergedError,
         "at optimizer step "),
    ],
)  # fmt: skip
def test_errors_are_raised_as_what_they_are(
    overrides: list[str], kind: type[dlframe.DlframeError], words: str
) -> None:
    with pytest.raises(dlframe.DlframeError) as caught:
        dlframe.train(*OFF, *overrides)
    assert type(caught.value) is kind
    assert isinstance(caught.value, ValueError)
    assert words in str(caught.value)
    again = dlframe.train("data=iris", "data.batch_size=16", *QUICK, *OFF)
    assert again.status == "FINISHED"


@pytest.mark.parametrize("name", ["nowhere", "20260101-000000-abcd"])
def test_loading_what_is_not_there(name: str) -> None:
    with pytest.raises(RunNotFoundError, match=f"no run answers to '{name}'"):
        dlframe.load(name)


def test_runs_are_compared_as_on_the_command_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {"relu": [0.5, 0.4, 0.45], "tanh": [0.6, 0.55, 0.7], "gelu": [0.3, 0.2, 0.4]}
    for activation, values in losses.items():
        for seed, loss in enumerate(values):
            recorder = Recorder(
                Path("runs"), uri=None, experiment="e", run_name=None, deliver=False
            )
            recorder.params({"activation": activation, "seed": seed, "data": "d"})
            recorder.metrics({"test/loss": loss}, 1)
            recorder.finish("FINISHED")
    words = ("activation=relu,tanh", "seed<3")
    found = dlframe.compare(*words, by=["activation"], metrics=["test/loss"], baseline="relu")
    assert isinstance(found, dlframe.Comparison)
    assert [group.label for group in found.grouping.groups] == [
        "activation=relu",
        "activation=tanh",
    ]
    options = ("--by", "activation", "--metric", "test/loss", "--baseline", "relu", "--json")
    assert main(["compare", *words, *options]) == 0
    [metric] = json.loads(capsys.readouterr().out)["metrics"]
    [test] = found.metrics[0].pairs
    assert metric["tests"][0]["p"] == test.contrast.p
    assert found.metrics[0].summaries["activation=tanh"].mean == pytest.approx(
        np.mean([0.6, 0.55, 0.7])
    )
    with pytest.raises(RunNotFoundError, match="the values of activation are gelu, relu, tanh"):
        dlframe.compare("activation=elu")
    with pytest.raises(StorageError, match="there is no store"):
        dlframe.compare(uri="sqlite:///nope.db")
