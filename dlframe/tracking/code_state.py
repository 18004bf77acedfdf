"""The state of a git work tree: commit, branch and what is not committed. Imports no torch."""

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlframe.tracking.fingerprints import fingerprints
from dlframe.tracking.redaction import holds_secrets, redacted, without_credentials
from dlframe.tracking.whole import write_whole

__all__ = ["CodeState", "code_state"]

_TIMEOUT = 5.0
_MOST_BYTES = 1_000_000
_MOST_COMPARED = 32_000_000
_MOST_NAMES = 1000
_BYTECODE = ("__pycache__/", ".pyc")
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""What a repository without commits is compared with; git knows this object by itself."""


class _NoAnswerError(Exception):
    """Git took too long, as on a slow disk, or failed."""


@dataclass(frozen=True, kw_only=True)
class CodeState:
    """A git work tree as it was at one moment.

    Args:
        root: the work tree's top folder.
        answered: whether git said all of it, in time; if not, what it did not say is left empty.
        commit: the commit that is checked out; None before the first.
        branch: the branch; None where the head is detached.
        remote: address of ``origin`` without credentials; None where there is none.
        changed: names of tracked files that differ from the commit.
        untracked: names of files that git neither tracks nor ignores, the first thousand; Python's
            bytecode does not count.
        more_untracked: number of further ones.
        fingerprints: what tells whether a file is still the same, by name: of ``untracked`` and of
            ``left_out``.
        left_out: those of ``changed`` that are not in the patch, as their names promise secrets.
        patch: the changes as ``git apply`` takes them; secrets are taken out, so that a line that
            held one no longer is what it was.
        redacted: whether something was taken out.
        truncated: whether files were left out of the patch because it was too large.
        whole_sha256: of the whole patch where it is truncated; None where even that was too large.
    """

    root: Path
    answered: bool = True
    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    more_untracked: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    patch: str = ""
    redacted: bool = False
    truncated: bool = False
    whole_sha256: str | None = None

    @property
    def dirty(self) -> bool:
        """Whether the work tree holds anything that the commit does not."""
        return bool(self.changed or self.untracked)

    def tags(self) -> dict[str, str]:
        """Return what MLflow shows of it."""
        dirty = str(self.dirty).lower() if self.answered else None
        named = {
            "mlflow.source.git.commit": self.commit,
            "mlflow.source.git.branch": self.branch,
            "mlflow.source.git.repoURL": self.remote,
            "mlflow.source.git.dirty": dirty,
            "dlframe.git.dirty": dirty or "unknown: git gave no answer",
        }
        return {key: value for key, value in named.items() if value is not None}

    def facts(self) -> dict[str, Any]:
        """Return all but the patch as plain values, with the patch's SHA-256."""
        names = (
            "answered", "commit", "branch", "remote", "dirty", "changed", "untracked",
            "more_untracked", "fingerprints", "left_out", "redacted", "truncated", "whole_sha256",
        )  # fmt: skip
        plain = {name: getattr(self, name) for name in names}
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
    known = CodeState(root=folder)
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if top is None:
            return None
        known = replace(known, root=Path(top.rstrip("\n")))
        remote = _git(known.root, "config", "--get", "remote.origin.url")
        known = replace(
            known,
            commit=_line(_git(known.root, "rev-parse", "--quiet", "--verify", "HEAD")),
            branch=_line(_git(known.root, "symbolic-ref", "--quiet", "--short", "HEAD")),
            remote=without_credentials(remote.strip()) if remote else None,
        )
        return _with_changes(known, apart_from)
    except _NoAnswerError:
        return replace(known, answered=False)


def _with_changes(known: CodeState, apart_from: Path | None) -> CodeState:
    """Add what is not committed."""
    root, base = known.root, known.commit or _EMPTY_TREE
    paths = [":/", *_excluded(root, apart_from)]
    changed = _names(root, "diff", "--name-only", "--no-relative", "-z", base, "--", *paths)
    others = _names(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths)
    untracked = [name for name in others if not any(part in name for part in _BYTECODE)]
    left_out = tuple(name for name in changed if holds_secrets(name))
    patch = _patch(root, base, [*paths, *(f":(exclude,literal,top){n}" for n in left_out)])
    shown = _whole_files(patch).decode("utf-8", "surrogateescape")
    clean = redacted(shown)
    truncated = len(patch) > _MOST_BYTES
    compared = truncated and len(patch) <= _MOST_COMPARED
    return replace(
        known,
        changed=changed,
        untracked=tuple(untracked[:_MOST_NAMES]),
        more_untracked=max(0, len(untracked) - _MOST_NAMES),
        fingerprints=fingerprints(root, [*left_out, *untracked[:_MOST_NAMES]]),
        left_out=left_out,
        patch=clean,
        redacted=clean != shown,
        truncated=truncated,
        whole_sha256=hashlib.sha256(patch).hexdigest() if compared else None,
    )


def _line(output: str | None) -> str | None:
    return output.strip() or None if output else None


def _excluded(root: Path, folder: Path | None) -> list[str]:
    if folder is None:
        return []
    place, top = folder.resolve(), root.resolve()
    if place == top or not place.is_relative_to(top):
        return []
    return [f":(exclude,literal,top){place.relative_to(top)}"]


def _names(root: Path, *arguments: str) -> tuple[str, ...]:
    listed = _git(root, *arguments)
    if listed is None:
        raise _NoAnswerError
    return tuple(name for name in listed.split("\0") if name)


def _patch(root: Path, base: str, paths: list[str]) -> bytes:
    """Return the changes since ``base``; cut off where they are too large even to be compared."""
    # The user's own settings must not change what the patch looks like.
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--full-index",
             "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=dirty")  # fmt: skip
    found = _run(root, "diff", *plain, base, "--", *paths, most=_MOST_COMPARED + 1)
    if found is None:
        raise _NoAnswerError
    return found


def _whole_files(patch: bytes) -> bytes:
    """Return the patch up to the limit, cut off between two files."""
    if len(patch) <= _MOST_BYTES:
        return patch
    found = patch[: _MOST_BYTES + 1]
    return found[: found.rfind(b"\ndiff --git ") + 1]


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git and return what it printed; None where it failed."""
    output = _run(folder, *arguments)
    return None if output is None else output.decode("utf-8", "surrogateescape")


def _run(folder: Path, *arguments: str, most: int = -1) -> bytes | None:
    """Run git and return what it printed, of ``most`` bytes at most; None where it failed.

    Raises:
        _NoAnswerError: it did not end in time.
    """
    # Reading the state must not take the lock that a commit of the user's needs.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env=environment, process_group=0,
        )  # fmt: skip
    except OSError:  # there is no git here
        return None
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(process)

    with process:
        timer = threading.Timer(_TIMEOUT, end)
        timer.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read(most)
            cut = 0 <= most <= len(output)
            if cut:
                _end(process)
            code = process.wait()
        finally:
            timer.cancel()
    if late.is_set():
        raise _NoAnswerError
    return output if code == 0 or cut else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End git with all that it started, which would keep its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
