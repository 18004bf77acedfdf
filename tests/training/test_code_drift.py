"""What is said of code that is not what it was when a run was begun."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dlframe.tracking.code_state import code_state
from dlframe.training.surroundings import drift


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that was begun in a work tree with an untracked module."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "layers.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("n\n")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    state = code_state(tmp_path, apart_from=folder.parent)
    assert state is not None
    state.write(folder / "code", "workdir")
    return folder


def amend(run: Path, **facts: Any) -> None:
    path = run / "code" / "workdir.json"
    known = json.loads(path.read_text()) | facts
    path.write_text(json.dumps({key: value for key, value in known.items() if value != "absent"}))


def test_nothing_is_said_where_nothing_changed(run: Path) -> None:
    assert drift(run) == []


def test_untracked_files_are_compared(run: Path) -> None:
    place = run.parent.parent
    (place / "layers.py").write_text("x = 2\n")
    (place / "notes.txt").unlink()
    for i in range(7):
        (place / f"new{i}.py").touch()
    others = "among the files that git does not track"
    assert drift(run) == [
        f"changed {others}: layers.py",
        f"new {others}: new0.py, new1.py, new2.py, new3.py, new4.py and 2 more",
        f"gone {others}: notes.txt",
    ]


def test_large_changes_are_compared_whole(run: Path) -> None:
    table = run.parent.parent / "table.txt"
    lines = [f"line {i}\n" for i in range(150_000)]
    table.write_text("".join(lines))
    git(table.parent, "add", ".")
    state = code_state(table.parent, apart_from=run.parent)
    assert state is not None
    state.write(run / "code", "workdir")
    assert drift(run) == []
    table.write_text("".join([*lines, "more\n"]))
    assert drift(run) == ["what is changed but not committed is not what it was"]
    amend(run, whole_sha256=None)
    assert drift(run) == ["what is changed but not committed is too much to be compared"]


def test_what_was_not_recorded_is_not_taken_for_equal(run: Path) -> None:
    amend(run, fingerprints="absent")
    assert drift(run) == [
        "files that git does not track were not recorded, so that they cannot be compared"
    ]


@pytest.mark.parametrize("known", [True, False])
def test_a_git_that_gave_no_answer_is_no_other_code(run: Path, known: bool) -> None:
    amend(run, answered=False, patch_sha256=None, fingerprints={})
    if not known:
        amend(run, commit=None, remote=None)
    said = "git gave no answer when the run was begun, so that the code cannot be compared"
    assert drift(run) == [said]


def test_a_git_that_gives_no_answer_now(
    run: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path_factory.mktemp("bin") / "git"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("dlframe.tracking.code_state._TIMEOUT", 0.5)
    assert drift(run) == ["git gave no answer now, so that the code cannot be compared"]
