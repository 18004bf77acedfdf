"""Finds a recorded run by its id: in the tracking root without MLflow, else through MLflow."""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from dlframe.errors import RunNotFoundError, StorageError, did_you_mean
from dlframe.tracking.launch import resolve_uri
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.spool import FILE, Spool
from dlframe.tracking.stores import asking
from dlframe.tracking.sync import unusable

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = ["BROKEN", "LAST", "RecordedRun", "find_folder", "find_run", "unreadable"]

LAST = "last"
"""The word for the latest run."""
_SHORTEST = 4
_RECENT = 5
_PAGE = 1000
_UID_TAG = "dlframe.run_uid"
_DOWNLOADS = "downloads"
_CHECKPOINTS = "checkpoints"
_ELSEWHERE = "dlframe.artifact"
_UID = re.compile(r"[\w-]+")
BROKEN = (sqlite3.Error, OSError, TypeError, ValueError, LookupError)
"""What reading a damaged spool may raise."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run that was recorded.

    Args:
        id: the run's own id.
        folder: holds its ``config.yaml``, checkpoints and preprocessing.
        mlflow_run_id: its id in MLflow; None if it was not delivered yet.
        uri: MLflow's tracking URI.
        config: the config it was trained with.
    """

    id: str
    folder: Path
    mlflow_run_id: str | None
    uri: str
    config: dict[str, Any]


def find_run(name: str, root: Path, uri: str | None) -> RecordedRun:
    """Return the run that ``name`` selects.

    Args:
        name: the run's id, its beginning or end (4 characters or more), its MLflow id or the
            beginning of that, or ``last`` for the latest run here that kept its weights.
        root: the tracking root.
        uri: MLflow's tracking URI; None means the store in ``root``.

    Raises:
        RunNotFoundError: no run, or more than one, answers to the name.
        StorageError: the store does not answer.
    """
    root = root.absolute()
    folders = _folders(root)
    if name == LAST:
        return _local(_latest(folders, root), root)
    if (folder := _named(name, folders)) is not None:
        return _local(folder, root)
    if len(name) >= _SHORTEST and (uri is not None or (root / "mlflow.db").exists()):
        return _remote(name, root, resolve_uri(uri, root), folders)
    return _none(name, root, folders)


def find_folder(name: str, root: Path) -> Path:
    """Return the folder of the run that ``name`` selects, whatever is in it.

    Args:
        name: as for ``find_run``, but that ``last`` is simply the latest run.
        root: the tracking root.

    Raises:
        RunNotFoundError: no run, or more than one, answers to the name.
    """
    root = root.absolute()
    folders = _folders(root)
    if name == LAST and folders:
        return folders[max(folders)]
    return _named(name, folders) or _none(name, root, folders)


def unreadable(folder: Path, error: Exception) -> str:
    """Return what to say of a run whose spool cannot be read: its checkpoints are not lost.

    Args:
        folder: the run's folder.
        error: what came of reading.
    """
    said = unusable(folder, error)
    if not (folder / _CHECKPOINTS).is_dir():
        return said
    return (
        f"{said}: once it is away, with {FILE}-wal and {FILE}-shm, `dlframe resume {folder.name}` goes "
        "on from the run's checkpoints"
    )


def _folders(root: Path) -> dict[str, Path]:
    return {
        path.parent.name: path.parent
        for pattern in (f"*/{FILE}", "*/config.yaml")
        for path in root.glob(pattern)
    }


def _named(name: str, folders: dict[str, Path]) -> Path | None:
    found = _matching(name, folders) or _by_mlflow_id(name, folders)
    if len(found) > 1:
        _several(name, found)
    return folders[found[0]] if found else None


def _latest(folders: dict[str, Path], root: Path) -> Path:
    trained = [uid for uid in folders if (folders[uid] / _CHECKPOINTS / "best.ckpt").is_file()]
    if not trained:
        raise RunNotFoundError(
            f"no run in {str(root)!r} kept its weights yet; train one with `dlframe train`, or say "
            "where the runs are with --root"
        )
    return folders[max(trained)]


def _matching(name: str, uids: Iterable[str]) -> list[str]:
    known = sorted(uids)
    if name in known:
        return [name]
    if len(name) < _SHORTEST:
        return []
    return [uid for uid in known if uid.startswith(name) or uid.endswith(name)]


def _by_mlflow_id(name: str, folders: dict[str, Path]) -> list[str]:
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},32}}", name):
        return []
    found = []
    for uid in sorted(folders):
        try:
            if (_delivered_as(folders[uid])[0] or "").startswith(name):
                found.append(uid)
        except StorageError:  # it says nothing of the others
            continue
    return found


