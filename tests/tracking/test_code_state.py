import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dlframe.tracking.code_state import CodeState, code_state


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "topic")
    (folder / "a.py").write_text("a = 1\n")
    (folder / "settings.env").write_text("REGION=eu\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", "https://me:gh_token@example.org/a/b.git")
    return folder


def state(folder: Path, apart_from: Path | None = None) -> CodeState:
    found = code_state(folder, apart_from=apart_from)
    assert found is not None
    return found


def test_commit_branch_and_remote_without_its_token(work_tree: Path) -> None:
    assert state(work_tree).tags() == {
        "dlframe.git.dirty": "false",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.git.commit": git(work_tree, "rev-parse", "HEAD"),
        "mlflow.source.git.branch": "topic",
        "mlflow.source.git.repoURL": "https://example.org/a/b.git",
    }
    assert state(work_tree).patch == ""


def test_a_detached_head_has_no_branch(work_tree: Path) -> None:
    git(work_tree, "checkout", "-q", "--detach")
    found = state(work_tree)
    assert found.branch is None
    assert found.commit == git(work_tree, "rev-parse", "HEAD")


def test_the_patch_restores_the_tree_from_any_of_its_folders(work_tree: Path) -> None:
    """Changed, staged, added and removed files, in other encodings too, whatever git is set to."""
    for key, value in (
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("diff.relative", "true"),
    ):
        git(work_tree, "config", key, value)
    (work_tree / "inner").mkdir()
    (work_tree / "a.py").write_bytes("a = 'é'\n".encode("latin-1"))
    (work_tree / "inner" / "b.py").write_text("b = 2\n")
    git(work_tree, "add", "inner/b.py")
    git(work_tree, "rm", "-q", "settings.env")
    (work_tree / "new.py").write_text("not tracked\n")
    found = state(work_tree / "inner")
    assert found.dirty
    assert found.changed == ("a.py", "inner/b.py", "settings.env")
    assert found.untracked == ("new.py",)
    assert "not tracked" not in found.patch
    found.write(work_tree.parent, "state")
    clone = work_tree.parent / "clone"
    git(work_tree.parent, "clone", "-q", str(work_tree), str(clone))
    git(clone, "apply", str(work_tree.parent / "state.patch"))
    assert (clone / "a.py").read_bytes() == (work_tree / "a.py").read_bytes()
    assert (clone / "inner" / "b.py").read_text() == "b = 2\n"


def test_a_file_that_holds_secrets_is_named_and_not_read(work_tree: Path) -> None:
    (work_tree / "settings.env").write_text("REGION=us\nOTHER=plain-looking-secret\n")
    (work_tree / "a.py").write_text('a = 2\nPASSWORD = "hunter2-hunter2"\n')
    found = state(work_tree)
    assert found.left_out == ("settings.env",)
    assert "settings.env" in found.changed
    assert "plain-looking-secret" not in found.patch
    assert "hunter2" not in found.patch
    assert "+a = 2" in found.patch
    assert found.redacted


def test_a_large_patch_ends_with_a_whole_file(work_tree: Path) -> None:
    for name in "bcd":
        (work_tree / f"{name}.txt").write_text("".join(f"{name} {i}\n" for i in range(60_000)))
    git(work_tree, "add", ".")
    found = state(work_tree)
    assert found.truncated
    assert len(found.patch.encode()) <= 1_000_000
    assert found.changed == ("b.txt", "c.txt", "d.txt")
    found.write(work_tree.parent, "state")
    git(work_tree, "reset", "-q", "--hard")
    git(work_tree, "apply", "--check", str(work_tree.parent / "state.patch"))


def test_a_large_patch_is_told_from_another_that_begins_alike(work_tree: Path) -> None:
    lines = [f"line {i}\n" for i in range(150_000)]
    (work_tree / "b.txt").write_text("".join(lines))
    (work_tree / "c.txt").write_text("c = 1\n")
    git(work_tree, "add", ".")
    first = state(work_tree)
    (work_tree / "b.txt").write_text("".join([*lines, "one more\n"]))
    second = state(work_tree)
    assert first.truncated
    assert first.facts()["patch_sha256"] == second.facts()["patch_sha256"]
    assert first.whole_sha256 != second.whole_sha256
    assert None not in (first.whole_sha256, second.whole_sha256)


def test_untracked_files_have_fingerprints(work_tree: Path) -> None:
    (work_tree / "new.py").write_text("x = 1\n")
    (work_tree / ".env").write_text("PASSWORD=guess\n")
    (work_tree / "large.bin").write_bytes(b"0" * 9_000_000)
    (work_tree / "link").symlink_to("a.py")
    os.mkfifo(work_tree / "fifo")
    (work_tree / "__pycache__").mkdir()
    (work_tree / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"bytecode")
    found = state(work_tree)
    assert set(found.fingerprints) == {".env", "large.bin", "link", "new.py"}
    assert found.fingerprints["new.py"] == hashlib.sha256(b"x = 1\n").hexdigest()
    for name in (".env", "large.bin"):
        facts = (work_tree / name).stat()
        assert found.fingerprints[name] == f"{facts.st_size} bytes, {facts.st_mtime_ns} ns"
    (work_tree / "link").unlink()
    (work_tree / "link").symlink_to("new.py")
    assert state(work_tree).fingerprints["link"] != found.fingerprints["link"]


def test_no_more_than_some_megabytes_are_read(work_tree: Path) -> None:
    for i in range(6):
        (work_tree / f"{i}.bin").write_bytes(b"0" * 7_000_000)
    found = state(work_tree).fingerprints
    assert [" bytes, " in found[f"{i}.bin"] for i in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("held", "how"), [("rev-parse", "exec sleep 600"), ("diff", "exit 3"), ("ls-files", "exit 3")]
)
def test_a_git_that_does_not_answer_is_no_absent_one(
    work_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str, how: str
) -> None:
    """The real git behind a script that holds up or fails one of its commands, as a disk may."""
    script = tmp_path / "bin" / "git"
    script.parent.mkdir()
    real = shutil.which("git")
    script.write_text(f'#!/bin/sh\ncase " $* " in *" {held} "*) {how};; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    (work_tree / "new.py").touch()
    commit = git(work_tree, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    if "sleep" in how:
        monkeypatch.setattr("dlframe.tracking.code_state._TIMEOUT", 1.0)
    found = state(work_tree)
    assert not found.answered
    assert found.commit == (None if "sleep" in how else commit)
    assert found.facts()["answered"] is False
    assert found.tags()["dlframe.git.dirty"] == "unknown: git gave no answer"
    assert "mlflow.source.git.dirty" not in found.tags()


def test_the_folder_of_the_runs_does_not_make_the_tree_dirty(work_tree: Path) -> None:
    (work_tree / "runs").mkdir()
    (work_tree / "runs" / "mlflow.db").write_text("")
    assert state(work_tree).dirty
    assert not state(work_tree, work_tree / "runs").dirty


def test_before_the_first_commit_all_is_new(tmp_path: Path) -> None:
    assert code_state(tmp_path) is None
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    found = state(tmp_path)
    assert found.commit is None
    assert "mlflow.source.git.commit" not in found.tags()
    assert "+a = 1" in found.patch


def test_an_absent_git_is_fine(work_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work_tree))
    assert code_state(work_tree) is None
