"""A run's record as MLflow holds it, for machines that do not have the run's folder."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.errors import StorageError
from dlframe.tracking.earlier import METRICS
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.runs import RecordedRun
from dlframe.tracking.stores import meaning
from dlframe.tracking.whole import write_whole

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["fetch_record"]


def fetch_record(run: RecordedRun) -> None:
    """Put what a replay is compared with into the folder of a run that was found through MLflow.

    Args:
        run: whose folder holds only what its model is built from.

    Raises:
        StorageError: the store does not answer, or holds no config of the run.
    """
    if (run.folder / METRICS).is_file():
        return
    import requests
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    assert run.mlflow_run_id is not None
    client = MlflowClient(run.uri)
    try:
        for name in ("config", "code"):
            _fetch(client, run.mlflow_run_id, name, run.folder)
        keys = client.get_run(run.mlflow_run_id).data.metrics
        values = [
            (metric.key, metric.step, metric.value)
            for key in keys
            for metric in client.get_metric_history(run.mlflow_run_id, key)
        ]
    except (MlflowException, requests.RequestException, OSError) as error:
        raise StorageError(
            f"the record of run {run.id!r} cannot be fetched from {without_credentials(run.uri)}: "
            f"{meaning(str(error))}"
        ) from error
    write_whole(run.folder / METRICS, json.dumps(values))  # last: without it all is fetched anew


def _fetch(client: "MlflowClient", run_id: str, name: str, folder: Path) -> None:
    """Fetch an artifact folder; the files of ``config`` lie in the run's folder itself."""
    if not client.list_artifacts(run_id, name):
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        fetched = Path(client.download_artifacts(run_id, name, temporary))
        place = folder if name == "config" else folder / name
        shutil.copytree(fetched, place, dirs_exist_ok=True)
