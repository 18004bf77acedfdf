"""Logs the trained model to MLflow as code plus files, without pickle."""
# ruff: noqa: TID253  (imported by the delivery process only)

import os
import shutil
import tempfile
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from dlframe.errors import StorageError
from dlframe.tracking import served_model
from dlframe.tracking.provenance import requirements
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import Record

__all__ = ["log_model"]

_NAME = "model"
_RECORD_TAG = "dlframe.record"


def log_model(
    client: MlflowClient, run: PendingRun, record: Record, run_id: str, experiment_id: str
) -> None:
    """Log the model of one record, unless that was done before.

    Args:
        client: of the store.
        run: whose model it is.
        record: with the folder and the patterns of the files that go along.
        run_id: the run's id in MLflow.
        experiment_id: the experiment's.

    Raises:
        FileNotFoundError: files that the model needs are missing.
    """
    folder = run.folder / record.body["path"]
    for logged in client.search_logged_models(
        [experiment_id], filter_string=f"source_run_id = '{run_id}'"
    ):
        if logged.tags.get(_RECORD_TAG) == str(record.seq):
            if logged.status == "READY":
                return
            client.delete_logged_model(logged.model_id)  # left half-way by a crash
    example = _example(folder / "model")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "run"
        _stage(folder, staged, record.body["files"])
        # Logging a model is the one call that MLflow offers for the process-wide store only;
        # `mlflow.pyfunc.log_model` would want an active run besides.
        mlflow.set_tracking_uri(run.uri)
        logged = client.create_logged_model(
            experiment_id,
            name=_NAME,
            source_run_id=run_id,
            tags={_RECORD_TAG: str(record.seq), "dlframe.run_uid": run.info.uid},
        )
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            name=_NAME,
            run_id=run_id,
            model_id=logged.model_id,
            python_model=served_model.__file__,
            artifacts={"run": str(staged)},
            signature=_signature(folder / "model", example),
            input_example=example,
            pip_requirements=requirements(),
        )


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
