"""Delivery on request: what a crash or an outage left over, or was recorded offline or elsewhere."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from dlframe.errors import RunNotFoundError, StorageError
from dlframe.tracking.credentials import kept_apart
from dlframe.tracking.launch import ensure_delivery, resolve_uri
from dlframe.tracking.life import may_live
from dlframe.tracking.progress import Delivery, progress
from dlframe.tracking.spool import FILE, MARKER, OFFLINE, Cursor, Spool, claim
from dlframe.tracking.stores import file_of

__all__ = ["recorded_in", "release", "unusable", "wait"]

_PATIENCE = 0.5


def recorded_in(folder: Path) -> list[Path]:
    """Return the folders of the recorded runs in ``folder``, which may be a run's own.

    Raises:
        RunNotFoundError: there is none.
    """
    if (folder / FILE).is_file():
        return [folder.absolute()]
    found = sorted(path.parent.absolute() for path in folder.glob(f"*/{FILE}"))
    if not found:
        raise RunNotFoundError(
            f"{str(folder)!r} holds no recorded runs; give the folder of a run, or of several"
        )
    return found


def release(folders: Sequence[Path], uri: str | None) -> tuple[list[Path], list[str]]:
    """Have the delivery process deliver what is left of some runs.

    Args:
        folders: of the runs.
        uri: an MLflow store for them; None leaves each with its own.

    Returns:
        The folders of which something is left, and a sentence on each that cannot be used.

    Raises:
        StorageError: the delivery process cannot be started.
    """
    left: list[Path] = []
    skipped: list[str] = []
    for folder in folders:
        try:
            if _release(folder, uri):
                left.append(folder)
        except (OSError, sqlite3.Error, TypeError, ValueError, LookupError) as error:
            skipped.append(unusable(folder, error))
    for root in {folder.parent for folder in left}:
        _start(root)
    return left, skipped


def unusable(folder: Path, error: Exception) -> str:
    """Say that a run's spool cannot be used, and what to do."""
    spool = str(folder / FILE)
    if "no such table" in str(error):
        return (
            f"{spool!r} is empty, since its process died before it recorded anything; remove "
            f"{str(folder)!r}"
        )
    if isinstance(error, OSError) or "readonly" in str(error):
        return f"{spool!r} cannot be used ({error}); copy the folder to a place that can be written"
    return f"{spool!r} cannot be read ({error}); move it away or mend it"


def _release(folder: Path, uri: str | None) -> bool:
    with closing(Spool(folder)) as spool:
        if uri is not None:
            spool.redirect(kept_apart(resolve_uri(uri, folder.parent), folder.parent))
        (folder / OFFLINE).unlink(missing_ok=True)
        last, info = spool.last(), spool.info()
        if last is None:
            return False
        to = resolve_uri(info.uri, folder.parent)
        if last[1] == "finish" and spool.delivered(to) >= last[0]:
            if "mlflow" not in info.sinks or not _is_gone(to):
                return False
            spool.advance("mlflow", Cursor())  # all is delivered again
    end = time.monotonic() + _PATIENCE
    while True:
        with claim(
            folder
        ) as claimed:  # which leaves the marker that the delivery process looks for
            # That process holds the claim for a moment while it takes the marker of a run away.
            if claimed is not None or time.monotonic() > end:
                return (folder / MARKER).exists()
        time.sleep(0.01)


def _is_gone(uri: str) -> bool:
    """Whether it is a SQLite store that was deleted."""
    file = file_of(uri)
    return file is not None and not file.exists()


def _start(root: Path) -> None:
    try:
        ensure_delivery(root)
    except OSError as error:
        raise StorageError(
            f"the delivery process cannot write in {str(root)!r} ({error.strerror}); copy the "
            "folder to a place that can be written"
        ) from error


def wait(
    folders: Sequence[Path],
    patience: float,
    show: Callable[[int, str | None], object],
    *,
    most: float = math.inf,
) -> dict[Path, Delivery]:
    """Wait for the delivery of some runs, for as long as it gets on.

    Args:
        folders: of the runs.
        patience: seconds without progress after which to give up.
        show: called again and again with the number of records left and what stands in the way.
        most: seconds after which to give up even so.
    """
    best, since = -1, time.monotonic()
    end = since + most
    while True:
        found = {folder: state for folder in folders for state in _state(folder)}
        left = sum(delivery.backlog for delivery in found.values())
        if best < 0 or left < best:
            best, since = left, time.monotonic()
        done = all(d.complete and _is_over(folder) for folder, d in found.items())
        now = time.monotonic()
        if done or now - since >= patience or now >= end:
            return found
        show(left, next(filter(None, (d.error for d in found.values())), None))
        for root in {folder.parent for folder in folders}:
            _start(root)
        time.sleep(0.2)


def _state(folder: Path) -> Iterator[Delivery]:
    with closing(Spool(folder)) as spool:
        yield progress(spool, resolve_uri(spool.info().uri, folder.parent))


def _is_over(folder: Path) -> bool:
    """Whether the run has its final status, or is being trained."""
    with closing(Spool(folder)) as spool:
        last = spool.last()
        if last is None or last[1] == "finish":
            return True
        with claim(folder) as claimed:
            return claimed is None or may_live(spool, claimed)
