"""Every built-in component passes the kit that plugin authors use."""

import atexit
import gzip
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dlframe import testing
from dlframe.components.data.held import hold, holding
from dlframe.plugin import BUILTIN, KINDS, registry

SUITES: Mapping[str, type[testing.ComponentTests]] = {
    suite.kind: suite
    for suite in (
        testing.ActivationTests,
        testing.ArchitectureTests,
        testing.DataTests,
        testing.InitializerTests,
        testing.LossTests,
        testing.OptimizerTests,
        testing.RegularizerTests,
        testing.SchedulerTests,
        testing.TaskTests,
    )
}


# Options are needed when classes are made, before any fixture; each test process has its own files.
FOLDER = Path(tempfile.mkdtemp(prefix="dlframe-conformance-"))
atexit.register(shutil.rmtree, FOLDER)


def _table() -> str:
    """Write a table with gaps and categories; return its path."""
    rows = ["size,colour,price"]
    for i in range(60):
        size = "" if i % 13 == 0 else f"{i % 7 + 0.5}"
        rows.append(f"{size},{('red', 'green', 'blue')[i % 3]},{3 * (i % 7) + i % 3}.25")
    path = FOLDER / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def _series() -> str:
    """Write two series of a daily wave each; return the file's path."""
    rows = ["day,shop,sold,price"]
    for i in range(60):
        day = np.datetime64("2024-01-01") + i
        rows += [f"{day},north,{10 + i % 7},{2 + i % 3}", f"{day},south,{5 + i % 5},{3 + i % 2}"]
    path = FOLDER / "series.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def _idx() -> str:
    """Write a small data set in MNIST's file format; return its folder."""
    folder, draw = FOLDER / "idx", np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for part, count in (("train", 200), ("t10k", 20)):
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(">BBBB", 0, 0, 8, values.ndim)
            header += struct.pack(f">{values.ndim}I", *values.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + values.tobytes())
    return str(folder)


_SERIES = {
    "path": _series(), "time": "day", "series": "shop", "target": "sold", "covariates": ["price"],
    "calendar": ["weekday"], "window": 8, "horizon": 3,
}  # fmt: skip


def _texts() -> str:
    """Write texts of two kinds, one of them empty; return the file's path."""
    rows = [f'"a good film, number {i % 9}",good\nno {i % 7} good at all,bad' for i in range(30)]
    path = FOLDER / "texts.csv"
    path.write_text("\n".join(["review,verdict", *rows, ",bad"]) + "\n")
    return str(path)


def _prose() -> str:
    """Write plain text; return the file's path."""
    path = FOLDER / "prose.txt"
    path.write_text("".join(f"On day {i} it was {i % 3} degrees.\n" for i in range(60)))
    return str(path)


def _images() -> str:
    """Write a folder of images in two classes; return its path."""
    folder, draw = FOLDER / "images", np.random.default_rng(0)
    for number in range(24):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    return str(folder)


