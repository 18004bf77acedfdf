"""What a user can get wrong: one sentence, a non-zero exit, and nothing half-written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_support import dlframe, environment, one_sentence

from dlframe.cli.main import main

Capture = pytest.CaptureFixture[str]

# --- what the config alone tells: without torch ---------------------------------------------------

CONFIG_ERRORS = {
    "optimizer.lrr=1": "dlframe/adam has no option 'lrr'; did you mean 'lr'?",
    "optimizer=adm": "no optimizer is called 'adm'; did you mean 'adam'",
    "optimizer.lr=fast": "optimizer.lr must be float > 0; got 'fast' (str)",
    "optimizer.lr=-1": "optimizer.lr must be float > 0; got -1",
    "data.batch_size=0": "data.batch_size must be int >= 1 | all; got 0",
    "data=csv": "dlframe/csv needs data.path",
    "activation=[relu,tanh]": "`dlframe train -m activation=relu,tanh`",
    "activation=relu,tanh": "run one job for each with `dlframe train -m activation=relu,tanh`",
    "optimizer.lr=[1": "is not well formed",
    "optimizer.lr": "an override reads key=value",
    "epochs=3": "there is no option 'epochs'; did you mean 'trainer.max_epochs'",
    "+foo=3": "there is no option 'foo'",
    "loss=mse": "loss=mse is for regression or reconstruction or generation, but the task is "
    "classification; what fits: ",
    "architecture=autoencoder task=classification": "what fits: cnn, kan, mlp,",
    "architecture=cnn data=iris": "architecture=cnn takes image, but data=iris gives features; what ",
    "task=regression": "california_housing, csv, diabetes, ",
    "regularizer=augment data=iris": "regularizer=augment takes image",
    "regularizer=label_smoothing data=diabetes": "regularizer=label_smoothing is for classification",
    "regularizer.dropout.p=0.3": "add it: 'regularizer=[dropout]'",
    "trainer.max_epochs=ten": "trainer.max_epochs must be -1 | int >= 1; got 'ten' (str)",
    "experiment=mnist": "did you mean 'mnist_cnn'",
    "--config-dir nowhere": "give --config-dir one that exists",
    "-m optimizer=adam,sdg": "no optimizer is called 'sdg'; did you mean 'sgd'",
    "-m seed=1,two": "seed must be int >= 0 and < 4294967296; got 'two'",
    "-m hydra/launcher=jobli": "no launcher is called 'jobli'; did you mean 'joblib'",
}

DRIVER = """
import contextlib, io, json, sys
from dlframe.cli.main import main

for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(["train", *line.split()])
    heavy = sorted({"torch", "lightning", "mlflow", "pandas", "sklearn"} & sys.modules.keys())
    print(json.dumps([code, said.getvalue(), heavy]))
"""


@pytest.fixture(scope="module")
def config_errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code, errors and heavy imports of each command line, and what running them all left."""
    folder = tmp_path_factory.mktemp("errors")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(list(CONFIG_ERRORS)),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    left: Any = sorted(path.name for path in folder.iterdir())
    return dict(zip(CONFIG_ERRORS, results, strict=True)) | {"left": left, "stderr": done.stderr}


@pytest.mark.parametrize("line", CONFIG_ERRORS)
def test_a_config_error_is_one_sentence_without_torch(
    config_errors: dict[str, Any], line: str
) -> None:
    code, said, heavy = config_errors[line]
    assert code == 1
    assert CONFIG_ERRORS[line] in one_sentence(said)
    assert heavy == []


def test_config_errors_leave_nothing_behind(config_errors: dict[str, Any]) -> None:
    assert config_errors["left"] == []
    assert config_errors["stderr"] == ""


def test_the_traceback_is_there_for_who_asks(tmp_path: Path) -> None:
    done = dlframe("train", "optimizer=adm", cwd=tmp_path, DLFRAME_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("dlframe: no optimizer is called 'adm'")
    plain = dlframe("train", "optimizer=adm", cwd=tmp_path)
    assert one_sentence(plain.stderr).startswith("no optimizer is called 'adm'")
    assert plain.stdout == done.stdout == ""


# --- what only the data tells ---------------------------------------------------------------------


def table(**columns: Any) -> str:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)} | columns)
    return frame.to_csv(index=False)


NUMBERS = np.random.default_rng(1).normal(size=200)
CLASSES = np.where(NUMBERS > 0, "yes", "no")
HOLES = np.where(np.arange(200) == 7, np.nan, NUMBERS)
MIXED = [("unknown" if row == 9 else value) for row, value in enumerate(NUMBERS)]

