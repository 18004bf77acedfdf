"""The runs that somebody names, read in full from their folders or from an MLflow store."""

from collections.abc import Sequence
from pathlib import Path

from dlframe.analysis.overview import list_root
from dlframe.analysis.runs import read_each
from dlframe.analysis.select import Selection, metrics_in, select
from dlframe.errors import StorageError
from dlframe.tracking.launch import resolve_uri

__all__ = ["read_chosen"]


def read_chosen(
    words: Sequence[str], *, root: Path, uri: str | None, experiment: str | None
) -> tuple[Selection, list[str]]:
    """Read the runs that all filters let pass, among those named or else all.

    Args:
        words: as ``select`` takes them.
        root: the folder of the runs.
        uri: an MLflow store to read instead; None reads the folder.
        experiment: name of the experiment that the runs belong to.

    Returns:
        The runs, and a sentence on each folder that cannot be read or holds a copy.

    Raises:
        StorageError: the folder is not there, or the store does not answer.
        DlframeError: as ``select`` raises.
    """
    if uri is not None:
        from dlframe.analysis.remote import read_store

        return select(read_store(resolve_uri(uri, root), experiment), words, experiment), []
    if not root.is_dir():
        raise StorageError(
            f"no folder of runs is at {str(root)!r}; say where it is with --root, or which MLflow "
            "store to read with --uri"
        )
    # Only of those that are compared, all that was recorded is read.
    listed, odd = list_root(root, metrics_in(words))
    found = select([each.run for each in reversed(listed)], words, experiment)
    runs, broken = read_each([run.folder for run in found.runs if run.folder is not None])
    return found._replace(runs=runs), odd + broken
