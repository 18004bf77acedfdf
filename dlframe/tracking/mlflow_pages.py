"""What MLflow's pages show beside a run's values: its note, its console output, and experiment tags."""
# ruff: noqa: TID253  (imported by the delivery process only)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from dlframe.tracking import note
from dlframe.tracking.console import CONSOLE
from dlframe.tracking.names import TAG_LIMIT, text

__all__ = ["set_up_experiment", "write_end"]


def set_up_experiment(client: MlflowClient, experiment_id: str, tags: Mapping[str, Any]) -> None:
    """Set those tags of the experiment that nobody has set yet."""
    known = client.get_experiment(experiment_id).tags
    for key, value in tags.items():
        if key not in known:
            client.set_experiment_tag(experiment_id, key, text(value))


def write_end(client: MlflowClient, run_id: str, folder: Path, end: Mapping[str, Any]) -> None:
    """Send what is complete only when a run has ended: what it printed, and how it ended.

    Args:
        client: of the store.
        run_id: the run's id in MLflow.
        folder: the run's folder.
        end: its ``status`` and ``error``.
    """
    if (folder / CONSOLE).is_file():
        client.log_artifact(run_id, str(folder / CONSOLE))
    facts = note.Facts.read(folder)
    if facts is None:
        return
    data = client.get_run(run_id).data
    new = note.render(facts, status=end["status"], error=end["error"], metrics=data.metrics)
    client.set_tag(run_id, note.TAG, note.merged(data.tags.get(note.TAG), new)[:TAG_LIMIT])
