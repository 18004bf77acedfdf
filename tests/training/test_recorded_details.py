"""What is recorded beside configs and curves: code, machine, data, checkpoints, figures, the note."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import LoggedModel
from mlflow.types.schema import Schema
from recorded_support import SECRETS, Recorded, git

import dlframe

pytest_plugins = ["recorded_fixtures"]
# MLflow's own store uses what SQLAlchemy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


def artifact(recorded: Recorded, name: str, place: Path) -> Path:
    fetched = recorded.client.download_artifacts(recorded.found.info.run_id, name, str(place))
    return Path(fetched)


def test_the_code_state_is_that_of_the_working_directory(
    recorded: Recorded, tmp_path: Path
) -> None:
    tags, place = recorded.found.data.tags, recorded.run.folder.parents[1]
    assert tags["mlflow.source.git.commit"] == git(place, "rev-parse", "HEAD")
    assert tags["mlflow.source.git.branch"] == "idea"
    assert tags["mlflow.source.git.repoURL"] == "https://example.org/a/b.git"
    assert tags["dlframe.git.dirty"] == "true"
    code = artifact(recorded, "code", tmp_path)
    patch = (code / "workdir.patch").read_text()
    assert "+WIDTH = 128" in patch
    assert "+PASSWORD = '[redacted]'" in patch
    facts = json.loads((code / "workdir.json").read_text())
    assert facts["changed"] == ["study.py"]
    assert facts["untracked"] == ["notes.txt"]  # the runs are no part of the code
    assert facts["redacted"] is True


def test_no_secret_is_recorded_anywhere(recorded: Recorded) -> None:
    """Not from the environment, a patch, an address, or a file that git does not know."""
    root = recorded.run.folder.parent
    files = [path for path in root.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    assert any(path.name == "spool.db" for path in files)
    for path in files:
        content = path.read_bytes()
        for where, secret in SECRETS.items():
            assert secret.encode() not in content, (where, path)
    assert recorded.found.data.tags["mirror"] == "https://example.org/x"


def test_machine_libraries_and_switches_are_recorded(recorded: Recorded, tmp_path: Path) -> None:
    facts = json.loads(artifact(recorded, "config/environment.json", tmp_path).read_text())
    assert facts["host"] == socket.gethostname()
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert facts["torch"] == torch.__version__
    assert facts["determinism"]["deterministic_algorithms"] is False
    assert facts["plugins"]["dlframe"] == f"dlframe {dlframe.__version__}"
    assert json.loads((recorded.run.folder / "environment.json").read_text()) == facts
    packages = artifact(recorded, "config/packages.txt", tmp_path).read_text().splitlines()
    assert f"torch=={torch.__version__}" in packages
    tags = recorded.found.data.tags
    assert tags["dlframe.seed"] == "3"
    assert tags["dlframe.group"].startswith("mlp-digits-")
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"] == tags["dlframe.command"]


def test_the_summary_has_a_line_for_each_layer(recorded: Recorded, tmp_path: Path) -> None:
    table = artifact(recorded, "config/network.txt", tmp_path).read_text()
    lines = [line.split() for line in table.split("\n\n")[0].splitlines()]
    assert ["(all)", "MLP", "[10]", "26,122", "26,122"] in lines
    linear = [line for line in lines if "Linear" in line]
    assert [line[-2] for line in linear] == ["8,320", "16,512", "1,290"]
    assert recorded.found.data.tags["dlframe.parameters"] == "26122"
    assert recorded.found.data.metrics["cost/parameters"] == 26122


def test_the_data_has_a_fingerprint_sizes_a_schema_and_its_preprocessing(
    recorded: Recorded,
) -> None:
    assert recorded.found.inputs is not None
    seen = {}
    for each in recorded.found.inputs.dataset_inputs:
        (context,) = [tag.value for tag in each.tags if tag.key == "mlflow.data.context"]
        seen[context] = each.dataset
    assert set(seen) == {"train", "val", "test"}
    schema = TensorDatasetSchema.from_dict(json.loads(str(seen["train"].schema)))
    assert [spec.shape for spec in schema.features.inputs] == [(-1, 1, 8, 8)]
    assert [spec.name for spec in schema.targets.inputs] == ["digit"]
    profiles = {context: json.loads(str(data.profile)) for context, data in seen.items()}
    assert sum(profile["rows"] for profile in profiles.values()) == 1797
    assert sum(profiles["val"]["class_counts"].values()) == profiles["val"]["rows"]
    assert profiles["test"]["preprocessing"]["kind"] == "Standardize"
    fingerprint = profiles["train"]["fingerprint"]
    assert seen["train"].digest == f"{fingerprint[:30]}-train"
    assert recorded.found.data.tags["dlframe.data_fingerprint"] == fingerprint


def test_checkpoints_are_logged_models_with_step_and_metrics(recorded: Recorded) -> None:
    run, found, client = recorded
    models: dict[str, LoggedModel] = {
        model.name: model for model in client.search_logged_models([found.info.experiment_id])
    }
    assert set(models) == {"best", "last"}
    steps = {"best": int(found.data.metrics["best/step"]), "last": 84}
    assert found.outputs is not None
    outputs = {output.model_id: output.step for output in found.outputs.model_outputs}
    assert outputs == {models[name].model_id: step for name, step in steps.items()}
    for name, step in steps.items():
        assert models[name].status == "READY"
        (curve,) = [
            point for point in client.get_metric_history(found.info.run_id, "val/accuracy")
            if point.step == step
        ]  # fmt: skip
        metrics = {m.key: m for m in models[name].metrics or []}
        assert metrics["val/accuracy"].value == curve.value
        assert metrics["val/accuracy"].step == step
        assert str(metrics["val/accuracy"].dataset_digest).endswith("-val")
    assert {m.key for m in models["best"].metrics or []} > {"test/accuracy", "test/loss"}
    # Of each checkpoint there is one copy in MLflow.
    copies = list((run.folder.parent / "artifacts").rglob("*.ckpt"))
    assert sorted(path.name for path in copies) == ["best.ckpt", "last.ckpt"]
    place = models["last"].tags["dlframe.artifact"]
    assert place == f"runs:/{found.info.run_id}/checkpoints/last.ckpt"


def test_linking_metrics_to_models_adds_no_point_to_a_curve(recorded: Recorded) -> None:
    points = recorded.client.get_metric_history(recorded.found.info.run_id, "val/accuracy")
    assert [point.step for point in points] == [21, 42, 63, 84]


def test_figures_are_pictures_of_some_size(recorded: Recorded, tmp_path: Path) -> None:
    folder = artifact(recorded, "figures", tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "learning_curves.png",
        "confusion_matrix.png",
    }
    for path in folder.iterdir():
        width, height = (int.from_bytes(path.read_bytes()[i : i + 4]) for i in (16, 20))
        assert width > 400
        assert height > 300


def test_the_note_says_what_matters(recorded: Recorded) -> None:
    run, found, _ = recorded
    note = found.data.tags["mlflow.note.content"]
    assert note.startswith(
        f"**Finished** with accuracy **{run.metrics['test/accuracy']:.4g}** (test)"
    )
    assert "| activation | gelu | relu |" in note
    assert "| optimizer.lr | 0.002 | 0.001 |" in note
    assert "| regularizer.dropout.p | 0.1 | 0.5 |" in note
    assert "| seed | 3 | 0 |" in note
    assert "architecture.hidden" not in note  # as by default
    assert f"```\ndlframe replay {run.id}\n```" in note
    assert "digits: 1,297 train, 230 val, 270 test" in note
    assert "Go on with it" not in note


def test_the_experiment_opens_on_the_pages_of_training(recorded: Recorded) -> None:
    tags = recorded.client.get_experiment(recorded.found.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.experiment.primaryMetric.name"] == "best/val_accuracy"
    assert tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "True"
    assert "dlframe train" in tags["mlflow.note.content"]


def test_a_table_has_a_schema_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 7},{i / 3},{'ab'[i % 2]},{i % 5 + i / 9}\n" for i in range(120))
    (tmp_path / "t.csv").write_text(f"rooms,area,kind,price\n{rows}")
    run = dlframe.train(
        "data=csv", "data.path=t.csv", "data.target=price", "trainer.max_epochs=1",
        "tracking.enabled=false",
    )  # fmt: skip
    columns = json.loads((run.folder / "schema.json").read_text())["mlflow_colspec"]
    schema = Schema.from_json(json.dumps(columns))
    assert dict(zip(schema.input_names(), map(str, schema.input_types()), strict=True)) == {
        "rooms": "DataType.long", "area": "DataType.double", "kind": "DataType.string",
        "price": "DataType.double",
    }  # fmt: skip
