"""The processes of a trial, which are those of its session: found, measured and ended."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["kill", "members", "oom_kills", "resident"]

_PATIENCE = 5.0
_CGROUP = Path("/sys/fs/cgroup")


def members(session: int) -> Iterator[psutil.Process]:
    """Yield all processes that a trial has started, itself among them, but for those that have ended.

    Delivery processes, which outlive a run, have sessions of their own.
    """
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == session:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    yield process


def kill(session: int) -> None:
    """End all processes of a trial at once, but for the one that calls this."""
    end = time.monotonic() + _PATIENCE  # one that waits for a broken disk cannot end
    # Again and again, since one may have started another meanwhile.
    while time.monotonic() < end:
        found = [process for process in members(session) if process.pid != os.getpid()]
        if not found:
            return
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.005)


def resident(session: int) -> float:
    """Return the resident memory of all processes of a trial, in MiB."""
    total = 0
    for process in members(session):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 2**20


def oom_kills() -> int:
    """Return how many processes Linux has ended for want of memory in this process's control group.

    It is 0 where that cannot be known.
    """
    for path in _counters():
        with suppress(OSError, ValueError, LookupError):
            counts = dict(each.split() for each in path.read_text().splitlines())
            return int(counts["oom_kill"])
    return 0


def _counters() -> Iterator[Path]:
    """Yield where this process's control group may count; a container sees its own at the top."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if "memory" in controllers.split(","):
                top, name = _CGROUP / "memory", "memory.oom_control"
            elif not controllers:
                top, name = _CGROUP, "memory.events"
            else:
                continue
            yield top / place.lstrip("/") / name
            yield top / name
