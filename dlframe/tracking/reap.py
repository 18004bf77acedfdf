"""Closes runs whose process is gone: KILLED is written where RUNNING would stand for ever."""

import os
import socket
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.errors import StorageError
from dlframe.tracking.journal import recover
from dlframe.tracking.life import may_live
from dlframe.tracking.recorder import user_name
from dlframe.tracking.spool import FILE, OFFLINE, Spool, claim, entry
from dlframe.tracking.stores import asking
from dlframe.tracking.sync import release, unusable

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Left", "close_if_dead", "reap_root", "reap_store"]

_MOST = 1000
_SAID = "the training process ended without a word"
_UID_TAG, _HOST_TAG, _ERROR_TAG = "dlframe.run_uid", "dlframe.host", "dlframe.error"


@dataclass(frozen=True)
class Left:
    """A run that says RUNNING in MLflow.

    Args:
        id: the run's own id.
        closed: whether it was closed just now.
        reason: why, or why not.
    """

    id: str
    closed: bool
    reason: str


def close_if_dead(folder: Path, spool: Spool) -> bool:
    """Write the status that the training process could not write any more; return whether it was.

    Raises:
        OSError: the journal of the training process cannot be read.
        sqlite3.Error: the spool cannot be written.
    """
    with claim(folder) as claimed:
        if claimed is None:
            return False
        recover(folder, spool)
        last = spool.last()
        if last is None or last[1] == "finish":
            return False
        if may_live(spool, claimed):
            return False
        sign_of_life = os.fstat(claimed).st_mtime_ns // 1_000_000
        body = {"status": "KILLED", "error": _SAID, "presumed": True}
        spool.append([entry("finish", max(last[2], sign_of_life), body)])
        return True


def reap_root(root: Path) -> list[str]:
    """Close the runs in a tracking root whose process is gone, and have that delivered.

    Returns:
        The ids of the runs that were closed.

    Raises:
        StorageError: a spool cannot be read or written; the others have been looked after.
    """
    closed: list[Path] = []
    problems: list[str] = []
    for path in sorted(root.glob(f"*/{FILE}")):
        try:
            with closing(Spool(path.parent)) as spool:
                last = spool.last()
                # A claim leaves a file behind for the delivery process, so not for runs that ended.
                if last and last[1] != "finish" and close_if_dead(path.parent, spool):
                    closed.append(path.parent)
        except (sqlite3.Error, OSError, TypeError, ValueError, LookupError) as error:
            problems.append(unusable(path.parent, error))
    release([folder for folder in closed if not (folder / OFFLINE).exists()], None)
    if problems:
        raise StorageError(problems[0])
    return [folder.name for folder in closed]


def reap_store(uri: str, root: Path) -> list[Left]:
    """Close the runs of an MLflow store that this host recorded and whose process is gone.

    Runs with a folder in ``root`` are left to ``reap_root`` and to the delivery. Of the others, whose
    folder was removed or is elsewhere, one is taken for gone if this user recorded it on this host
    and no process of this host has its spool open.

    Args:
        uri: MLflow's tracking URI.
        root: the tracking root.

    Raises:
        StorageError: the store does not answer.
    """
    root = root.absolute()
    with asking(uri, "runs") as client:
        experiments = [each.experiment_id for each in client.search_experiments()]
        wanted = f"attributes.status = 'RUNNING' AND tags.`{_UID_TAG}` LIKE '%'"
        running = client.search_runs(experiments, wanted, max_results=_MOST) if experiments else []
        elsewhere = [run for run in running if not _is_here(run, root)]
        found = _judged(elsewhere)
        for run, left in zip(elsewhere, found, strict=True):
            if left.closed:
                client.set_tag(run.info.run_id, _ERROR_TAG, f"{_SAID} (dlframe runs reap)")
                client.set_terminated(run.info.run_id, "KILLED")
    return found


def _is_here(run: "Run", root: Path) -> bool:
    return (root / Path(run.data.tags[_UID_TAG]).name / FILE).is_file()


def _judged(runs: "Sequence[Run]") -> list[Left]:
    alive = _open_runs() if runs else {}
    host, user = socket.gethostname(), user_name()
    found = []
    for run in runs:
        tags = run.data.tags
        uid, on, by = tags[_UID_TAG], tags.get(_HOST_TAG), tags.get("mlflow.user")
        if on != host:
            reason = f"recorded on {on}" if on else "it does not say which host recorded it"
        elif by != user:
            reason = f"recorded by {by}"
        elif uid in alive:
            reason = f"process {alive[uid]} records it"
        else:
            found.append(Left(uid, closed=True, reason=_SAID))
            continue
        found.append(Left(uid, closed=False, reason=reason))
    return found


def _open_runs() -> dict[str, int]:
    """Return the ids of the runs whose spool a process of this host has open, with that process."""
    import psutil

    found: dict[str, int] = {}
    for process in psutil.process_iter():
        try:
            files = process.open_files()
        except psutil.Error:  # it has ended meanwhile, or is another user's
            continue
        for file in files:
            if Path(file.path).name == FILE:
                found[Path(file.path).parent.name] = process.pid
    return found
