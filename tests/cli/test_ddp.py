"""Training in two processes on the CPU, which must give one run like any other.

Starting the processes takes seconds each time: two tests run always, the others with ``-m slow``.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import (
    COMMAND,
    dlframe,
    end_delivery,
    environment,
    one_sentence,
    recorded,
    runs_in,
    status_of,
)

from dlframe.training.evaluate import evaluate

DDP = ("trainer=ddp_cpu", "trainer.max_epochs=2", "--json")

PLUGIN = '''
import os

from dlframe import Component, hookimpl
from torch import nn


@hookimpl
def dlframe_activations():
    yield Component(name="fragile", target="fragile:Fragile", summary="breaks in the second process")


class Fragile(nn.Module):
    """Breaks."""

    def forward(self, x):
        if self.training and os.environ.get("LOCAL_RANK") in os.environ["BREAKS_IN"]:
            raise ArithmeticError("the activation broke")
        return x
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose ``runs`` all tests of this module record into, with a plugin beside it."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "site" / "fragile-1.dist-info").mkdir(parents=True)
    (folder / "site" / "fragile.py").write_text(PLUGIN)
    (folder / "site" / "fragile-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fragile\nVersion: 1\n"
    )
    (folder / "site" / "fragile-1.dist-info" / "entry_points.txt").write_text(
        "[dlframe]\nfragile = fragile\n"
    )
    yield folder
    end_delivery(folder / "runs")


def new_runs(place: Path, before: list[str]) -> list[str]:
    return [uid for uid in runs_in(place / "runs") if uid not in before]


def ranks_marked(mark: str) -> list[str]:
    """The training processes that were started with ``MARK=mark`` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            marked = f"MARK={mark}".encode() in (folder / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if marked and b"dlframe.training.rank" in command:
            found.append(folder.name)
    return found


@pytest.mark.parametrize(
    "overrides",
    [
        # 211 training, 38 validation and 43 test examples: every part is uneven for two processes.
        pytest.param(["data.limit=292", "architecture.normalization=batch"], id="uneven"),
        pytest.param(["data=diabetes", "data.batch_size=10"], id="regression", marks=pytest.mark.slow),
        pytest.param(["architecture=autoencoder", "data.limit=300"], id="autoencoder",
                     marks=pytest.mark.slow),
        pytest.param(["architecture=gan", "data.limit=300"], id="gan", marks=pytest.mark.slow),
        pytest.param(["data.limit=300", "regularizer=[weight_averaging,early_stopping,dropout]",
                      "trainer.accumulate=2", "scheduler=one_cycle"], id="regularized",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_two_processes_give_one_run_that_tests_as_in_one(place: Path, overrides: list[str]) -> None:
    before = runs_in(place / "runs")
    done = dlframe("train", *DDP, *overrides, cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    result = json.loads(done.stdout)
    assert new_runs(place, before) == [result["run"]]
    assert result["status"] == "FINISHED"
    assert result["note"] is None
    assert status_of(place / "runs", result["run"]) == "FINISHED"
    same = f"SELECT count(*) FROM tags WHERE value = '{result['run']}'"
    assert recorded(place / "runs", same) == [(1,)], "one run of MLflow"
    steps = recorded(
        place / "runs",
        "SELECT DISTINCT step FROM metrics WHERE key = 'val/loss' AND run_uuid = "
        f"'{result['mlflow_run_id']}' ORDER BY step",
    )
    assert len(steps) == 2, "each epoch is recorded once"
    assert {path.name for path in Path(result["folder"]).glob("checkpoints/*")} == {
        "best.ckpt", "last.ckpt", "manifest.json",
    }  # fmt: skip
    here = evaluate(Path(result["folder"]))
    together = {key: value for key, value in result["metrics"].items() if key.startswith("test/")}
    assert here.keys() == together.keys()
    if "test/accuracy" in here:
        assert here["test/accuracy"] == together["test/accuracy"]
    if "architecture=gan" not in overrides:  # which draws its samples anew in each process
        for key in here:
            assert here[key] == pytest.approx(together[key], rel=1e-5), key


@pytest.mark.slow
def test_a_components_error_in_one_process_is_one_sentence(place: Path) -> None:
    before = runs_in(place / "runs")
    done = dlframe(
        "train", *DDP, "activation=fragile", "data.limit=300", cwd=place,
        PYTHONPATH=str(place / "site"), BREAKS_IN="1",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    said = one_sentence(done.stderr)
    assert said.startswith("ArithmeticError in fragile.py, line ")
    assert "the activation broke (DLFRAME_DEBUG=1 shows the traceback)" in said
    [uid] = new_runs(place, before)
    assert status_of(place / "runs", uid) == "FAILED"
    told = (
        "SELECT count(*) FROM tags WHERE key = 'dlframe.error' "
        "AND value LIKE '%the activation broke%'"
    )
    assert recorded(place / "runs", told) == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=csv", "data.path=nowhere.csv"], "no file is at 'nowhere.csv'"),
        (["data.batch_size=5000"], "data.batch_size must not exceed the 1297 training examples"),
        (["optimizer=sgd", "optimizer.lr=1e9", "data=diabetes"], "the training loss became "),
        (["tracking.root=/proc/runs"], "choose another folder with tracking.root"),
    ],
)
def test_a_users_error_is_said_as_in_one_process(
    place: Path, overrides: list[str], words: str
) -> None:
    before = runs_in(place / "runs")
    done = dlframe("train", *DDP, *overrides, cwd=place)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in one_sentence(done.stderr)
    left = new_runs(place, before)
    if "optimizer=sgd" in overrides:
        [uid] = left
        assert status_of(place / "runs", uid) == "FAILED"
    else:
        assert left == []


@pytest.mark.slow
def test_a_multirun_of_distributed_trainings(place: Path) -> None:
    before = runs_in(place / "runs")
    done = dlframe("train", "-m", "seed=1,2", *DDP, "data.limit=300", cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["run"] for result in results] == new_runs(place, before)
    assert [status_of(place / "runs", result["run"]) for result in results] == ["FINISHED"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes(place: Path, number: signal.Signals) -> None:
    before = runs_in(place / "runs")
    process = subprocess.Popen(
        [*COMMAND, "train", "trainer=ddp_cpu", "trainer.max_epochs=100000"], cwd=place,
        env=environment(MARK=str(place)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not [u for u in new_runs(place, before)
               if (place / "runs" / u / "checkpoints" / "last.ckpt").exists()]:  # fmt: skip
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no checkpoint was written"
        time.sleep(0.1)
    assert len(ranks_marked(str(place))) == 2
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert one_sentence(err) == "stopped"
    [uid] = new_runs(place, before)
    assert status_of(place / "runs", uid) == "KILLED"
    assert not ranks_marked(str(place)), "a process goes on training"
