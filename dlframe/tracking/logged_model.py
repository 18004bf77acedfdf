"""Logs checkpoints to MLflow as models: the best as code plus files, without pickle."""
# ruff: noqa: TID253  (imported by the delivery process only)

import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import (
    DatasetInput,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Run,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from dlframe.errors import StorageError
from dlframe.tracking import names, served_model
from dlframe.tracking.provenance import requirements
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import Record

__all__ = ["log_checkpoint", "log_model"]

_SERVED = "best"
_process_wide = threading.Lock()
_RECORD_TAG, _CHECKPOINT_TAG, _STEP_TAG = "dlframe.record", "dlframe.checkpoint", "dlframe.step"


def log_model(
    client: MlflowClient, run: PendingRun, record: Record, run_id: str, experiment_id: str
) -> None:
    """Log the best weights as a model that MLflow can serve, unless that was done before.

    Args:
        client: of the store.
        run: whose model it is.
        record: with the folder and the patterns of the files that go along, and with the step and the
            metrics of the weights.
        run_id: the run's id in MLflow.
        experiment_id: the experiment's.

    Raises:
        FileNotFoundError: files that the model needs are missing.
    """
    logged = _found(client, record, _SERVED, run_id, experiment_id)
    if logged is None or logged.status != LoggedModelStatus.READY:
        if logged is not None:
            client.delete_logged_model(logged.model_id)  # left half-way by a crash
        folder = run.folder / record.body["path"]
        example, signature = _described(folder / "model")
        with tempfile.TemporaryDirectory() as temporary:
            staged = Path(temporary) / "run"
            _stage(folder, staged, record.body["files"])
            logged = _create(client, run, record, _SERVED, run_id, experiment_id)
            # Logging a model is the one call that MLflow offers for the process-wide store only;
            # `mlflow.pyfunc.log_model` would want an active run besides.
            with _process_wide:
                mlflow.set_tracking_uri(run.uri)
                # Not the run's id: with that, MLflow fetches the whole history of each metric.
                Model.log(
                    artifact_path=None,
                    flavor=mlflow.pyfunc,
                    name=_SERVED,
                    model_id=logged.model_id,
                    python_model=served_model.__file__,
                    artifacts={"run": str(staged)},
                    signature=signature,
                    input_example=example,
                    pip_requirements=requirements(),
                )
    _link_result(client, run_id, logged.model_id, record.body)


def log_checkpoint(
    client: MlflowClient, run: PendingRun, record: Record, run_id: str, experiment_id: str
) -> None:
    """Log a checkpoint as a model that names the file, of which no second copy is made.

    Args:
        client: of the store.
        run: whose checkpoint it is.
        record: with the checkpoint's name, where it lies among the run's artifacts, its step and
            metrics.
        run_id: the run's id in MLflow.
        experiment_id: the experiment's.
    """
    logged = _found(client, record, record.body["name"], run_id, experiment_id)
    if logged is None:
        logged = _create(client, run, record, record.body["name"], run_id, experiment_id)
    client.set_logged_model_tags(
        logged.model_id, {"dlframe.artifact": f"runs:/{run_id}/{record.body['artifact']}"}
    )
    _link_result(client, run_id, logged.model_id, record.body)
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _found(
    client: MlflowClient, record: Record, name: str, run_id: str, experiment_id: str
) -> LoggedModel | None:
    """Return what was made of the record, or of one of the same step, before a crash."""
    same = {_CHECKPOINT_TAG: name, _STEP_TAG: str(record.body["step"])}
    for logged in client.search_logged_models(
        [experiment_id], filter_string=f"source_run_id = '{run_id}'"
    ):
        if logged.tags.get(_RECORD_TAG) == str(record.seq) or same.items() <= logged.tags.items():
            return logged
    return None


def _create(
    client: MlflowClient,
    run: PendingRun,
    record: Record,
    name: str,
    run_id: str,
    experiment_id: str,
) -> LoggedModel:
    tags = {
        _RECORD_TAG: str(record.seq),
        "dlframe.run_uid": run.info.uid,
        _CHECKPOINT_TAG: name,
        _STEP_TAG: str(record.body["step"]),
    }
    return client.create_logged_model(experiment_id, name=name, source_run_id=run_id, tags=tags)


def _link_result(client: MlflowClient, run_id: str, model_id: str, body: dict[str, Any]) -> None:
    """Make the model an output of the run, with the values that were measured of its weights."""
    step = body["step"]
    if step is None:
        return
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
    data = {tag.value: each.dataset for each in _inputs(run) for tag in each.tags}
    found: list[Metric] = []
    for key in map(names.name, body["metrics"]):
        dataset = data.get(key.partition("/")[0])
        linked = {"model_id": model_id}
        if dataset is not None:
            linked |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        # The very values and times of the run's curve, so that nothing is added to it.
        points = [p for p in client.get_metric_history(run_id, key) if p.step == step]
        found += [Metric(key, p.value, p.timestamp, step, **linked) for p in points[-1:]]
    if finite := [metric for metric in found if math.isfinite(metric.value)]:
        client.log_batch(run_id, metrics=finite)


def _inputs(run: Run) -> list[DatasetInput]:
    return run.inputs.dataset_inputs if run.inputs else []


def _stage(folder: Path, staged: Path, patterns: Iterable[str]) -> None:
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise FileNotFoundError(f"{folder} holds none of the files that a model needs")
    for path in found:
        target = staged / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, copy_function=_link)
        else:
            _link(path, target)


def _link(source: str | Path, target: str | Path) -> None:
    """Link a file, which costs nothing however large it is; copy it where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _described(folder: Path) -> tuple[NDArray[Any] | pd.DataFrame | None, ModelSignature | None]:
    """Return the example of an input, and the signature.

    Raises:
        StorageError: the files do not make one, however often it is tried.
    """
    try:
        example = _example(folder)
        return example, _signature(folder, example)
    except (MlflowException, LookupError, TypeError, ValueError) as error:
        raise StorageError(f"{folder} holds no example of the model's use ({error})") from error


def _example(folder: Path) -> NDArray[Any] | pd.DataFrame | None:
    array, table = folder / "input_example.npy", folder / "input_example.json"
    if array.exists():
        loaded: NDArray[Any] = np.load(array, allow_pickle=False)
        return loaded
    return _table(table) if table.exists() else None


def _table(path: Path) -> pd.DataFrame:
    return pd.read_json(
        StringIO(path.read_text()), orient="split", convert_dates=False, dtype=False
    )


def _signature(folder: Path, example: NDArray[Any] | pd.DataFrame | None) -> ModelSignature | None:
    output = folder / "output_example.json"
    if example is None or not output.exists():
        raise StorageError(
            f"{folder} must hold input_example.npy (or .json) and output_example.json"
        )
    signature = infer_signature(example, _table(output))
    if isinstance(example, pd.DataFrame):  # a missing value is filled in, so none is required
        optional: list[ColSpec | TensorSpec] = [
            ColSpec(c.type, c.name, required=False) for c in signature.inputs.inputs
        ]
        signature = ModelSignature(inputs=Schema(optional), outputs=signature.outputs)
    return signature
