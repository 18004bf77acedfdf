"""Scikit-learn's models on exactly the folds of a cross-validation that dlframe has recorded.

They learn from what a run trains and validates with, and are tested on what it is tested on.

Example:
    python benchmarks/folds_reference.py PARENT --csv titanic.csv --target Survived --ignore Name Ticket
"""

import argparse
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dlframe.analysis.resampled import summarize_folds
from dlframe.analysis.runs import read_children


def main() -> None:
    """Print mean, standard deviation and corrected interval of each model and metric."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parent", help="the parent run of the folds")
    parser.add_argument("--root", default="runs", type=Path)
    parser.add_argument("--csv", help="a table of classes; otherwise diabetes")
    parser.add_argument("--target")
    parser.add_argument("--ignore", nargs="*", default=[])
    words = parser.parse_args()
    models: dict[str, Callable[[], Any]]
    metrics: dict[str, Callable[[Any, Any], float]]
    if words.csv:
        table = pd.read_csv(words.csv).drop(columns=words.ignore)
        y = table.pop(words.target).to_numpy()
        texts = table.select_dtypes(exclude="number").columns
        x = table.astype(dict.fromkeys(texts, "category"))
        models = {"gradient boosting": lambda: HistGradientBoostingClassifier(random_state=0)}
        metrics = {"accuracy": accuracy_score}
    else:
        x, y = load_diabetes(return_X_y=True, as_frame=True)
        x, y = x.reset_index(drop=True), y.to_numpy()
        models = {
            "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 25))),
            "gradient boosting": lambda: HistGradientBoostingRegressor(random_state=0),
        }
        metrics = {"r2": r2_score, "rmse": root_mean_squared_error}
    runs, _ = read_children(words.root, words.parent)
    folds = {run.params["data.fold"]: np.load(words.root / run.id / "splits.npz") for run in runs}
    for name, model in models.items():
        values: dict[str, dict[Hashable, dict[Hashable, list[float]]]] = {
            metric: {} for metric in metrics
        }
        for fold, rows in sorted(folds.items()):
            learned = np.sort(np.concatenate([rows["train"], rows["val"]]))
            fitted = model().fit(x.iloc[learned], y[learned])
            predicted = fitted.predict(x.iloc[rows["test"]])
            for metric, measure in metrics.items():
                values[metric][fold] = {"": [float(measure(y[rows["test"]], predicted))]}
        for metric, found in values.items():
            s = summarize_folds({**found}, 1 / (len(found) - 1))
            print(f"{name}: {metric} {s.mean:.4f}, std {s.std:.4f}, [{s.low:.4f}, {s.high:.4f}]")


if __name__ == "__main__":
    main()
