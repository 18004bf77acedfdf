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
