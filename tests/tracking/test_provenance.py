import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from dlframe.tracking.provenance import (
    code_tags,
    machine_tags,
    package_list,
    provenance_tags,
    requirements,
    version_tags,
    without_credentials,
)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "topic")
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://me:gh_token@example.org/a/b.git")
    return tmp_path


def test_commit_branch_and_remote_without_its_token(work_tree: Path) -> None:
    assert code_tags(work_tree) == {
        "dlframe.git.dirty": "false",
        "mlflow.source.git.commit": git(work_tree, "rev-parse", "HEAD"),
        "mlflow.source.git.branch": "topic",
        "mlflow.source.git.repoURL": "https://example.org/a/b.git",
    }


def test_changes_and_a_detached_head_are_seen(work_tree: Path) -> None:
    git(work_tree, "checkout", "-q", "--detach")
    (work_tree / "new.py").write_text("")
    tags = code_tags(work_tree)
    assert tags["dlframe.git.dirty"] == "true"
    assert "mlflow.source.git.branch" not in tags
    assert len(tags["mlflow.source.git.commit"]) == 40


def test_no_commit_yet_and_no_work_tree(tmp_path: Path) -> None:
    assert code_tags(tmp_path) == {}
    git(tmp_path, "init", "-q", "-b", "main")
    assert "mlflow.source.git.commit" not in code_tags(tmp_path)


def test_an_absent_git_is_fine(work_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work_tree))
    assert code_tags(work_tree) == {}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pw@host/x", "https://host/x"),
        ("https://token@host:5000", "https://host:5000"),
        ("tracking.uri=http://a:b@h run@x", "tracking.uri=http://h run@x"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_credentials_leave_addresses(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


def test_the_command_is_recorded_as_it_can_be_typed() -> None:
    tags = provenance_tags(command=["/opt/bin/dlframe", "train", "regularizer=[l1,l2]", "x=a b"])
    expected = "dlframe train 'regularizer=[l1,l2]' 'x=a b'"
    assert tags["mlflow.source.name"] == tags["dlframe.command"] == expected
    assert tags["mlflow.source.type"] == "LOCAL"


def test_no_environment_value_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush-value")
    assert "hush-hush-value" not in str(provenance_tags()) + package_list()


def test_machine_and_versions() -> None:
    tags = machine_tags() | version_tags()
    assert tags["dlframe.python"] == ".".join(map(str, sys.version_info[:3]))
    assert tags["dlframe.cores"] == str(len(os.sched_getaffinity(0)))
    for name in ("torch", "lightning", "mlflow", "dlframe"):
        assert tags[f"dlframe.version.{name}"] == version(name)


def test_the_package_list_names_every_distribution_once() -> None:
    lines = package_list().splitlines()
    assert f"mlflow=={version('mlflow')}" in lines
    assert len(lines) == len(set(lines))


def test_requirements_can_be_installed_from_an_index() -> None:
    lines = requirements()
    assert f"mlflow=={version('mlflow')}" in lines
    assert not any("+" in line for line in lines)


def test_it_imports_no_torch() -> None:
    code = (
        "import sys; from dlframe.tracking.provenance import provenance_tags as p; p();"
        "print(sorted({'torch', 'mlflow', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
