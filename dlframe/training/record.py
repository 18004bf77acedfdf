"""What is recorded of a run, at its start and at its end."""

import json
import sys
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dlframe.config.validate import chosen, effective
from dlframe.tracking.provenance import package_list, provenance_tags
from dlframe.tracking.recorder import Recorder
from dlframe.training.module import TrainingModule
from dlframe.training.predictor import Predictor
from dlframe.training.prepare import CHECKPOINT, Parts

__all__ = ["Context", "record_end", "record_start"]

_RECORD = (
    "config.yaml",
    "overrides.json",
    "spec.json",
    "preprocessing",
    "splits.json",
    "splits.npz",
    "packages.txt",
    "network.txt",
)
_PRIMARY = "dlframe.primary_metric"
_MODE = "dlframe.primary_mode"


class Context(TypedDict):
    """How a training came about.

    Args:
        overrides: what the user changed.
        command: the command line.
        parent: id of the multirun that it is a part of.
        again: whether it goes on with a run that was interrupted.
    """

    overrides: list[str]
    command: list[str]
    parent: str | None
    again: bool


def record_start(recorder: Recorder, parts: Parts, folder: Path, context: Context) -> None:
    """Record what decides the result: config, data, code and versions."""
    config, splits = parts.config, parts.splits
    recorder.params(effective(config))
    tags: dict[str, Any] = dict(provenance_tags(command=context["command"]))
    tags["dlframe.plugins"] = " ".join(sorted({entry.plugin for _, entry in chosen(config)}))
    size = sum(p.numel() for p in parts.network.parameters())
    tags |= {"dlframe.seed": config["seed"], "dlframe.parameters": size}
    tags |= {_PRIMARY: parts.task.monitor, _MODE: parts.task.mode}
    tags |= config["tracking"]["tags"] or {}
    recorder.tags(tags)
    (folder / "overrides.json").write_text(json.dumps(context["overrides"]))
    (folder / "packages.txt").write_text(package_list())
    (folder / "splits.json").write_text(json.dumps(splits.summary, indent=1))
    np.savez_compressed(
        folder / "splits.npz", train=splits.train.rows, val=splits.val.rows, test=splits.test.rows
    )
    (folder / "network.txt").write_text(f"{parts.network}\n\n{size} parameters\n")
    for name in _RECORD:
        recorder.artifact(folder / name, "config")
    data, summary = config["data"], splits.summary
    source = data.get("path") or data.get("root") or data["component"]
    for part, rows in summary["sizes"].items():
        recorder.dataset(
            data["component"].rpartition("/")[2],
            summary["fingerprint"],
            part,
            str(source),
            profile={"rows": rows},
        )


def record_end(
    recorder: Recorder,
    parts: Parts,
    folder: Path,
    module: TrainingModule,
    metrics: dict[str, float],
    seconds: float,
) -> None:
    """Record the result: summaries, figures, weights and the model."""
    summaries = {k: v for k, v in metrics.items() if k.startswith(("test/", "best/"))}
    recorder.metrics(summaries | {"cost/seconds": seconds}, 0)
    if module.test_outputs:
        predictions = torch.cat([p for p, _ in module.test_outputs])
        targets = torch.cat([t for _, t in module.test_outputs])
        _draw(recorder, parts, folder, predictions, targets)
    if not (folder / CHECKPOINT).is_file():
        return
    for name in (CHECKPOINT.name, "last.ckpt"):
        recorder.artifact(folder / CHECKPOINT.parent / name, "checkpoints")
    if parts.config["tracking"]["log_model"]:
        _write_example(parts, folder)
        recorder.model(folder)


def _draw(
    recorder: Recorder, parts: Parts, folder: Path, predictions: Tensor, targets: Tensor
) -> None:
    (folder / "figures").mkdir(exist_ok=True)
    try:
        for name, figure in parts.task.figures(predictions, targets).items():
            path = folder / "figures" / f"{name}.png"
            figure.savefig(path, dpi=120, bbox_inches="tight")
            recorder.artifact(path, "figures")
    except OSError:
        raise  # a full disk concerns the whole run
    except Exception as error:  # a picture is not worth a trained network
        recorder.tags({"dlframe.figures": f"not drawn: {type(error).__name__}: {error}"})
        print(f"dlframe: the figures could not be drawn: {error}", file=sys.stderr)


def _write_example(parts: Parts, folder: Path) -> None:
    """Write a few rows and their predictions, which give the MLflow model its signature."""
    place = folder / "model"
    place.mkdir(exist_ok=True)
    model = Predictor.from_folder(folder)
    rows = model.noise(5) if parts.task.from_noise else parts.splits.example
    if isinstance(rows, pd.DataFrame):
        # Those that are used, whole numbers as floating ones: prediction fills gaps, and MLflow
        # lets no whole number be missing.
        used = parts.splits.preprocessor.columns() or rows.columns
        rows = rows[list(used)]
        rows = rows.astype(dict.fromkeys(rows.select_dtypes("integer").columns, float))
    if isinstance(rows, np.ndarray):
        np.save(place / "input_example.npy", rows)
    else:
        rows.to_json(place / "input_example.json", orient="split")
    model.predict_frame(rows).to_json(place / "output_example.json", orient="split")
