"""What the tests of one recorded run share: its overrides, the work tree, and the secrets about."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

import dlframe

OVERRIDES = [
    "architecture=mlp",
    "activation=gelu",
    "optimizer.lr=2e-3",
    "regularizer=[l2,dropout]",
    "regularizer.dropout.p=0.1",
    "trainer.max_epochs=4",
    "seed=3",
    "tracking.experiment=recorded",
    "+tracking.tags={purpose: test, mirror: 'https://me:url-secret-7@example.org/x'}",
]
SECRETS = {
    "environment": "environment-secret-5",
    "patch": "patch-secret-6",
    "address": "url-secret-7",
    "remote": "remote-secret-8",
    "untracked": "untracked-secret-9",
}
"""Where each secret is: none of them may be recorded."""


class Recorded(NamedTuple):
    """The run as training gave it, as MLflow has it, and a client of the store."""

    run: dlframe.Run
    found: MlflowRun
    client: MlflowClient


def git(folder: Path, *arguments: str) -> str:
    """Run git."""
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def make_work_tree(folder: Path) -> None:
    """Make a repository with a commit, a change and an untracked file."""
    git(folder, "init", "-q", "-b", "idea")
    (folder / "study.py").write_text("WIDTH = 64\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", f"https://me:{SECRETS['remote']}@example.org/a/b.git")
    changed = f"WIDTH = 128\nPASSWORD = '{SECRETS['patch']}'\nX = '{SECRETS['environment']}'\n"
    (folder / "study.py").write_text(changed)
    (folder / "notes.txt").write_text(SECRETS["untracked"])
