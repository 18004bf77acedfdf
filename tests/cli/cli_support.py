"""What the tests of the command line share: running it, and looking into what it recorded."""

import atexit
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from warm import Forked, Warm

from dlframe.tracking.launch import LOCK

COMMAND = [sys.executable, "-m", "dlframe"]
PATIENT = "tracking.wait=200"
"""A busy machine may take longer than the default to deliver a run, which would be said on stderr."""
QUICK = (
    "trainer.max_epochs=1", "trainer.limit_train=2", "tracking.log_model=false",
    "tracking.figures=false", PATIENT,
)  # fmt: skip


@cache
def installed() -> str:
    """A folder by which dlframe is installed as others have it, not from a work tree for editing.

    What differs in that work tree is said when a run goes on or is replayed; no test may fail because
    somebody edits it meanwhile.
    """
    folder = Path(tempfile.mkdtemp(prefix="dlframe-installed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found = distribution("dlframe")
    facts = f"dlframe-{found.version}.dist-info"
    origin = shutil.ignore_patterns("direct_url.json")
    shutil.copytree(str(found.locate_file(facts)), folder / facts, ignore=origin)
    return str(folder)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what tests of other things may have left in it."""
    foreign = ("DLFRAME_", "HYDRA_", "PYTEST_", "MLFLOW_", "_MLFLOW_", "PL_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    paths = os.pathsep.join(filter(None, (installed(), kept.get("PYTHONPATH"))))
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": paths} | changes


def warm() -> Warm:
    """The process of which ``dlframe`` and ``started`` are forked: one for each environment."""
    return _warm(tuple(sorted(environment().items())))


@cache
def _warm(variables: tuple[tuple[str, str], ...]) -> Warm:
    made = Warm(dict(variables))
    atexit.register(made.close)
    return made


@cache
def _first() -> Warm:
    return warm()


def started(*words: str, cwd: Path, group: bool = False) -> Forked:
    """Start the command line in a process that need not import anything, nor wait for that.

    Args:
        words: the command's.
        cwd: working directory.
        group: make it the leader of a process group.
    """
    return warm().start(*words, cwd=cwd, group=group)


def dlframe(*words: str, cwd: Path, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own, which is forked if no variable is to be changed."""
    if changes or environment() != _first().environment:
        return fresh(*words, cwd=cwd, **changes)
    process = started(*words, cwd=cwd)
    try:
        out, err = process.communicate(280)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def fresh(*words: str, cwd: Path, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user does: nothing is imported yet."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def one_sentence(text: str) -> str:
    """What follows ``dlframe: `` in an output that must be one line."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("dlframe: "), text
    return lines[0].removeprefix("dlframe: ")


def recorded(root: Path, query: str) -> list[tuple[Any, ...]]:
    """Query the MLflow store of a tracking root."""
    with closing(sqlite3.connect(root / "mlflow.db")) as store:
        return store.execute(query).fetchall()


def status_of(root: Path, uid: str, seconds: float = 200.0) -> str:
    """Wait until the run has ended in MLflow and return its status there."""
    query = (
        "SELECT status FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
        f"WHERE tags.key = 'dlframe.run_uid' AND tags.value = '{uid}'"
    )
    end = time.monotonic() + seconds
    found: list[tuple[Any, ...]] = []
    while time.monotonic() < end:
        if (root / "mlflow.db").exists():
            found = recorded(root, query)
            if found and found[0][0] != "RUNNING":
                break
        time.sleep(0.1)
    return str(found[0][0]) if found else "not delivered"


def runs_in(root: Path) -> list[str]:
    """The ids of the runs that left a folder."""
    return sorted(path.name for path in root.glob("[0-9]*-[0-9]*-*"))


def end_delivery(root: Path) -> None:
    """End the delivery process of ``root``, if one runs."""
    text = (root / LOCK).read_text() if (root / LOCK).exists() else ""
    if not text.strip():
        return
    command = Path(f"/proc/{int(text)}/cmdline")
    # The number may belong to another process by now.
    if command.exists() and str(root).encode() in command.read_bytes():
        os.kill(int(text), signal.SIGKILL)
