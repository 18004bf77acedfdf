"""The road from ``train`` to ``test`` and ``predict``, as a user walks it."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_support import dlframe, end_delivery, fresh, one_sentence, recorded, runs_in, status_of
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss

from dlframe.cli.main import main
from dlframe.training.prepare import load_data, read_config


@dataclass
class Trained:
    """A run that the command line trained on a table, and the other runs beside it."""

    place: Path
    result: dict[str, Any]
    sweep: list[dict[str, Any]]

    @property
    def root(self) -> Path:
        return self.place / "runs"

    @property
    def id(self) -> str:
        return str(self.result["run"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Train once on a table, and four times in a multirun, all recorded in one place."""
    place = tmp_path_factory.mktemp("trained")
    data = load_breast_cancer(as_frame=True)
    table = data.frame.assign(target=data.target_names[data.target])
    table.to_csv(place / "tumours.csv", index=False)
    one = fresh(
        "train", "data=csv", "data.path=tumours.csv", "data.target=target", "trainer.max_epochs=4",
        "architecture.hidden=[16]", "activation=tanh", "optimizer.lr=0.01",
        "regularizer=[l2,dropout]", "regularizer.l2.weight=1e-3", "+tracking.tags.team=pathology",
        "tracking.experiment=tumours", "--json", cwd=place,
    )  # fmt: skip
    assert (one.stderr, one.returncode) == ("", 0)
    many = dlframe(
        "train", "-m", "activation=relu,tanh", "seed=1,2", "data=iris", "data.batch_size=16",
        "trainer.max_epochs=1", "tracking.log_model=false", "tracking.experiment=sweep", "--json",
        cwd=place,
    )  # fmt: skip
    assert (many.stderr, many.returncode) == ("", 0)
    yield Trained(place, json.loads(one.stdout), [json.loads(x) for x in many.stdout.splitlines()])
    end_delivery(place / "runs")


