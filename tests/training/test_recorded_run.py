"""What MLflow holds of a run: everything that decides or describes its result."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.entities import LoggedModel
from mlflow.tracking import MlflowClient
from recorded_support import OVERRIDES, Recorded
from sklearn.datasets import load_digits

import dlframe

# MLflow's own store uses what SQLAlchemy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

pytest_plugins = ["recorded_fixtures"]


def test_parameters_are_the_effective_config(recorded: Recorded) -> None:
    found = recorded.found
    params = found.data.params
    expected = {
        "architecture": "mlp",
        "architecture.hidden": "[128, 128]",
        "activation": "gelu",
        "loss": "cross_entropy",
        "task": "classification",
        "optimizer": "adam",
        "optimizer.lr": "0.002",
        "optimizer.betas": "[0.9, 0.999]",
        "regularizer.l2.weight": "0.0001",
        "regularizer.dropout.p": "0.1",
        "data": "digits",
        "data.batch_size": "64",
        "trainer.max_epochs": "4",
        "seed": "3",
    }
    assert {key: params.get(key) for key in expected} == expected
    assert "trainer.progress" not in params


def test_curves_have_a_point_per_epoch_and_summaries_one(recorded: Recorded) -> None:
    run, found, client = recorded
    for key in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "optim/lr"):
        history = client.get_metric_history(found.info.run_id, key)
        assert len(history) == 4, key
        assert [point.step for point in history] == [21, 42, 63, 84], key
        assert [point.value for point in history] == [
            values[key] for values in run.epochs if key in values
        ]
    for key in ("best/val_accuracy", "final/test_roc_auc", "final/val_loss", "cost/seconds"):
        assert [point.step for point in client.get_metric_history(found.info.run_id, key)] == [0]
    (tested,) = client.get_metric_history(found.info.run_id, "test/accuracy")
    assert tested.step == found.data.metrics["best/step"]
    assert found.data.metrics["final/test_accuracy"] == tested.value
    stages = ("train", "val", "test", "optim", "perf", "best", "final", "cost")
    named = {key.partition("/")[0] for key in found.data.metrics}
    assert named - {"system"} == {*stages, "epoch"}, "system/ comes about a second after the start"
    assert found.data.metrics["test/accuracy"] == run.metrics["test/accuracy"]
    accuracies = [values["val/accuracy"] for values in run.epochs if "val/accuracy" in values]
    assert found.data.metrics["best/val_accuracy"] == max(accuracies)


def test_tags_say_where_it_comes_from(recorded: Recorded) -> None:
    run, found, _ = recorded
    tags = found.data.tags
    assert found.info.status == "FINISHED"
    assert tags["dlframe.run_uid"] == run.id
    assert tags["mlflow.runName"] == "mlp-digits-gelu-adam-s3"
    assert tags["purpose"] == "test"
    assert tags["dlframe.version.dlframe"] == dlframe.__version__
    assert tags["dlframe.version.torch"]
    assert "seed=3" in tags["dlframe.command"]


def test_artifacts_hold_config_overrides_figure_and_weights(
    recorded: Recorded, tmp_path: Path
) -> None:
    run, found, client = recorded
    folder = Path(client.download_artifacts(found.info.run_id, "config", str(tmp_path)))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["optimizer"]["lr"] == 0.002
    assert config["data"]["component"] == "dlframe/digits"
    overrides = json.loads((folder / "overrides.json").read_text())
    assert overrides[: len(OVERRIDES) - 1] == OVERRIDES[:-1]
    summary = json.loads((folder / "splits.json").read_text())
    assert sum(summary["sizes"].values()) == 1797
    assert "torch==" in (folder / "packages.txt").read_text()
    names = {a.path for a in client.list_artifacts(found.info.run_id, "checkpoints")}
    assert names == {"checkpoints/last.ckpt"}  # the best weights are in the logged model
    figure = client.download_artifacts(
        found.info.run_id, "figures/confusion_matrix.png", str(tmp_path)
    )
    assert Path(figure).read_bytes().startswith(b"\x89PNG")
    assert run.folder.is_dir()


def test_the_dataset_is_an_input_of_the_run(recorded: Recorded) -> None:
    _, found, _ = recorded
    assert found.inputs is not None
    contexts = {
        tag.value
        for each in found.inputs.dataset_inputs
        for tag in each.tags
        if tag.key == "mlflow.data.context"
    }
    assert contexts == {"train", "val", "test"}
    assert {each.dataset.name for each in found.inputs.dataset_inputs} == {"digits"}


def best_model(client: MlflowClient, experiment: str) -> LoggedModel:
    found = client.search_logged_models([experiment], filter_string="name = 'best'")
    (model,) = found
    return model


_SERVE = """
import json, sys
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
found = model.predict(np.load(sys.argv[3]))
signature = model.metadata.signature
print(json.dumps({
    "labels": list(found["prediction"]), "inputs": signature.inputs.to_dict(),
    "example": model.metadata.saved_input_example_info is not None,
}))
"""


def test_the_logged_model_predicts_in_a_fresh_process(recorded: Recorded, tmp_path: Path) -> None:
    run, found, client = recorded
    model = best_model(client, found.info.experiment_id)
    images = load_digits().images[:20, None].astype(np.float32)
    np.save(tmp_path / "rows.npy", images)
    done = subprocess.run(
        [
            sys.executable, "-c", _SERVE, str(run.tracking_uri), f"models:/{model.model_id}",
            str(tmp_path / "rows.npy"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    served: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    expected = dlframe.load(run.id, root=run.folder.parent).predict(images)
    assert served["labels"] == expected.tolist()
    assert served["inputs"][0]["tensor-spec"]["shape"] == [-1, 1, 8, 8]
    assert served["example"]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(
    recorded: Recorded, tmp_path: Path
) -> None:
    run, _, _ = recorded
    quiet = ["tracking.enabled=false", f"tracking.root={tmp_path}"]
    again = dlframe.train(*OVERRIDES, *quiet)
    other = dlframe.train(*OVERRIDES, *quiet, "seed=4", "tracking.figures=false")
    keys = ("train/loss", "val/loss", "test/loss")
    assert {k: again.metrics[k] for k in keys} == {k: run.metrics[k] for k in keys}
    assert other.metrics["test/loss"] != run.metrics["test/loss"]
    assert [(each.folder / "figures").exists() for each in (again, other)] == [True, False]


def test_a_served_table_may_have_gaps_and_lack_unused_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers, an identifier that is ignored, and a target of great size."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"rooms": rng.integers(1, 9, 200), "name": [f"n{i}" for i in range(200)]})
    table["price"] = table["rooms"] + rng.normal(size=200) + 1e9
    table.to_csv("table.csv", index=False)
    run = dlframe.train(
        "data=csv", "data.path=table.csv", "data.target=price", "data.scale_target=false",
        "trainer.max_epochs=1", "data.ignore=[name]",
    )  # fmt: skip
    assert (run.folder / "figures" / "residuals.png").is_file()
    rows = np.load(run.folder / "splits.npz")
    assert sorted(np.concatenate([rows[part] for part in rows])) == list(range(200))
    mlflow.set_tracking_uri(str(run.tracking_uri))
    assert run.mlflow_run_id is not None
    experiment = MlflowClient().get_run(run.mlflow_run_id).info.experiment_id
    logged = best_model(MlflowClient(), experiment)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        served = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    found = served.predict(pd.DataFrame({"rooms": [3, None, 2.5]}))
    assert list(found.columns) == ["price"]
    assert np.isfinite(found["price"]).all()
