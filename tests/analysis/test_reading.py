"""Runs read from their folders: copied ones, renamed ones, broken ones."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dlframe.analysis.runs import read_children
from dlframe.cli.main import main
from dlframe.tracking.recorder import Recorder, Status
from dlframe.tracking.spool import FILE

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


def damage(folder: Path) -> str:
    """Damage the records, but not what a list reads first; return what is to be said of it."""
    with closing(sqlite3.connect(folder / FILE)) as spool:
        spool.execute("UPDATE records SET body = '{' WHERE kind = 'metrics'")
        spool.commit()
    return f"{str(folder / FILE)!r} cannot be read ("


def test_a_broken_run_hides_no_other(root: Path, capsys: Capture) -> None:
    said = damage(root / uid("relu", 0))
    (root / uid("tanh", 0) / FILE).write_bytes(b"no database" * 500)
    found, lines = compared(root, capsys, "last")
    assert sorted(found["runs"][i]["run"] for i in range(4)) == sorted(
        uid(activation, seed) for activation in LOSSES for seed in (1, 2)
    )
    assert len(lines) == 2
    assert any(said in line for line in lines)
    assert all("move it away or mend it" in line for line in lines)
    runs, notes = read_children(root, PARENT)
    assert (len(runs), len(notes)) == (4, 2)


def test_what_to_do_with_a_broken_spool_loses_nothing(root: Path, capsys: Capture) -> None:
    folder = root / uid("relu", 0)
    (folder / "checkpoints").mkdir()
    said = damage(folder)
    assert main(["runs", "show", folder.name, "--root", str(root)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.rstrip().endswith(
        "; move it away or mend it: once it is away, with spool.db-wal and spool.db-shm, `dlframe "
        f"resume {folder.name}` goes on from the run's checkpoints"
    )


def test_runs_of_which_none_has_finished_are_no_comparison(root: Path, capsys: Capture) -> None:
    states: list[Status] = ["FAILED", "KILLED"]
    for status in states:
        recorder = Recorder(root, uri=None, experiment="none", run_name=None, deliver=False)
        recorder.params({"seed": 1})
        recorder.finish(status, "it broke")
    for form in ([], ["--json"]):
        assert main(["compare", "--experiment", "none", "--root", str(root), *form]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == (
            "dlframe: no run has finished of those to be compared (1 failed, 1 killed); wait for them, "
            "or go on with one by `dlframe resume RUN`\n"
        )