def command(cwd: Path, *words: str) -> tuple[int, str, str]:
    """Run a command in this process, which spares it the imports; return code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


# --- what a run leaves ----------------------------------------------------------------------------


def test_the_result_is_printed_as_json(trained: Trained) -> None:
    found = trained.result
    assert found["status"] == "FINISHED"
    assert found["note"] is None
    assert Path(found["folder"]) == trained.root / trained.id
    assert found["tracking_uri"] == f"sqlite:///{trained.root / 'mlflow.db'}"
    metrics = found["metrics"]
    assert metrics["test/accuracy"] > 0.85
    assert metrics["best/val_accuracy"] >= metrics["val/accuracy"]
    assert metrics["best/epoch"] in (1, 2, 3, 4)
    assert metrics["epoch"] == 4


def test_the_run_is_in_mlflow_with_what_decided_it(trained: Trained) -> None:
    assert status_of(trained.root, trained.id) == "FINISHED"
    run = trained.result["mlflow_run_id"]
    params = dict(recorded(trained.root, f"SELECT key, value FROM params WHERE run_uuid = '{run}'"))
    expected = {
        "activation": "tanh",
        "architecture": "mlp",
        "architecture.hidden": "[16]",
        "data": "csv",
        "data.target": "target",
        "loss": "cross_entropy",
        "optimizer.lr": "0.01",
        "regularizer.l2.weight": "0.001",
        "regularizer.dropout.p": "0.5",
        "seed": "0",
        "task": "classification",
        "trainer.max_epochs": "4",
    }
    assert {key: params.get(key) for key in expected} == expected
    tags = dict(recorded(trained.root, f"SELECT key, value FROM tags WHERE run_uuid = '{run}'"))
    assert tags["team"] == "pathology"
    assert tags["dlframe.run_uid"] == trained.id
    metrics = dict(
        recorded(trained.root, f"SELECT key, value FROM latest_metrics WHERE run_uuid = '{run}'")
    )
    for key, value in trained.result["metrics"].items():
        if key.startswith(("test/", "best/", "val/", "train/")):
            assert metrics[key] == pytest.approx(value, rel=1e-12), key
    [name] = recorded(
        trained.root, "SELECT experiments.name FROM runs JOIN experiments ON "
        f"runs.experiment_id = experiments.experiment_id WHERE run_uuid = '{run}'",
    )  # fmt: skip
    assert name == ("tumours",)


def test_the_folder_holds_config_overrides_and_whole_checkpoints(trained: Trained) -> None:
    folder = Path(trained.result["folder"])
    overrides = json.loads((folder / "overrides.json").read_text())
    assert "data.path=tumours.csv" in overrides
    assert read_config(folder)["optimizer"]["lr"] == 0.01
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "best.ckpt", "last.ckpt", "manifest.json",
    }  # fmt: skip
    assert (folder / "figures").is_dir()


def test_a_multirun_is_one_run_for_each_combination(trained: Trained) -> None:
    assert [job["status"] for job in trained.sweep] == ["FINISHED"] * 4
    ids = {str(job["run"]) for job in trained.sweep}
    assert len(ids) == 4
    [parent] = {str(job["parent"]) for job in trained.sweep}
    assert ids | {trained.id, parent} == set(runs_in(trained.root))
    for uid in ids:
        assert status_of(trained.root, uid) == "FINISHED"
    rows = recorded(
        trained.root,
        "SELECT a.value, s.value FROM runs JOIN experiments e ON runs.experiment_id = "
        "e.experiment_id JOIN params a ON a.run_uuid = runs.run_uuid AND a.key = 'activation' JOIN "
        "params s ON s.run_uuid = runs.run_uuid AND s.key = 'seed' WHERE e.name = 'sweep'",
    )
    assert sorted(rows) == [("relu", "1"), ("relu", "2"), ("tanh", "1"), ("tanh", "2")]


# --- test -----------------------------------------------------------------------------------------


def test_test_gives_the_runs_own_metrics(trained: Trained) -> None:
    own = {k: v for k, v in trained.result["metrics"].items() if k.startswith("test/")}
    for name in (trained.id, trained.id[-4:], trained.result["mlflow_run_id"]):
        code, out, err = command(trained.place, "test", name, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {"run": trained.id, "metrics": own}


def test_test_depends_on_the_record_only(trained: Trained, tmp_path: Path) -> None:
    """Config files in the current folder change nothing, and there is no way to override the record."""
    (tmp_path / "conf").mkdir()
    for name in ("config.yaml", "conf/config.yaml"):
        (tmp_path / name).write_text("architecture:\n  hidden: [3]\n")
    shutil.copy(trained.place / "tumours.csv", tmp_path)
    done = dlframe("test", trained.id, "--root", str(trained.root), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shown = dict(line.split() for line in done.stdout.splitlines())
    assert "test/accuracy" in shown
    for key, value in shown.items():
        assert float(value) == pytest.approx(trained.result["metrics"][key], rel=1e-5)
    with pytest.raises(SystemExit, match="2"):
        command(trained.place, "test", trained.id, "optimizer.lr=1")


def test_changed_data_is_not_mistaken_for_the_runs(trained: Trained, tmp_path: Path) -> None:
    table = pd.read_csv(trained.place / "tumours.csv")
    table.iloc[1:].to_csv(tmp_path / "tumours.csv", index=False)
    code, out, err = command(tmp_path, "test", trained.id, "--root", str(trained.root))
    assert (code, out) == (1, "")
    assert "the data has changed since the run" in one_sentence(err)


# --- predict --------------------------------------------------------------------------------------


def test_predictions_are_those_the_test_metrics_came_from(trained: Trained) -> None:
    done = dlframe("predict", trained.id, "tumours.csv", cwd=trained.place)
    assert (done.returncode, done.stderr) == (0, "")
    found = pd.read_csv(io.StringIO(done.stdout))
    with chdir(trained.place):
        _, splits = load_data(read_config(Path(trained.result["folder"])))
    table = pd.read_csv(trained.place / "tumours.csv")
    assert len(found) == len(table)
    actual, rows = table["target"].iloc[splits.test.rows], found.iloc[splits.test.rows]
    metrics = trained.result["metrics"]
    assert accuracy_score(actual, rows["prediction"]) == pytest.approx(metrics["test/accuracy"])
    names = list(splits.spec.class_names)
    chances = rows[[f"p_{name}" for name in names]].to_numpy()
    chances = chances / chances.sum(axis=1, keepdims=True)  # they were rounded to float32
    assert log_loss(actual, chances, labels=names) == pytest.approx(metrics["test/loss"], rel=1e-4)


def test_predictions_need_no_target_and_no_order(trained: Trained, tmp_path: Path) -> None:
    table = pd.read_csv(trained.place / "tumours.csv").head(20)
    shuffled = table.drop(columns="target")[sorted(table.columns.drop("target"), reverse=True)]
    shuffled.assign(note="extra").to_csv(tmp_path / "new.csv", index=False)
    table.to_csv(tmp_path / "old.csv", index=False)
    root = ("--root", str(trained.root))
    first = command(tmp_path, "predict", trained.id, "new.csv", *root)
    assert first == command(tmp_path, "predict", trained.id, "old.csv", *root)
    assert (first[0], first[2], len(first[1].splitlines())) == (0, "", 21)


def test_predictions_go_to_a_file_as_csv_or_json(trained: Trained, tmp_path: Path) -> None:
    rows = pd.read_csv(trained.place / "tumours.csv").head(3)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    common = ("predict", trained.id, "rows.csv", "--root", str(trained.root))
    done = command(tmp_path, *common, "--output", "out.csv")
    assert done == (0, "3 predictions written to out.csv\n", "")
    written = pd.read_csv(tmp_path / "out.csv")
    told = json.loads(command(tmp_path, *common, "--json")[1])
    assert [row["prediction"] for row in told] == written["prediction"].tolist()
    assert set(told[0]) == set(written.columns)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("nowhere.csv", None, "no file is at 'nowhere.csv'; give the path of"),
        ("rows.txt", "1,2", "the file 'rows.txt' holds a header and no rows"),
        ("rows.npy", "no array", "'rows.npy' holds no plain array of numbers"),
        ("rows.parquet", "no table", "'rows.parquet' is no Parquet file"),
        ("rows.csv", "", "the file 'rows.csv' is empty"),
        ("rows.csv", "mean radius,mean texture\n1,2\n", "lack"),
    ],
)
def test_rows_that_cannot_be_predicted(
    trained: Trained, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    root = ("--root", str(trained.root))
    code, out, err = command(tmp_path, "predict", trained.id, name, *root, "--output", "out.csv")
    assert (code, out) == (1, "")
    assert words in one_sentence(err)
    assert not (tmp_path / "out.csv").exists()


def test_predictions_that_cannot_be_written(trained: Trained, tmp_path: Path) -> None:
    target = str(tmp_path / "no" / "out.csv")
    code, out, err = command(
        trained.place, "predict", trained.id, "tumours.csv", "--output", target
    )
    assert (code, out) == (1, "")
    assert "predictions cannot be written to" in one_sentence(err)


# --- names of runs --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own
@pytest.mark.parametrize("words", [["test"], ["predict", "tumours.csv"]])
def test_a_run_is_named_so_that_it_is_one(trained: Trained, words: list[str]) -> None:
    name, *rest = words
    code, out, err = command(trained.place, name, trained.id[:8], *rest)
    assert (code, out) == (1, "")
    assert f"6 runs answer to '{trained.id[:8]}'" in one_sentence(err)
    code, out, err = command(trained.place, name, "19990101-000000-aaaa", *rest)
    assert (code, out) == (1, "")
    assert "no run answers to '19990101-000000-aaaa'" in one_sentence(err)


def test_a_run_without_checkpoint_says_so(tmp_path: Path) -> None:
    words = ("debug=one_batch", "tracking.enabled=true", "tracking.wait=0")
    assert command(tmp_path, "train", *words)[0] == 0
    [uid] = runs_in(tmp_path / "runs")
    code, out, err = command(tmp_path, "test", uid)
    end_delivery(tmp_path / "runs")
    assert (code, out) == (1, "")
    assert "with trainer.checkpoint=false" in one_sentence(err)


def test_the_table_for_people(tmp_path: Path) -> None:
    code, out, err = command(
        tmp_path, "train", "data=iris", "data.batch_size=16", "trainer.max_epochs=1",
        "tracking.enabled=false",
    )  # fmt: skip
    assert (code, err) == (0, "")
    [uid] = runs_in(tmp_path / "runs")
    assert f"run {uid}: finished in" in out
    assert "accuracy" in out
    assert f"dlframe predict {uid} FILE" in out
