"""Tables as data: what all of them share, and those in a CSV or a Parquet file."""

from abc import abstractmethod
from dataclasses import dataclass
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
from dlframe.components.data.parquet_file import read_parquet
from dlframe.components.data.table_file import TableFile, rows_with_targets
from dlframe.components.data.tabular import Clip, Tabular
from dlframe.components.data.targets import encode_targets
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import Ge, Gt, Lt, Positive
from dlframe.interfaces.spec import InputKind

__all__ = ["Csv", "Parquet", "Table", "Treatment"]


Task = Literal["auto", "classification", "regression", "multilabel"]
Missing = Literal["median", "most_frequent", "drop", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How the columns of a table are read; the options of ``Csv`` of the same names explain them."""

    numerical: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    missing: Missing = "median"
    missing_target: Literal["error", "drop"] = "error"
    scaling: Literal["standard", "minmax", "robust", "none"] = "standard"
    max_categories: int = 32
    clip: Literal["none", "quantile", "iqr"] = "none"
    clip_quantile: float = 0.01
    clip_iqr: float = 3.0

    @property
    def overrides(self) -> Overrides:
        """Columns whose role is given."""
        return Overrides(tuple(self.numerical), tuple(self.categorical), tuple(self.ignore))

    def preprocessor(self) -> Tabular:
        """Return a new ``Tabular``, which finds the columns' types in the training rows."""
        return Tabular(
            overrides=self.overrides,
            missing=self.missing,
            scaling=self.scaling,
            max_categories=self.max_categories,
            clip=Clip(self.clip, self.clip_quantile, self.clip_iqr),
        )


class Table(Data):
    """Rows of numbers and categories, and one or more columns as targets.

    Args:
        name: what the table is called in messages.
        task: what the targets are for, or ``auto``.
        treatment: how columns are read.
        file: how CSV files of rows to predict are written.
    """

    input: InputKind = "features"

    def __init__(self, name: str, task: Task, treatment: Treatment, file: TableFile) -> None:
        self.name, self._task, self._treatment, self._file = name, task, treatment, file

    @abstractmethod
    def table(self) -> tuple[pd.DataFrame, list[str]]:
        """Return the whole table, and the names of the targets' columns."""

    def load(self) -> Examples:
        """Read the table and encode the targets; features stay as they are."""
        table, names = self.table()
        check_known(names, table.columns, "data.target")
        features = [name for name in table.columns if name not in names]
        keep = rows_with_targets(table, names, self._treatment.missing_target)
        keep = keep & self._rows_without_gaps(table[features])
        if not keep.any():
            raise DataError(
                f"no row of {self.name!r} is free of missing values; choose "
                "data.missing=median, or list columns with many gaps under data.ignore"
            )
        table = table[keep].reset_index(drop=True)
        if not names:
            return Examples(x=table, y=None, task="", feature_names=tuple(features))
        targets = encode_targets(table[names], self._task)
        return Examples(
            x=table[features],
            y=targets.y,
            task=targets.task,
            class_names=targets.class_names,
            feature_names=tuple(features),
            target_names=tuple(names),
        )

    def read(self, path: Path) -> Rows:
        """Read rows to predict: a CSV file, ``.parquet`` or ``.npy``."""
        if path.suffix == ".npy":
            return super().read(path)
        return read_parquet(path) if path.suffix == ".parquet" else self._file.read(path)

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Tabular``, which finds the columns' types in the training rows."""
        return self._treatment.preprocessor()

    def _rows_without_gaps(self, features: pd.DataFrame) -> NDArray[np.bool_]:
        overrides = self._treatment.overrides
        roles = infer_roles(features, overrides)
        for name in roles.numerical:
            as_numbers(features[name], texts_missing=name in overrides.numerical)
        if self._treatment.missing != "drop":
            return np.ones(len(features), dtype=np.bool_)
        used = [*roles.numerical, *roles.categorical]
        return np.asarray(features[used].notna().all(axis=1), dtype=np.bool_)


def _once(target: str | list[str] | None, overrides: Overrides) -> list[str]:
    """Return the names of the targets' columns; refuse a column that is listed twice."""
    targets = [target] if isinstance(target, str) else list(target or ())
    listed = [("target", name) for name in targets]
    for option in ("numerical", "categorical", "ignore"):
        listed += [(option, name) for name in getattr(overrides, option)]
    seen: dict[str, str] = {}
    for option, name in listed:
        if name in seen:
            raise ConfigError(
                f"the column {name!r} is listed under data.{seen[name]} and data.{option}; "
                "list it once"
            )
        seen[name] = option
    return targets


class Csv(Table):
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
        treatment = Treatment(
            numerical=numerical,
            categorical=categorical,
            ignore=ignore,
            missing=missing,
            missing_target=missing_target,
            scaling=scaling,
            max_categories=max_categories,
            clip=clip,
            clip_quantile=clip_quantile,
            clip_iqr=clip_iqr,
        )
        file = TableFile(separator, header, encoding)
        self._path, self._targets = Path(path).expanduser(), _once(target, treatment.overrides)
        super().__init__(str(self._path), task, treatment, file)

    def table(self) -> tuple[pd.DataFrame, list[str]]:
        """Read the file."""
        table = self._file.read(self._path)
        if self._targets and table.shape[1] == 1 and self._targets[0] not in table:
            raise DataError(
                f"the file {self.name!r} has the single column {table.columns[0]!r}, not the "
                f"target {self._targets[0]!r}; data.separator may be wrong"
            )
        return table, self._targets


class Parquet(Table):
    """A table from a Parquet file: one row per example, one or more columns as targets.

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

    def __init__(
        self,
        *,
        path: str,
        target: str | list[str] | None = None,
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
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
        treatment = Treatment(
            numerical=numerical,
            categorical=categorical,
            ignore=ignore,
            missing=missing,
            missing_target=missing_target,
            scaling=scaling,
            max_categories=max_categories,
            clip=clip,
            clip_quantile=clip_quantile,
            clip_iqr=clip_iqr,
        )
        self._path, self._targets = Path(path).expanduser(), _once(target, treatment.overrides)
        super().__init__(str(self._path), task, treatment, TableFile(",", True, "utf-8"))

    def table(self) -> tuple[pd.DataFrame, list[str]]:
        """Read the file."""
        return read_parquet(self._path), self._targets
