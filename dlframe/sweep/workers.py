"""Signs of life that the workers of a study leave in its storage, and what can be told from them."""

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial

from dlframe.sweep.marks import OWNER, WORKER
from dlframe.sweep.snapshot import Snapshot

__all__ = ["is_alive", "is_gone", "sign_of_life"]


def sign_of_life(began: float, beat: int, *, ended: bool) -> dict[str, Any]:
    """Return what this process writes to say that it is there.

    Args:
        began: s since 1970 at which it joined the study.
        beat: number of the sign.
        ended: whether its trials are nobody's from now on.
    """
    return {
        "host": os.uname().nodename,
        "system": _system(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "began": began,
        "beat": beat,
        "at": time.time(),
        "ended": ended,
    }


def is_alive(sign: dict[str, Any]) -> bool | None:
    """Whether the process of a sign of life is there; None where that cannot be seen from here."""
    if sign["ended"]:
        return False
    if (sign["host"], sign["system"]) != (os.uname().nodename, _system()):
        return None
    # A process that began at another time has only inherited the number.
    return bool(_started(sign["pid"]) == sign["started"])


def is_gone(found: Snapshot, trial: FrozenTrial) -> bool:
    """Whether the worker is known to be gone that a trial belongs to.

    One on another machine may be gone without its being known.
    """
    sign = found.study.user_attrs.get(f"{WORKER}{trial.user_attrs.get(OWNER)}")
    return sign is not None and is_alive(sign) is False


@cache
def _system() -> str:
    """Name the set of processes that this one can see: two containers of one host have their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""


def _started(pid: int) -> float | None:
    """Return when a process began, by a clock that nobody can set where there is one; None if gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else float(fields[18])
    except OSError:
        pass
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else round(process.create_time(), 1)
    except psutil.NoSuchProcess:
        return None