DATA_ERRORS: list[tuple[str | None, str, str]] = [
    (None, "", "no file is at 'table.csv'; give the path of a CSV file"),
    ("", "", "the file 'table.csv' is empty"),
    ("a,b,y\n", "", "the file 'table.csv' holds a header and no rows"),
    ("a,b,y\n1,2,3\n1,2,3,4,5\n", "", "the file 'table.csv' is no table"),
    (table(y=NUMBERS), "data.target=z", "data.target names the column 'z', which the table lacks"),
    (table(y=NUMBERS), "data.target=null", "name the target column (data.target)"),
    (table(y=1.5), "", "regression needs a target that varies; 'y' is 1.5 in all 200 rows"),
    (table(y="yes"), "", "classification needs two classes or more; all 200 rows are of the class"),
    (table(y=HOLES), "", "the target must be known in every row; 1 of 200 rows lack 'y'"),
    (table(y=NUMBERS, c=MIXED), "", "the column 'c' mixes 199 numbers and 1 texts (first text "),
    (table(y=NUMBERS), "data.batch_size=1000", "data.batch_size must not exceed the 144 training"),
    (table(y=NUMBERS), "loss=cross_entropy", "loss=cross_entropy is for classification or "
     "language_modelling, but the task is regression; what fits: "),
    (table(y=CLASSES), "loss=mse", "loss=mse is for regression or reconstruction or generation, but "),
    (table(y=CLASSES), "task=regression", "select task=classification, or, for a table"),
    (table(y=NUMBERS), "regularizer=label_smoothing", "regularizer=label_smoothing is for class"),
    (table(y=NUMBERS), "loss=poisson_nll", "poisson_nll"),
    (table(y=NUMBERS), "data.test=0.999 data.batch_size=1", "too few"),
    (table(y=np.where(np.arange(200) == 3, "rare", CLASSES)), "", "'rare' has a single example"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "overrides", "words"), DATA_ERRORS, ids=[error[2] for error in DATA_ERRORS]
)
def test_a_data_error_is_one_sentence_and_leaves_no_run(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None,
    overrides: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("table.csv").write_text(text)
    code = main(["train", "data=csv", "data.path=table.csv", "data.target=y", *overrides.split()])
    said = capsys.readouterr()
    assert (code, said.out) == (1, "")
    assert words in one_sentence(said.err)
    assert [path.name for path in tmp_path.iterdir()] == ([] if text is None else ["table.csv"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("data.batch_size=5000", "data.batch_size must not exceed the 1297 training examples"),
        ("architecture.hidden=[0]", "every number in `hidden` must be at least 1"),
        ("optimizer.betas=[0.9,1.5]", "both optimizer.betas must be at least 0 and less than 1"),
        ("optimizer=lbfgs trainer.accumulate=3", "trainer.accumulate must be 1 with dlframe/lbfgs"),
        (
            "scheduler=one_cycle trainer.max_epochs=-1",
            "training needs an end; set trainer.max_epochs, trainer.max_steps",
        ),
        ("trainer.max_time=soon", "the trainer cannot be set up"),
        ("trainer.strategy=nonsense", "trainer.strategy must be auto"),
        ("trainer.accelerator=tpu", "trainer.accelerator must be auto | cpu"),
        ("tracking.root=file tracking.enabled=false", "choose another place with tracking.root"),
        ("tracking.root=file/runs", "choose another folder with tracking.root"),
        ("tracking.root=/proc/runs", "choose another folder with tracking.root"),
        (
            "tracking.alert_webhook=https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdef01",
            "put that into an environment variable and write '$NAME'",
        ),
    ],
)
def test_what_shows_as_the_run_is_built_leaves_no_run(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert main(["train", *overrides.split()]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert words in one_sentence(said.err)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_bad_row_in_a_multirun_is_named_and_the_others_run(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(
        ["train", "-m", "data=digits,iris", "architecture=cnn", "trainer.max_epochs=1",
         "trainer.limit_train=1", "tracking.enabled=false", "--json"]
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 1
    first, last = said.err.splitlines()
    assert first.startswith("dlframe: job 2 (data=iris architecture=cnn")
    assert "architecture=cnn takes image, but data=iris gives features" in first
    assert last == "dlframe: 1 of 2 jobs failed, as said above"
    assert json.loads(said.out)["status"] == "FINISHED"
