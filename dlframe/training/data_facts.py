"""What is recorded of the data: content hash, sizes, columns and types, and how it was preprocessed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlframe.tracking.recorder import Recorder
from dlframe.tracking.redaction import redacted_values
from dlframe.tracking.whole import write_whole
from dlframe.training.prepare import Parts

__all__ = ["data_line", "record_data", "schema"]

_PREPROCESSING = "preprocessing"
_LARGEST_SCHEMA = 900_000
"""Characters that MLflow's field for the schema surely takes; the artifact holds any."""


def record_data(recorder: Recorder, parts: Parts, folder: Path) -> None:
    """Write the data's files into the run's folder, and record each part as a data set.

    Args:
        recorder: of the run.
        parts: with the data, split and preprocessed.
        folder: the run's folder; ``preprocessing`` is in it.
    """
    splits = parts.splits
    rows = {"train": splits.train.rows, "val": splits.val.rows, "test": splits.test.rows}
    columns = schema(parts)
    write_whole(folder / "splits.json", json.dumps(splits.summary, indent=1))
    write_whole(folder / "schema.json", json.dumps(columns, indent=1))
    np.savez_compressed(folder / "splits.npz", **rows)  # type: ignore[arg-type]
    preprocessing = {
        "kind": type(splits.preprocessor).__name__,
        "fitted_on": "train",
        "sha256": _digest(folder / _PREPROCESSING),
        "input_shape": list(splits.spec.input_shape),
    }
    common = {k: v for k, v in splits.summary.items() if k not in ("sizes", "class_counts")}
    for part, size in splits.summary["sizes"].items():
        counts = splits.summary["class_counts"][part]
        recorder.dataset(
            _name(parts),
            splits.summary["fingerprint"],
            part,
            _source(parts),
            schema=columns if len(json.dumps(columns)) < _LARGEST_SCHEMA else None,
            profile={
                "rows": size,
                "class_counts": counts,
                **common,
                "preprocessing": preprocessing,
            },
        )


def data_line(parts: Parts) -> str:
    """Return one line on the data, for a note."""
    spec, summary = parts.splits.spec, parts.splits.summary
    sizes = ", ".join(f"{size:,} {part}" for part, size in summary["sizes"].items())
    shape = " x ".join(map(str, spec.input_shape))
    classes = f", {len(spec.class_names)} classes" if spec.class_names else ""
    digest = summary["fingerprint"][:12]
    return (
        f"{_name(parts)}: {sizes}; inputs {shape}{classes}; fingerprint {digest}; {_source(parts)}"
    )


def schema(parts: Parts) -> dict[str, Any]:
    """Return columns and types of the raw data, as MLflow describes them.

    A table is a list of columns, the target's among them; arrays are features and targets with shapes.
    """
    example, spec = parts.splits.example, parts.splits.spec
    targets = _targets(parts)
    if isinstance(example, pd.DataFrame):
        listed = [_column(str(name), _type(dtype)) for name, dtype in example.dtypes.items()]
        return {"mlflow_colspec": [*listed, *(_column(name, kind) for name, kind in targets)]}
    y = parts.splits.train.y.numpy()
    named = spec.target_names[0] if len(spec.target_names) == 1 else "targets"
    return {
        "mlflow_tensorspec": {
            "features": json.dumps([_tensor(None, example)]),
            "targets": json.dumps([_tensor(named, y)]) if targets else None,
        }
    }


def _targets(parts: Parts) -> list[tuple[str, str]]:
    """Return name and type of each column that is to be predicted."""
    spec, y = parts.splits.spec, parts.splits.train.y
    if not spec.target_names:  # the task reads no labels, or they have no name of their own
        return [("target", "string")] if spec.class_names else []
    if y.is_floating_point():
        return [(name, "double") for name in spec.target_names]
    return [(name, "string") for name in spec.target_names]


def _column(name: str, kind: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": True}


def _type(dtype: Any) -> str:
    """Return MLflow's word for a column's type."""
    numpy_type = getattr(dtype, "numpy_dtype", dtype)  # of pandas' own types
    code = getattr(numpy_type, "kind", "O")
    size = getattr(numpy_type, "itemsize", 8)
    words = {
        "b": "boolean",
        "i": "integer" if size <= 4 else "long",
        "u": "integer" if size <= 2 else "long",
        "f": "float" if size <= 4 else "double",
        "M": "datetime",
    }
    return words.get(code, "string")


def _tensor(name: str | None, array: Any) -> dict[str, Any]:
    spec = {"dtype": array.dtype.name, "shape": [-1, *array.shape[1:]]}
    return {**({"name": name} if name else {}), "type": "tensor", "tensor-spec": spec}


def _name(parts: Parts) -> str:
    return str(parts.config["data"]["component"]).rpartition("/")[2]


def _source(parts: Parts) -> str:
    data = parts.config["data"]
    return str(redacted_values(str(data.get("path") or data.get("root") or data["component"])))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
