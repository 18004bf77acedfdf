"""What MLflow's pages show beside a run's values: its note, output and error, and experiment tags."""
# ruff: noqa: TID253  (imported by the delivery process only)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from dlframe.tracking import note
from dlframe.tracking.console import CONSOLE
from dlframe.tracking.names import TAG_LIMIT, marker, text
from dlframe.tracking.whole import write_whole

__all__ = [
    "remove_error",
    "set_up_experiment",
    "write_console",
    "write_error",
    "write_note",
]

ERROR_TAG = "dlframe.error"
_ERROR_FILE = "error.txt"


def set_up_experiment(client: MlflowClient, experiment_id: str, tags: Mapping[str, Any]) -> None:
    """Set those tags of the experiment that nobody has set yet."""
    known = client.get_experiment(experiment_id).tags
    for key, value in tags.items():
        if key not in known:
            client.set_experiment_tag(experiment_id, key, text(value))


def remove_error(client: MlflowClient, run_id: str) -> None:
    """Take away what an earlier attempt of the run has said of its failure."""
    if ERROR_TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, ERROR_TAG)


def write_error(client: MlflowClient, run_id: str, folder: Path, error: str) -> None:
    """Tag the run with what went wrong; a long text goes whole into an artifact.

    Args:
        client: of the store.
        run_id: the run's id in MLflow.
        folder: the run's folder.
        error: the text.
    """
    said = error = text(error)
    if len(error) > TAG_LIMIT:
        before = f"{marker(len(error), _ERROR_FILE)} "
        # The end of a traceback says what happened.
        said = before + error[-(TAG_LIMIT - len(before)) :]
    client.set_tag(run_id, ERROR_TAG, said)
    if said != error:
        write_whole(folder / _ERROR_FILE, error)
        client.log_artifact(run_id, str(folder / _ERROR_FILE))


def write_console(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Send what the run has printed, which is whole only when it has ended."""
    if (folder / CONSOLE).is_file():
        client.log_artifact(run_id, str(folder / CONSOLE))


def write_note(client: MlflowClient, run_id: str, folder: Path, end: Mapping[str, Any]) -> None:
    """Write the run's note anew, now with how it ended.

    Args:
        client: of the store.
        run_id: the run's id in MLflow.
        folder: the run's folder.
        end: its ``status`` and ``error``.
    """
    facts = note.Facts.read(folder)
    if facts is None:
        return
    data = client.get_run(run_id).data
    new = text(note.render(facts, status=end["status"], error=end["error"], metrics=data.metrics))
    client.set_tag(run_id, note.TAG, note.merged(data.tags.get(note.TAG), new)[:TAG_LIMIT])
