"""Any table in a CSV file, as data."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.columns import (
    Overrides,
    as_numbers,
    check_known,
    infer_roles,
)
from dlframe.components.data.table_file import TableFile, rows_with_targets
from dlframe.components.data.tabular import Clip, Tabular
from dlframe.components.data.targets import encode_targets
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import Ge, Gt, Lt, Positive
from dlframe.interfaces.spec import InputKind

__all__ = ["Csv"]


class Csv(Data):
    """A table from a CSV file: one row per example, one or more columns as targets.

    Rows become ``[F]`` float32: numbers (gaps filled, outliers clipped, scaled), then 0/1 columns
    per category, with all statistics learned from the training rows. Types are inferred: numbers
    and booleans are numerical, strings categorical; a column of which more than half of the strings
    (and more than 10) are distinct is free text or an identifier and is ignored, which the log
    tells.

    Args:
        path: the file.
        target: name of the target column, or a list of names; null for tasks without labels.
        task: what the target is for. ``auto``: strings, booleans and whole numbers with at most 20
            distinct values are classes, other numbers regression; several columns of 0 and 1 are
            labels (multilabel), several of other numbers regression.
        separator: the character between fields; ``tab`` is the tabulator.
        header: whether the first row holds the columns' names; else they are ``column_1``,
            ``column_2`` and so on, and rows to predict need every column in its place.
        encoding: the file's character encoding.
        numerical: columns to take as numbers; texts in them count as missing.
        categorical: columns whose distinct values, numbers included, are categories.
        ignore: columns to leave out.
        missing: what becomes of gaps in the features: ``median`` (of the training rows; categories:
            the commonest), ``most_frequent``, ``drop`` (leaves rows with gaps out; in rows to
            predict gaps are filled as with ``median``) or ``error``.
        missing_target: what becomes of rows without target: ``error`` or ``drop``.
        scaling: of numbers: ``standard`` (mean 0, standard deviation 1), ``minmax`` (0 to 1),
            ``robust`` (median 0, interquartile range 1) or ``none``.
        max_categories: most 0/1 columns per categorical column; the rarest share the last one.
        clip: where outliers are clipped: ``none``, ``quantile`` or ``iqr``.
        clip_quantile: with ``clip=quantile``, share of the values clipped at each end.
        clip_iqr: with ``clip=iqr``, distance from the quartiles, in interquartile ranges.

    Raises:
        ConfigError: options that exclude each other.
        DataError: the file is missing, broken, or not what the options say.
    """

    input: InputKind = "features"

    def __init__(
        self,
        *,
        path: str,
        target: str | list[str] | None = None,
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
        separator: str = ",",
        header: bool = True,
        encoding: str = "utf-8",
        numerical: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        missing: Literal["median", "most_frequent", "drop", "error"] = "median",
        missing_target: Literal["error", "drop"] = "error",
        scaling: Literal["standard", "minmax", "robust", "none"] = "standard",
        max_categories: Annotated[int, Ge(2)] = 32,
        clip: Literal["none", "quantile", "iqr"] = "none",
        clip_quantile: Annotated[float, Gt(0), Lt(0.5)] = 0.01,
        clip_iqr: Positive = 3.0,
    ) -> None:
        self._path = Path(path).expanduser()
        self._targets = [target] if isinstance(target, str) else list(target or ())
        self._task = task
        self._file = TableFile(separator, header, encoding)
        self._overrides = Overrides(tuple(numerical), tuple(categorical), tuple(ignore))
        self._missing = missing
        self._missing_target = missing_target
        self._scaling = scaling
        self._max_categories = max_categories
        self._clip = Clip(clip, clip_quantile, clip_iqr)
        listed = [("target", name) for name in self._targets]
        for option in ("numerical", "categorical", "ignore"):
            listed += [(option, name) for name in getattr(self._overrides, option)]
        seen: dict[str, str] = {}
        for option, name in listed:
            if name in seen:
                raise ConfigError(
                    f"the column {name!r} is listed under data.{seen[name]} and data.{option}; "
                    "list it once"
                )
            seen[name] = option

    def load(self) -> Examples:
        """Read the file and encode the targets; features stay as they are."""
        table = self._file.read(self._path)
        if self._targets and table.shape[1] == 1 and self._targets[0] not in table:
            raise DataError(
                f"the file {str(self._path)!r} has the single column {table.columns[0]!r}, not the "
                f"target {self._targets[0]!r}; data.separator may be wrong"
            )
        check_known(self._targets, table.columns, "data.target")
        features = [name for name in table.columns if name not in self._targets]
        keep = rows_with_targets(table, self._targets, self._missing_target)
        keep = keep & self._rows_without_gaps(table[features])
        if not keep.any():
            raise DataError(
                f"no row of {str(self._path)!r} is free of missing values; choose "
                "data.missing=median, or list columns with many gaps under data.ignore"
            )
        table = table[keep].reset_index(drop=True)
        if not self._targets:
            return Examples(x=table, y=None, task="", feature_names=tuple(features))
        targets = encode_targets(table[self._targets], self._task)
        return Examples(
            x=table[features],
            y=targets.y,
            task=targets.task,
            class_names=targets.class_names,
            feature_names=tuple(features),
            target_names=tuple(self._targets),
        )

    def read(self, path: Path) -> Rows:
        """Read rows to predict: a CSV file like that of training, ``.npy`` or ``.parquet``."""
        return super().read(path) if path.suffix in (".npy", ".parquet") else self._file.read(path)

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Tabular``, which finds the columns' types in the training rows."""
        return Tabular(
            overrides=self._overrides,
            missing=self._missing,
            scaling=self._scaling,
            max_categories=self._max_categories,
            clip=self._clip,
        )

    def _rows_without_gaps(self, features: pd.DataFrame) -> NDArray[np.bool_]:
        roles = infer_roles(features, self._overrides)
        for name in roles.numerical:
            as_numbers(features[name], texts_missing=name in self._overrides.numerical)
        if self._missing != "drop":
            return np.ones(len(features), dtype=np.bool_)
        used = [*roles.numerical, *roles.categorical]
        return np.asarray(features[used].notna().all(axis=1), dtype=np.bool_)
