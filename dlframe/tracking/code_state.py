"""The state of a git work tree: commit, branch and what is not committed. Imports no torch."""

import hashlib
import json
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlframe.tracking.redaction import holds_secrets, redacted, without_credentials
from dlframe.tracking.whole import write_whole

__all__ = ["CodeState", "code_state"]

_TIMEOUT = 5.0
_MOST_BYTES = 1_000_000
_MOST_NAMES = 1000
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""What a repository without commits is compared with; git knows this object by itself."""


@dataclass(frozen=True, kw_only=True)
class CodeState:
    """A git work tree as it was at one moment.

    Args:
        root: the work tree's top folder.
        commit: the commit that is checked out; None before the first.
        branch: the branch; None where the head is detached.
        remote: address of ``origin`` without credentials; None where there is none.
        changed: names of tracked files that differ from the commit.
        untracked: names of files that git neither tracks nor ignores, the first thousand.
        more_untracked: number of further ones.
        left_out: those of ``changed`` that are not in the patch, as their names promise secrets.
        patch: the changes as ``git apply`` takes them; secrets are taken out, so that a line that
            held one no longer is what it was.
        redacted: whether something was taken out.
        truncated: whether files were left out of the patch because it was too large.
    """

    root: Path
    commit: str | None
    branch: str | None
    remote: str | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    more_untracked: int
    left_out: tuple[str, ...]
    patch: str
    redacted: bool
    truncated: bool

    @property
    def dirty(self) -> bool:
        """Whether the work tree holds anything that the commit does not."""
        return bool(self.changed or self.untracked)

    def tags(self) -> dict[str, str]:
        """Return what MLflow shows of it."""
        named = {
            "mlflow.source.git.commit": self.commit,
            "mlflow.source.git.branch": self.branch,
            "mlflow.source.git.repoURL": self.remote,
            "mlflow.source.git.dirty": str(self.dirty).lower(),
            "dlframe.git.dirty": str(self.dirty).lower(),
        }
        return {key: value for key, value in named.items() if value is not None}

    def facts(self) -> dict[str, Any]:
        """Return all but the patch as plain values, with the patch's SHA-256."""
        names = ("commit", "branch", "remote", "dirty", "changed", "untracked", "more_untracked")
        plain = {
            name: getattr(self, name) for name in (*names, "left_out", "redacted", "truncated")
        }
        digest = hashlib.sha256(self.patch.encode("utf-8", "surrogateescape")).hexdigest()
        return {**plain, "patch_sha256": digest if self.patch else None}

    def write(self, folder: Path, name: str) -> None:
        """Write ``name.json`` and, where there are changes, ``name.patch`` into the folder."""
        folder.mkdir(exist_ok=True)
        write_whole(folder / f"{name}.json", json.dumps(self.facts(), indent=1))
        if self.patch:
            # Files may hold other encodings than UTF-8; their bytes come back as they were.
            patch = self.patch.encode("utf-8", "surrogateescape")
            write_whole(folder / f"{name}.patch", patch)


def code_state(folder: Path, *, apart_from: Path | None = None) -> CodeState | None:
    """Return the state of the work tree that holds ``folder``; None where there is no git.

    Args:
        folder: a folder in the work tree.
        apart_from: a folder that does not count, such as that of the runs.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    root = Path(top.rstrip("\n"))
    paths = [":/", *_excluded(root, apart_from)]
    status = _git(
        root, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--", *paths
    )
    if status is None:
        return None
    lines = [line[2:].split(" ", 1) for line in status.splitlines() if line.startswith("# ")]
    head = {words[0]: words[-1] for words in lines}
    commit = _unless_bracketed(head.get("branch.oid", "("))
    base = commit or _EMPTY_TREE
    changed = _names(root, "diff", "--name-only", "--no-relative", "-z", base, "--", *paths)
    untracked = _names(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    left_out = tuple(name for name in changed if holds_secrets(name))
    patch, truncated = _patch(
        root, base, [*paths, *(f":(exclude,literal,top){n}" for n in left_out)]
    )
    clean = redacted(patch)
    remote = _git(root, "config", "--get", "remote.origin.url")
    return CodeState(
        root=root,
        commit=commit,
        branch=_unless_bracketed(head.get("branch.head", "(")),
        remote=without_credentials(remote.strip()) if remote else None,
        changed=changed,
        untracked=untracked[:_MOST_NAMES],
        more_untracked=max(0, len(untracked) - _MOST_NAMES),
        left_out=left_out,
        patch=clean,
        redacted=clean != patch,
        truncated=truncated,
    )


def _excluded(root: Path, folder: Path | None) -> list[str]:
    if folder is None:
        return []
    place, top = folder.resolve(), root.resolve()
    if place == top or not place.is_relative_to(top):
        return []
    return [f":(exclude,literal,top){place.relative_to(top)}"]


def _unless_bracketed(text: str) -> str | None:
    """Git writes ``(initial)`` and ``(detached)`` where there is no commit or branch."""
    return None if text.startswith("(") else text


def _names(root: Path, *arguments: str) -> tuple[str, ...]:
    listed = _git(root, *arguments) or ""
    return tuple(name for name in listed.split("\0") if name)


def _patch(root: Path, base: str, paths: list[str]) -> tuple[str, bool]:
    """Return the changes since ``base``, whole files up to the limit, and whether some are missing."""
    # The user's own settings must not change what the patch looks like.
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--full-index",
             "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=dirty")  # fmt: skip
    found = _git(root, "diff", *plain, base, "--", *paths, most=_MOST_BYTES + 1)
    if found is None:
        return "", True
    if len(found.encode("utf-8", "surrogateescape")) <= _MOST_BYTES:
        return found, False
    whole = found.rfind("\ndiff --git ")
    return found[: whole + 1], True


def _git(folder: Path, *arguments: str, most: int = -1) -> str | None:
    """Run git and return what it printed, of ``most`` bytes at most; None where it failed."""
    # Reading the state must not take the lock that a commit of the user's needs.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
    except OSError:  # there is no git here
        return None
    with process:
        timer = threading.Timer(_TIMEOUT, process.kill)  # a work tree on a slow disk
        timer.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read(most)
            cut = 0 <= most <= len(output)
            if cut:
                process.kill()
            code = process.wait()
        finally:
            timer.cancel()
    return output.decode("utf-8", "surrogateescape") if code == 0 or cut else None