def _cifar() -> str:
    """Write small batches in CIFAR-10's binary format; return their folder."""
    folder, draw = FOLDER / "cifar", np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = draw.integers(0, 256, (40, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(40) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return str(folder)


def _housing() -> str:
    """Write a small archive as that of California housing; return its folder."""
    folder, draw = FOLDER / "housing", np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    np.savetxt(folder / "cal_housing.data", draw.uniform(1, 9, (40, 9)), delimiter=",")
    with tarfile.open(folder / "cal_housing.tgz", "w:gz") as archive:
        archive.add(folder / "cal_housing.data", "CaliforniaHousing/cal_housing.data")
    return str(folder)


def _arrays() -> str:
    """Write arrays x and y into one file; return its path."""
    draw = np.random.default_rng(0)
    np.savez(FOLDER / "arrays.npz", x=draw.normal(size=(60, 7, 3)), y=np.arange(60) % 3)
    return str(FOLDER / "arrays.npz")


def _parquet() -> str:
    """Write the same table as Parquet; return its path."""
    pd.read_csv(_table()).to_parquet(FOLDER / "table.parquet")
    return str(FOLDER / "table.parquet")


def _held() -> list[str]:
    """Hold an array and a DataFrame for as long as the tests run; return their digests."""
    draw = np.random.default_rng(0)
    stay = ExitStack()
    atexit.register(stay.close)
    given = (draw.normal(size=(60, 4)), np.arange(60) % 3), (pd.read_csv(_table()), "price")
    return [stay.enter_context(holding(hold(each))) for each in given]


_HELD = _held()
_UNVERIFIED = {"download": False, "verify": False}
_IDX = {"root": _idx(), "download": False, "verify": False}
_OWN_STEP = {"test_follows_the_learning_rate": "its steps adapt on their own; lr is only the first"}
_LINEAR = {"test_overfits_one_batch": "a linear map of few numbers learns no noise by heart"}
_LINE_SEARCH = {"test_follows_the_learning_rate": "the line search finds the length of a step"}

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "architecture/dlinear": {"expected_failures": _LINEAR},
    "architecture/seasonal_naive": {"options": {"season": 3}},
    "data/california_housing": {"options": {"root": _housing(), **_UNVERIFIED}},
    "data/cifar10": {"options": {"root": _cifar(), **_UNVERIFIED}},
    "data/image_folder": {"options": {"root": _images(), "cache": False}},
    "data/npz": {"options": {"path": _arrays(), "task": "classification"}},
    "data/parquet": {"options": {"path": _parquet(), "target": "price"}},
    "data/arrays": {"options": {"content": _HELD[0]}},
    "data/frame": {"options": {"content": _HELD[1]}},
    "data/csv": {"options": {"path": _table(), "target": "price"}},
    "data/text": {"options": {"path": _prose(), "block": 32}},
    "data/text_csv": {"options": {"path": _texts(), "target": "verdict"}},
    "data/mnist": {"options": _IDX},
    "data/fashion_mnist": {"options": _IDX},
    "data/timeseries_csv": {"options": _SERIES},
    "optimizer/rprop": {"expected_failures": _OWN_STEP},
    "optimizer/lbfgs": {"expected_failures": _LINE_SEARCH},
    "regularizer/l1": {"off": {"weight": 0.0}},
    "regularizer/l2": {"off": {"weight": 0.0}},
    "regularizer/elastic_net": {"off": {"l1": 0.0, "l2": 0.0}},
    "regularizer/dropout": {"off": {"p": 0.0}},
    "regularizer/max_norm": {"off": {"max_norm": 1e6}},
    "regularizer/gradient_clipping": {"off": {"max_norm": None}},
    "regularizer/input_noise": {"off": {"std": 0.0}},
    "regularizer/augment": {"off": {"rotation": 0.0, "crop": 0}},
    "regularizer/label_smoothing": {"off": {"smoothing": 0.0}},
    "regularizer/mixup": {"off": {"alpha": 0.0}},
    "regularizer/cutmix": {"off": {"alpha": 0.0}},
    "regularizer/adversarial_training": {"off": {"epsilon": 0.0}},
}
"""Options without default, and expected failures, by kind and name."""

VARIATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Adversarial_training_pgd": (
        "regularizer/adversarial_training",
        {"options": {"method": "pgd", "steps": 2}, "off": {"epsilon": 0.0}},
    ),
    "Augment_flips": (
        "regularizer/augment",
        {"options": {"horizontal_flip": 0.5, "vertical_flip": 0.5, "noise": 0.1}},
    ),
    "Autoencoder_conv": (
        "architecture/autoencoder",
        {"options": {"kind": "conv", "channels": [4, 8]}, "inputs": ("image",)},
    ),
    "Autoencoder_sparse": (
        "architecture/autoencoder",
        {"options": {"sparsity": 0.1}, "inputs": ("features",)},
    ),
    "Autoencoder_variational": (
        "architecture/autoencoder",
        {"options": {"variational": True, "beta": 0.01}},
    ),
    "Cross_entropy_weighted": (
        "loss/cross_entropy",
        {"options": {"class_weights": "balanced", "label_smoothing": 0.05}},
    ),
    "Focal_mild": ("loss/focal", {"options": {"gamma": 1.0}}),
    "Gradient_clipping_by_value": (
        "regularizer/gradient_clipping",
        {"options": {"max_norm": None, "max_value": 0.1}, "off": {"max_value": None}},
    ),
    "Causal_transformer_rotary": (
        "architecture/causal_transformer",
        {"options": {"width": 32, "positions": "rotary", "tied": False}},
    ),
    "Mlp_batch_normalized": (
        "architecture/mlp",
        {"options": {"hidden": [32], "normalization": "batch"}},
    ),
    "Quantile_single": ("loss/quantile", {"options": {"quantiles": [0.5]}}),
    "Resnet_bottleneck": (
        "architecture/resnet",
        {"options": {"blocks": [1, 1], "block": "bottleneck", "stem": "standard"}},
    ),
    "Rnn_gru": (
        "architecture/rnn",
        {"options": {"cell": "gru", "hidden": 32, "bidirectional": True}},
    ),
    "Rnn_plain": (
        "architecture/rnn",
        {"options": {"cell": "rnn", "hidden": 32, "pooling": "mean"}},
    ),
    "Rnn_attention": (
        "architecture/rnn",
        {"options": {"hidden": 32, "pooling": "attention", "bidirectional": True}},
    ),
    "Sgd_nesterov": ("optimizer/sgd", {"options": {"momentum": 0.9, "nesterov": True}}),
    "Text_byte_pairs": (
        "data/text",
        {"options": {"path": _prose(), "block": 64, "tokenizer": "bpe", "vocabulary_size": 300}},
    ),
    "Text_csv_bytes": (
        "data/text_csv",
        {"options": {"path": _texts(), "target": "verdict", "tokenizer": "byte"}},
    ),
    "Transformer_cls": (
        "architecture/transformer",
        {"options": {"pooling": "cls", "normalization": "rms"}},
    ),
    "Vision_transformer_mean": (
        "architecture/vision_transformer",
        {"options": {"pooling": "mean", "normalization": "rms", "depth": 1}},
    ),
    "Weight_averaging_swa": (
        "regularizer/weight_averaging",
        {"options": {"method": "swa", "start": 0.5}},
    ),
}
"""Further options under which a component is tested, by the name of the test class."""


