"""Whether the workers of a study are still there, as far as that can be told from here."""

import os

import psutil
from optuna.trial import FrozenTrial

from dlframe.sweep.marks import OWNER, WORKER
from dlframe.sweep.snapshot import Snapshot

__all__ = ["is_gone"]


def is_gone(found: Snapshot, trial: FrozenTrial) -> bool:
    """Whether the worker is known to be gone that a trial belongs to.

    One on another machine may be gone without its being known.
    """
    sign = found.study.user_attrs.get(f"{WORKER}{trial.user_attrs.get(OWNER)}")
    if sign is None:
        return False
    if sign["ended"]:
        return True
    if sign["host"] != os.uname().nodename:
        return False
    try:
        process = psutil.Process(sign["pid"])
        # A process that began at another time has only inherited the number.
        same = abs(process.create_time() - sign["started"]) < 1.0
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
