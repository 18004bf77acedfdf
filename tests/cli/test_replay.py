"""Recorded runs trained again: equal to the last bit, or told where not and why."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_support import (
    PATIENT,
    QUICK,
    dlframe,
    end_delivery,
    fresh,
    one_sentence,
    recorded,
    status_of,
)
from sklearn.datasets import load_breast_cancer

TRAIN = (
    "train", "data=csv", "data.path=tumours.csv", "data.target=target", "trainer.max_epochs=3",
    "architecture.hidden=[64]", "activation=tanh", "regularizer=[dropout]", "seed=5", PATIENT, "--json",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table, whose ``runs`` the tests record into."""
    folder = tmp_path_factory.mktemp("replay")
    data = load_breast_cancer(as_frame=True)
    data.frame.to_csv(folder / "tumours.csv", index=False)
    yield folder
    end_delivery(folder / "runs")


@pytest.fixture(scope="module")
def first(place: Path) -> dict[str, Any]:
    """A run on two threads, whatever the tests' own number is."""
    done = dlframe(*TRAIN, cwd=place, OMP_NUM_THREADS="2")
    assert (done.stderr, done.returncode) == ("", 0)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_replay_gives_the_same_numbers_and_names_the_first_run(
    place: Path, first: dict[str, Any]
) -> None:
    done = fresh("replay", first["run"], "--strict", "--json", cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    result = json.loads(done.stdout)
    found = result["replay"]
    assert found["differences"] == []
    assert found["parting"] is None
    assert found["equal"] == found["compared"] > 30
    assert result["run"] != first["run"]
    same = {k: v for k, v in first["metrics"].items() if not k.startswith("perf/")}
    assert {k: v for k, v in result["metrics"].items() if k in same} == same
    assert status_of(place / "runs", result["run"]) == "FINISHED"
    assert recorded(
        place / "runs",
        "SELECT value FROM tags WHERE key = 'dlframe.replay_of' AND run_uuid = "
        f"'{result['mlflow_run_id']}'",
    ) == [(first["run"],)]


def test_code_that_git_does_not_track_is_compared_too(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    layers = tmp_path / "layers.py"
    layers.write_text("x = 1\n")
    try:
        done = dlframe("train", "data=iris", *QUICK, "--json", cwd=tmp_path)
        assert (done.stderr, done.returncode) == ("", 0)
        uid = json.loads(done.stdout)["run"]
        layers.write_text("x = 2\n")
        refused = dlframe("replay", uid, "--strict", cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (1, "")
        said = "changed among the files that git does not track: layers.py"
        assert said in one_sentence(refused.stderr)
        layers.write_text("x = 1\n")
        again = dlframe("replay", uid, "--strict", cwd=tmp_path)
        assert (again.stderr, again.returncode) == ("", 0)
    finally:
        end_delivery(tmp_path / "runs")


@pytest.mark.slow
def test_on_another_machine_it_says_where_the_numbers_part(
    place: Path, first: dict[str, Any]
) -> None:
    """Without the processor's vector instructions, sums are made in another order."""
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("torch uses no vector instructions on this processor that could be left out")
    plain = {"ATEN_CPU_CAPABILITY": "default"}
    done = dlframe("replay", first["run"], cwd=place, **plain)
    assert done.returncode == 0
    assert "cpu capability was " in one_sentence(done.stderr)
    assert f"parts from run {first['run']} at step " in done.stdout
    assert " recorded values are equal)" in done.stdout
    refused = dlframe("replay", first["run"], "--strict", cwd=place, **plain)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "not all is as it was" in one_sentence(refused.stderr)


def test_other_packages_are_listed(place: Path, first: dict[str, Any]) -> None:
    """The record is changed instead of the installation: it then tells of another one."""
    path = Path(first["folder"]) / "packages.txt"
    kept = path.read_text()
    lines = [line for line in kept.splitlines() if not line.startswith(("torch==", "pluggy=="))]
    path.write_text("\n".join([*lines, "torch==2.9.0", "gone-package==1.0"]) + "\n")
    try:
        done = dlframe("replay", first["run"], "--strict", cwd=place)
    finally:
        path.write_text(kept)
    assert done.returncode == 1
    said = one_sentence(done.stderr)
    assert "package torch was 2.9.0, is " in said
    assert "package gone-package 1.0 is not installed any more" in said
    assert "was not installed" in said


def test_changed_data_is_refused(place: Path, first: dict[str, Any]) -> None:
    table = place / "tumours.csv"
    kept = table.read_text()
    table.write_text(kept.replace("17.99,", "17.98,", 1))
    try:
        done = dlframe("replay", first["run"], cwd=place)
    finally:
        table.write_text(kept)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the data has changed since the run" in one_sentence(done.stderr)


def test_a_run_without_record_cannot_be_compared(place: Path) -> None:
    done = dlframe(*TRAIN, "tracking.enabled=false", "tracking.root=bare", cwd=place)
    assert done.returncode == 0, done.stderr
    again = dlframe("replay", json.loads(done.stdout)["run"], "--root", "bare", cwd=place)
    assert again.returncode == 1
    assert "holds no recorded metrics to compare with" in one_sentence(again.stderr)


def test_a_run_is_replayed_from_what_mlflow_holds(
    place: Path, first: dict[str, Any], tmp_path: Path
) -> None:
    """On another machine there is no folder of the run: config and metrics come from the store."""
    assert status_of(place / "runs", first["run"]) == "FINISHED"
    store = f"sqlite:///{place / 'runs' / 'mlflow.db'}"
    shutil.copy(place / "tumours.csv", tmp_path)
    try:
        done = dlframe("replay", first["run"], "--uri", store, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert Path(result["folder"]).parent == tmp_path / "runs"
        assert result["replay"]["parting"] is None
        assert result["replay"]["compared"] > 30
        refused = dlframe("resume", first["run"], "--uri", store, cwd=tmp_path)
        assert refused.returncode == 1
        assert "holds no checkpoint to go on from" in one_sentence(refused.stderr)
    finally:
        end_delivery(tmp_path / "runs")