def _suite(name: str, key: str, values: Mapping[str, Any]) -> None:
    kind, _, component = key.partition("/")
    body = {"component": f"{BUILTIN}/{component}", **values, "__module__": __name__}
    globals()[f"Test{name}"] = type(f"Test{name}", (SUITES[kind],), body)


# All but the sinks, which are no part of a training; tests/tracking delivers to them.
BUILTINS = [entry for entry in registry().plugin(BUILTIN).entries if entry.kind in KINDS]

for _entry in BUILTINS:
    _key = f"{_entry.kind}/{_entry.component.name}"
    _suite(f"{_entry.kind.capitalize()}_{_entry.component.name}", _key, SETTINGS.get(_key, {}))
for _name, (_key, _values) in VARIATIONS.items():
    _suite(f"Variation_{_name}", _key, _values)


def test_settings_name_components() -> None:
    """No row of the tables above is left behind when a component is renamed."""
    known = {f"{e.kind}/{e.component.name}" for e in registry().plugin(BUILTIN).entries}
    assert set(SETTINGS) <= known
    assert {key for key, _ in VARIATIONS.values()} <= known


def test_every_builtin_has_a_suite() -> None:
    """The loop above made a class for each built-in, and each class has its kind's tests."""
    for entry in BUILTINS:
        suite = globals()[f"Test{entry.kind.capitalize()}_{entry.component.name}"]
        names = {f"test_{check.__name__}" for check in testing.checks_of(entry.kind)}
        assert suite.case().entry == entry
        assert names <= set(dir(suite))