def _delivered_as(folder: Path) -> tuple[str | None, str | None]:
    """Return the run's id in MLflow and the URI that was asked for, as the spool knows them."""
    if not (folder / FILE).is_file():  # trained without being recorded
        return None, None
    try:
        spool = Spool(folder)
        try:
            return spool.cursor("mlflow").state.get("run_id"), spool.info().uri
        finally:
            spool.close()
    except BROKEN as error:
        raise StorageError(unreadable(folder, error)) from error


def _local(folder: Path, root: Path) -> RecordedRun:
    mlflow_run_id, uri = _delivered_as(folder)
    return RecordedRun(
        id=folder.name,
        folder=folder,
        mlflow_run_id=mlflow_run_id,
        uri=resolve_uri(uri, root),
        config=_config(folder),
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file() and _is_group(folder):
        raise RunNotFoundError(
            f"{folder.name!r} is a multirun, which has no network of its own; choose one of its runs: "
            f"`dlframe compare {folder.name}` names the best"
        )
    if not path.is_file():
        raise RunNotFoundError(
            f"run {folder.name!r} ended before its config was recorded ({str(path)!r} is missing); "
            "choose another run"
        )
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise RunNotFoundError(f"{str(path)!r} holds no config; choose another run")
    return loaded


def _is_group(folder: Path) -> bool:
    if not (folder / FILE).is_file():
        return False
    with closing(Spool(folder)) as spool:
        return spool.info().group


def _remote(name: str, root: Path, uri: str, folders: dict[str, Path]) -> RecordedRun:
    with asking(uri, f"run {name!r}") as client:
        found = _search(client, name)
        if len(found) > 1:
            _several(name, sorted(run.data.tags[_UID_TAG] for run in found))
        if not found:
            _none(name, root, folders)
        uid = found[0].data.tags[_UID_TAG]
        if not _UID.fullmatch(uid):  # it becomes a folder's name, and anyone may write a tag
            raise RunNotFoundError(
                f"the run {name!r} in {without_credentials(uri)} has no valid id ({uid!r}); choose "
                "another run"
            )
        folder = root / _DOWNLOADS / uid
        if not folder.is_dir():
            _download(client, found[0], folder)
    return RecordedRun(
        id=uid,
        folder=folder,
        mlflow_run_id=found[0].info.run_id,
        uri=uri,
        config=_config(folder),
    )


def _search(client: "MlflowClient", name: str) -> list["Run"]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    quoted = name.replace("'", "").replace("%", "").replace("_", "")
    found: dict[str, Run] = {}
    for pattern in (f"{quoted}%", f"%{quoted}") if quoted else ():
        for run in client.search_runs(experiments, f"tags.`{_UID_TAG}` LIKE '{pattern}'"):
            found[run.info.run_id] = run
    if not found:  # MLflow has no search by the beginning of its own id
        recent = client.search_runs(
            experiments, f"tags.`{_UID_TAG}` LIKE '%'", max_results=_PAGE,
            order_by=["attributes.start_time DESC"],
        )  # fmt: skip
        found = {r.info.run_id: r for r in recent if r.info.run_id.startswith(name)}
    exact = [run for run in found.values() if name in (run.data.tags[_UID_TAG], run.info.run_id)]
    return exact or list(found.values())


def _download(client: "MlflowClient", run: "Run", folder: Path) -> None:
    """Fetch the files from which the run's network is built again: they are in its logged model."""
    import tempfile

    from mlflow.artifacts import download_artifacts

    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
    )
    # Those that name a checkpoint elsewhere hold no files themselves.
    logged = [model for model in found if _ELSEWHERE not in model.tags]
    if not logged:
        raise RunNotFoundError(
            f"run {run.data.tags[_UID_TAG]!r} has no model in MLflow to build it again from; give "
            "tracking.root of the machine that trained it"
        )
    newest = max(logged, key=lambda model: int(model.creation_timestamp))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when whole: a broken download must not be taken for the run.
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fetched = download_artifacts(
            artifact_uri=f"{newest.artifact_location}/artifacts/run",
            dst_path=temporary,
            tracking_uri=client.tracking_uri,
        )
        Path(fetched).rename(folder)


def _several(name: str, found: list[str]) -> NoReturn:
    raise RunNotFoundError(
        f"{len(found)} runs answer to {name!r}: {', '.join(found[-_RECENT:])}; give more characters"
    )


def _none(name: str, root: Path, folders: dict[str, Path]) -> NoReturn:
    known = sorted(folders)
    recent = f"the latest are {', '.join(known[-_RECENT:])}" if known else "it holds no runs yet"
    short = f" (give at least {_SHORTEST} characters)" if len(name) < _SHORTEST else ""
    raise RunNotFoundError(
        f"no run answers to {name!r}{short} in {str(root)!r}; {did_you_mean(name, known)}{recent}"
    )
