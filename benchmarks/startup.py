"""What starting costs: commands without torch, fifty plugins, and the way to the first step.

CPU is user and system time of the process; wall-clock time is from its start to its end. Files are in
the page cache: each command runs once before it counts. At its first step dlframe is left with
``os._exit``, which spares it the interpreter's shutdown; the imports are timed in both ways.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from measure import facts, interleaved, median, ratio, table

from dlframe.tracking.launch import LOCK

PLUGINS, EXTRA_LIMIT, FIRST_STEP_LIMIT = 50, 0.05, 1.3
LIMITS = {"--help": 0.25, "ls": 0.25, "train --cfg job": 0.8}
"""Seconds of CPU that a command may take."""

_LIGHT = """
from dlframe import Component, hookimpl

@hookimpl
def dlframe_activations():
    for number in range(4):
        yield Component(name=f"{name}_{{number}}", target="{name}_layers:Layer", summary="a layer")
"""
_FIRST_STEP = """
from dlframe import Component, hookimpl

@hookimpl
def dlframe_regularizers():
    yield Component(name="leave", target="{name}_target:Leave", summary="end at the first step")
"""
_LEAVE = """
import os
from dlframe.interfaces import Regularizer

class Leave(Regularizer):
    def __init__(self) -> None:
        pass

    def after_step(self, model):
        os._exit(0)
"""


@dataclass
class Spent:
    """Seconds of one process."""

    cpu: float
    wall: float


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/startup.py --repeats 9",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=9, help="runs of each (default: 9)")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        commands = measure_commands(Path(folder) / "plugins", repeats)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        first = measure_first_step(Path(folder), repeats)
    print(facts("torch", "lightning", "hydra-core", "dlframe"))
    print("\n" + commands + "\n\n" + first)


def measure_commands(folder: Path, repeats: int) -> str:
    """CPU of the commands that need no torch, without and with the fake plugins."""
    folder.mkdir()
    for number in range(PLUGINS):
        install(folder, f"fake{number:02}", _LIGHT)
    calls: dict[str, Callable[[], Spent]] = {}
    for command in LIMITS:
        words = [str(Path(sys.executable).with_name("dlframe")), *command.split()]
        calls[command] = partial(spend, words)
        calls[f"{command}, {PLUGINS} plugins"] = partial(spend, words, folder)
    for call in calls.values():
        call()
    found = {k: [spent.cpu for spent in v] for k, v in interleaved(calls, repeats).items()}
    rows = []
    for command, limit in LIMITS.items():
        plain, full = found[command], found[f"{command}, {PLUGINS} plugins"]
        extra = median([b - a for a, b in zip(plain, full, strict=True)])
        rows.append(
            [f"dlframe {command}", f"{median(plain):.3f}", f"{limit:.2f}", f"{extra * 1e3:+.0f}",
             f"{EXTRA_LIMIT * 1e3:.0f}"]
        )  # fmt: skip
    header = ["command", "CPU s", "limit", f"ms more with {PLUGINS} plugins", "limit "]
    return table(header, rows)


def measure_first_step(folder: Path, repeats: int) -> str:
    """Wall-clock time to the end of the first optimizer step, beside the bare imports."""
    install(folder, "first", _FIRST_STEP)
    (folder / "first_target.py").write_text(_LEAVE)
    root = folder / "runs"
    imports = [sys.executable, "-c", "import torch, lightning"]
    train = [str(Path(sys.executable).with_name("dlframe")), "train", "regularizer=[leave]"]
    train.append(f"tracking.root={root}")

    def first_step() -> Spent:
        spent = spend(train, folder)
        settle(root)
        return spent

    bare = [sys.executable, "-c", "import os, torch, lightning; os._exit(0)"]
    calls: dict[str, Callable[[], Spent]] = {
        "import torch, lightning": partial(spend, imports),
        "the same, left as abruptly as below": partial(spend, bare),
        "dlframe train, to the end of its first step": first_step,
    }
    for call in calls.values():
        call()
    found = {k: [spent.wall for spent in v] for k, v in interleaved(calls, repeats).items()}
    base, abrupt = list(found.values())[:2]
    rows = [
        [name, f"{median(times):.2f}", f"{min(times):.2f}", f"{max(times):.2f}",
         f"{ratio(times, base):.2f}", f"{ratio(times, abrupt):.2f}"]
        for name, times in found.items()
    ]  # fmt: skip
    header = ["", "wall s", "lowest", "highest", f"ratio (limit {FIRST_STEP_LIMIT})", "to row 2"]
    return table(header, rows)


def spend(words: Sequence[str], path: Path | None = None) -> Spent:
    """Run a command and return what its process, without its children, took."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    started = perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return Spent(usage.ru_utime + usage.ru_stime, wall)


def settle(root: Path) -> None:
    """Wait until the delivery process of the run has ended."""
    with open(root / LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def install(folder: Path, name: str, module: str) -> None:
    """Write a plugin as pip leaves it: a module, and its metadata."""
    (folder / f"{name}.py").write_text(module.format(name=name))
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[dlframe]\n{name} = {name}\n")


if __name__ == "__main__":
    main()
