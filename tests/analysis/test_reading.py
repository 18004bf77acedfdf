"""Runs read from their folders: copied ones, renamed ones, broken ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dlframe.analysis.runs import read_children
from dlframe.cli.main import main
from dlframe.tracking.recorder import Recorder

Capture = pytest.CaptureFixture[str]
PARENT = "20261121-100000-pppp"
LOSSES = {"relu": [0.5, 0.4, 0.45], "tanh": [0.6, 0.55, 0.7]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A multirun of two activations and three seeds, which nobody has delivered."""
    root = tmp_path / "runs"
    parent = Recorder(
        root, uri=None, experiment="e", run_name="by activation", uid=PARENT, group=True,
        deliver=False,
    )  # fmt: skip
    for activation, losses in LOSSES.items():
        for seed, loss in enumerate(losses):
            recorder = Recorder(
                root, uri=None, experiment="e", run_name=None, uid=uid(activation, seed),
                parent=PARENT, deliver=False,
            )  # fmt: skip
            recorder.params({"activation": activation, "seed": seed})
            recorder.tags({"dlframe.primary_metric": "val/loss", "dlframe.primary_mode": "min"})
            recorder.metrics({"test/loss": loss}, 1)
            recorder.finish("FINISHED")
    parent.finish("FINISHED")
    return root


def uid(activation: str, seed: int) -> str:
    return f"20261121-10000{seed}-{activation}"


def compared(root: Path, capsys: Capture, *words: str) -> tuple[Any, list[str]]:
    """The comparison, and the lines on standard error."""
    code = main(["compare", *words, "--root", str(root), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out), said.err.splitlines()


def test_a_copied_folder_counts_once(root: Path, capsys: Capture) -> None:
    before, [] = compared(root, capsys, "last")
    copy = root / f"{uid('relu', 0)}-backup"
    shutil.copytree(root / uid("relu", 0), copy)
    after, [line] = compared(root, capsys, "last")
    assert after == before
    assert f"{str(copy)!r} is a copy of run" in line
    runs, [note] = read_children(root, PARENT)
    assert len(runs) == 6
    assert f"{str(copy)!r} is a copy of run" in note


def test_a_renamed_folder_is_the_same_run(root: Path, capsys: Capture) -> None:
    before, [] = compared(root, capsys, "last")
    (root / uid("relu", 0)).rename(root / "kept")
    assert compared(root, capsys, "last") == (before, [])
    assert compared(root, capsys, uid("relu", 0))[0]["runs"][0]["run"] == uid("relu", 0)
