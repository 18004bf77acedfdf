"""Where a run comes from: code, command, machine and package versions, as tags. Imports no torch.

Values of environment variables are never recorded; credentials are taken out of addresses.
"""

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, entry_points, version
from pathlib import Path

__all__ = [
    "code_tags",
    "machine_tags",
    "package_list",
    "provenance_tags",
    "requirements",
    "version_tags",
    "without_credentials",
]

_CORE = ("dlframe", "torch", "lightning", "mlflow")
_GIT_TIMEOUT = 5.0
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")


def provenance_tags(
    folder: Path | None = None, command: Sequence[str] | None = None
) -> dict[str, str]:
    """Return tags that say which code, command, machine and versions a run comes from.

    Args:
        folder: the working directory whose git state is recorded; None means the current one.
        command: the command line; None means this process's.
    """
    words = list(sys.argv if command is None else command)
    if words:
        words[0] = Path(words[0]).name
    line = without_credentials(shlex.join(words))
    return {
        "mlflow.source.name": line,
        "mlflow.source.type": "LOCAL",
        "dlframe.command": line,
        **code_tags(folder or Path.cwd()),
        **machine_tags(),
        **version_tags(),
    }


def code_tags(folder: Path) -> dict[str, str]:
    """Return commit, branch, remote and whether there are changes; empty where there is no git."""
    status = _git(folder, "status", "--porcelain=v2", "--branch")
    if status is None:
        return {}
    lines = status.splitlines()
    head = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    tags = {"dlframe.git.dirty": str(any(not line.startswith("#") for line in lines)).lower()}
    if not (commit := head.get("branch.oid", "(initial)")).startswith("("):
        tags["mlflow.source.git.commit"] = commit
    if not (branch := head.get("branch.head", "(detached)")).startswith("("):
        tags["mlflow.source.git.branch"] = branch
    if remote := _git(folder, "config", "--get", "remote.origin.url"):
        tags["mlflow.source.git.repoURL"] = without_credentials(remote.strip())
    return tags


def machine_tags() -> dict[str, str]:
    """Return host, platform, usable cores and, where torch is in use, the accelerators."""
    tags = {
        "dlframe.host": socket.gethostname(),
        "dlframe.platform": platform.platform(),
        "dlframe.python": platform.python_version(),
        "dlframe.cores": str(_cores()),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        count = torch.cuda.device_count()
        tags["dlframe.devices"] = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    return tags


def version_tags() -> dict[str, str]:
    """Return the versions of dlframe, torch, lightning, mlflow and of each loaded plugin."""
    from dlframe.plugin import BUILTIN, registry

    tags = {f"dlframe.version.{name}": found for name in _CORE if (found := _version(name))}
    for plugin in registry().plugins:
        if plugin.status == "ok" and plugin.name != BUILTIN:
            label = f"{plugin.distribution} {plugin.version}".strip()
            tags[f"dlframe.plugin.{plugin.name}"] = label
    return tags


def package_list() -> str:
    """Return all installed distributions as ``name==version`` lines, sorted."""
    found = {f"{d.name}=={d.version}" for d in distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def requirements() -> list[str]:
    """Return what a process needs to load a logged model: dlframe, its core, plugins; pinned."""
    plugins = {point.dist.name for point in entry_points(group="dlframe") if point.dist}
    names = [*_CORE, *sorted(plugins - set(_CORE))]
    # The local part (2.13.0+cpu) says how a wheel was built; no index serves it under that version.
    return [f"{name}=={found.partition('+')[0]}" for name in names if (found := _version(name))]


def without_credentials(text: str) -> str:
    """Return ``text`` with user names, passwords and tokens taken out of its addresses."""
    return _CREDENTIALS.sub("", text)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT,
            check=False,
            # Reading the state must not take the lock that a commit of the user's needs.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a work tree on a slow disk
        return None
    return done.stdout if done.returncode == 0 else None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
