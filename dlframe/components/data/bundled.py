"""Small real data sets that ship inside scikit-learn: no file, no download."""

from importlib import import_module

import numpy as np

from dlframe.components.data.standardize import Standardize
from dlframe.interfaces.data import Data, Examples, Preprocessor
from dlframe.interfaces.spec import InputKind

__all__ = ["breast_cancer", "diabetes", "digits", "iris", "wine"]


def digits() -> Data:
    """Handwritten digits: 1,797 images ``[1, 8, 8]`` of 17 grey levels, standardized; 10 classes.

    Reference:
        Alpaydin and Kaynak, 1998, doi:10.24432/C50P49.
    """
    return _Bundled("load_digits", "classification", "image")


def iris() -> Data:
    """Iris flowers: 150 rows ``[4]`` of lengths and widths in cm, standardized; 3 species.

    Reference:
        Fisher, 1936, doi:10.1111/j.1469-1809.1936.tb02137.x.
    """
    return _Bundled("load_iris", "classification")


def wine() -> Data:
    """Wines of one region: 178 rows ``[13]`` of a chemical analysis, standardized; 3 cultivars.

    Reference:
        Aeberhard and Forina, 1991, doi:10.24432/C5PC7J.
    """
    return _Bundled("load_wine", "classification")


def breast_cancer() -> Data:
    """Breast tumours: 569 rows ``[30]`` of cell measures, standardized; malignant or benign.

    Reference:
        Wolberg, Mangasarian, Street and Street, 1993, doi:10.24432/C5DW2B.
    """
    return _Bundled("load_breast_cancer", "classification")


def diabetes() -> Data:
    """Diabetes patients: 442 rows ``[10]``, standardized; progression after a year, 25 to 346.

    Reference:
        Efron, Hastie, Johnstone and Tibshirani, 2004, doi:10.1214/009053604000000067.
    """
    return _Bundled("load_diabetes", "regression")


class _Bundled(Data):
    def __init__(self, loader: str, task: str, kind: InputKind = "features") -> None:
        self._loader = loader
        self._task = task
        self.input = kind

    def load(self) -> Examples:
        # Importing scikit-learn's data sets takes a second, which commands that load nothing save.
        load = getattr(import_module("sklearn.datasets"), self._loader)
        if self.input == "image":
            bunch = load()
            return Examples(
                x=bunch.images[:, np.newaxis].astype(np.float32),
                y=bunch.target.astype(np.int64),
                task=self._task,
                class_names=tuple(map(str, bunch.target_names)),
                target_names=("digit",),
            )
        if self._task == "regression":
            bunch = load(as_frame=True, scaled=False)
            return Examples(
                x=bunch.data,
                y=bunch.target.to_numpy(np.float64),
                task=self._task,
                feature_names=tuple(bunch.feature_names),
                target_names=("progression",),
            )
        bunch = load(as_frame=True)
        return Examples(
            x=bunch.data,
            y=bunch.target.to_numpy(np.int64),
            task=self._task,
            class_names=tuple(map(str, bunch.target_names)),
            feature_names=tuple(map(str, bunch.feature_names)),
            target_names=("class",),
        )

    def preprocessor(self) -> Preprocessor:
        return Standardize()
