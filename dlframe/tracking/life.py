"""Whether a run is trained although nobody holds its folder, which can be a copy."""

import os
import time

from dlframe.tracking.spool import Spool

__all__ = ["may_live"]

_SILENCE = 20.0
"""Seconds; a training process gives a sign of life every five."""


def may_live(spool: Spool, claimed: int) -> bool:
    """Say so of a run that is claimed, which its process would keep others from.

    A process of this computer is looked up. Of one elsewhere, which a lock may not reach, only the last
    sign of life is known.

    Args:
        spool: the run's.
        claimed: what ``claim`` gave.

    Raises:
        sqlite3.Error: the spool cannot be read.
    """
    start = spool.latest("start")
    if start is None:
        return False
    if start.body.get("host", os.uname().nodename) != os.uname().nodename:
        return time.time() - os.fstat(claimed).st_mtime < _SILENCE
    import psutil  # here, since a training needs nothing of it

    pid = start.body.get("pid")
    if pid is None or pid == os.getpid():
        return False
    try:
        process = psutil.Process(pid)
        # A process that began later has only inherited the number.
        began_before = process.create_time() * 1000 <= start.time + 1000
        return began_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
