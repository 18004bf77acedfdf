"""One run, trained in a git work tree with changes and secrets about, and what MLflow has of it."""

import os
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from recorded_support import OVERRIDES, SECRETS, Recorded, make_work_tree

import dlframe


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Train one run and fetch what MLflow has of it."""
    place = tmp_path_factory.mktemp("recorded")
    make_work_tree(place)
    before = Path.cwd()
    os.environ["SERVICE_TOKEN"] = SECRETS["environment"]
    os.chdir(place)
    try:
        run = dlframe.train(*OVERRIDES, "tracking.sample_every=0.2")
    finally:
        os.chdir(before)
        del os.environ["SERVICE_TOKEN"]
    assert run.note is None
    assert run.mlflow_run_id is not None
    client = MlflowClient(run.tracking_uri)
    return Recorded(run, client.get_run(run.mlflow_run_id), client)
