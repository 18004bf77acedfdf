"""Tracking roots for the tests: delivery processes are real and are ended with the test."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tracking_support import Delivered, end_delivery

from dlframe.tracking.recorder import Recorder


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Give a fresh tracking root."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    end_delivery(folder)


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    """Record and deliver one run, to be looked at by many tests."""
    root = tmp_path_factory.mktemp("delivered") / "runs"
    began = time.time_ns() // 1_000_000
    recorder = Recorder(root, uri=None, experiment="shared", run_name="mlp-digits")
    folder = recorder.folder
    recorder.params({"lr": 0.1, "sizes": [64, 10], "on": True, "none": None, "text": "x" * 7000})
    recorder.params({f"many/p{i}": i for i in range(250)})
    recorder.params({"lr": 0.2, "late": 1})  # MLflow refuses another value of lr
    recorder.tags({"dlframe.seed": 1, "note": "y" * 9000})
    ledger = set()
    for step in range(300):
        values = {f"train/m{i}": step + i / 20 for i in range(20)}
        recorder.metrics(values, step)
        ledger |= {(key, step, value) for key, value in values.items()}
    recorder.metrics({"acc@5": 0.5, "val/nan": float("nan"), "val/inf": float("inf")}, 7)
    for context, rows in (("train", 1000), ("val", 10)):
        recorder.dataset("digits", "ab" * 32, context, "scikit-learn", profile={"rows": rows})
    (folder / "config.yaml").write_text("architecture: {component: dlframe/mlp}\nseed: 1\n")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"not needed")
    (folder / "model").mkdir()
    np.save(folder / "model" / "input_example.npy", np.zeros((2, 3), dtype=np.float32))
    (folder / "model" / "output_example.json").write_text(
        json.dumps({"columns": ["sum"], "index": [0, 1], "data": [[0.0], [0.0]]})
    )
    recorder.artifact(folder / "config.yaml", "config")
    recorder.artifact(folder / "missing.png")
    recorder.model(folder)
    recorder.finish("FINISHED")
    ended = time.time_ns() // 1_000_000
    delivery = recorder.wait(240.0)
    yield Delivered(root, folder, recorder.uid, delivery, ledger, (began, ended))
    end_delivery(root)
