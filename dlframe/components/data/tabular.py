"""The preprocessor of tables: gaps filled, outliers clipped, numbers scaled, categories encoded."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlframe.components.data.columns import Overrides, as_numbers, as_texts, infer_roles
from dlframe.errors import DataError
from dlframe.interfaces.data import Preprocessor, Rows

__all__ = ["Clip", "Missing", "Scaling", "Tabular"]

Missing = Literal["median", "most_frequent", "drop", "error"]
Scaling = Literal["standard", "minmax", "robust", "none"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clip:
    """Where outliers begin.

    Args:
        rule: ``none``; ``quantile``: beyond ``quantile`` from either end; ``iqr``: further than
            ``iqr`` interquartile ranges below the first or above the third quartile.
        quantile: share of the training values that is clipped at each end.
        iqr: multiple of the interquartile range.
    """

    rule: Literal["none", "quantile", "iqr"]
    quantile: float
    iqr: float

    def bounds(self, values: NDArray[np.float64]) -> tuple[float | None, float | None]:
        """Return the lowest and highest value kept, from training values without NaN.

        Where the interquartile range is zero (rare events) it says nothing, and nothing is clipped.
        """
        if self.rule == "none":
            return None, None
        if self.rule == "quantile":
            low, high = np.quantile(values, [self.quantile, 1 - self.quantile])
            return float(low), float(high)
        first, third = np.quantile(values, [0.25, 0.75])
        if first == third:
            return None, None
        reach = self.iqr * (third - first)
        return float(first - reach), float(third + reach)


@dataclass(frozen=True, slots=True)
class _Number:
    """One fitted column of numbers: ``(clip(fill(x)) - center) / scale``."""

    name: str
    low: float | None
    high: float | None
    fill: float
    center: float
    scale: float


@dataclass(frozen=True, slots=True)
class _Category:
    """One fitted column of categories: a 0/1 column for each, and one for all ``rare`` together."""

    name: str
    fill: str
    known: list[str]
    rare: list[str]


class Tabular(Preprocessor):
    """Maps a table to ``[N, F]`` float32: numbers first, then one 0/1 column per category.

    The statistics are scikit-learn's (``SimpleImputer``, ``StandardScaler``, ``MinMaxScaler``,
    ``RobustScaler``, ``OneHotEncoder``), learned from the training rows; what is kept of them are
    numbers and names, stored as JSON. Rows to transform may have their columns in any order and
    further columns, the target among them; a category that training did not see counts as rare
    where there are rare ones, and gives zeros otherwise.

    Args:
        overrides: columns whose role is given.
        missing: how gaps are filled: ``median`` (categories: the commonest), ``most_frequent``, or
            ``error``; ``drop`` leaves rows out before they come here and fills as ``median``.
        scaling: ``standard`` ``(x - mean) / std``, ``minmax`` to ``[0, 1]``, ``robust``
            ``(x - median) / IQR``, or ``none``.
        max_categories: most 0/1 columns per column; the rarest categories share the last one.
        clip: where numbers are clipped.
    """

    def __init__(
        self,
        *,
        overrides: Overrides,
        missing: Missing,
        scaling: Scaling,
        max_categories: int,
        clip: Clip,
    ) -> None:
        self._overrides = overrides
        self._missing = missing
        self._scaling = scaling
        self._max_categories = max_categories
        self._clip = clip
        self._numbers: list[_Number] = []
        self._categories: list[_Category] = []

    def fit(self, x: Rows) -> None:
        """Learn roles, fills, scales and categories from training rows.

        Columns that are left out are told once, as a warning of the log.

        Raises:
            DataError: the columns' roles cannot be found.
        """
        assert isinstance(x, pd.DataFrame), "tables are fitted by their columns' names"
        roles = infer_roles(x, self._overrides)
        if roles.free_text:
            _log.warning(
                "columns of free text or identifiers are ignored: %s; data.categorical uses them",
                ", ".join(roles.free_text),
            )
        if roles.empty:
            _log.warning("columns without values are ignored: %s", ", ".join(roles.empty))
        self._numbers = [
            self._fit_number(name, self._read_number(x, name)) for name in roles.numerical
        ]
        self._categories = [
            self._fit_category(name, self._read_category(x, name)) for name in roles.categorical
        ]

    def _fit_number(self, name: str, values: NDArray[np.float64]) -> _Number:
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

        low, high = self._clip.bounds(values[~np.isnan(values)])
        strategy = "most_frequent" if self._missing == "most_frequent" else "median"
        column = np.clip(values, low, high)[:, np.newaxis]
        imputer = SimpleImputer(strategy=strategy).fit(column)
        column, center, scale = imputer.transform(column), 0.0, 1.0
        if self._scaling == "standard":
            standard = StandardScaler().fit(column)
            center, scale = standard.mean_[0], standard.scale_[0]
        elif self._scaling == "minmax":
            minmax = MinMaxScaler().fit(column)
            center, scale = minmax.data_min_[0], 1.0 / minmax.scale_[0]
        elif self._scaling == "robust":
            robust = RobustScaler().fit(column)
            center, scale = robust.center_[0], robust.scale_[0]
        return _Number(name, low, high, float(imputer.statistics_[0]), float(center), float(scale))

    def _fit_category(self, name: str, values: NDArray[np.object_]) -> _Category:
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import OneHotEncoder

        imputer = SimpleImputer(strategy="most_frequent").fit(values[:, np.newaxis])
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=self._max_categories
        ).fit(imputer.transform(values[:, np.newaxis]))
        rare = encoder.infrequent_categories_[0]
        rare = [] if rare is None else list(rare)
        known = [category for category in encoder.categories_[0] if category not in rare]
        return _Category(name, str(imputer.statistics_[0]), known, rare)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that training used: numbers first, then categories."""
        numbers = tuple(column.name for column in self._numbers)
        return numbers + tuple(column.name for column in self._categories)

    def transform(self, x: Rows) -> Tensor:
        """Map ``N`` rows to ``[N, F]`` float32.

        Raises:
            DataError: columns are missing, or values that must be numbers are not.
        """
        names = self.columns()
        if not isinstance(x, pd.DataFrame):
            if x.ndim != 2 or x.shape[1] != len(names):
                raise DataError(
                    f"rows without column names must hold the {len(names)} columns "
                    f"{', '.join(names)} in this order; got an array of shape {list(x.shape)}"
                )
            x = pd.DataFrame(x, columns=list(names))
        missing = [name for name in names if name not in x.columns]
        if missing:
            raise DataError(
                f"the rows lack the columns {', '.join(map(repr, missing))}; training used "
                f"{', '.join(map(repr, names))}: add them, with empty values where none are known"
            )
        blocks = [self._scale(x, column) for column in self._numbers]
        blocks += [self._encode(x, column) for column in self._categories]
        return torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))

    def _read_number(self, x: pd.DataFrame, name: str) -> NDArray[np.float64]:
        values = as_numbers(x[name], texts_missing=name in self._overrides.numerical)
        self._refuse_gaps(name, np.isnan(values))
        return values

    def _read_category(self, x: pd.DataFrame, name: str) -> NDArray[np.object_]:
        values = as_texts(x[name])
        self._refuse_gaps(name, pd.isna(values))
        return values

    def _refuse_gaps(self, name: str, gaps: NDArray[np.bool_]) -> None:
        if self._missing == "error" and gaps.any():
            raise DataError(
                f"the column {name!r} has {int(gaps.sum())} missing values, first row "
                f"{int(gaps.argmax())}; fill them, or choose data.missing=median, most_frequent or "
                "drop"
            )

    def _scale(self, x: pd.DataFrame, column: _Number) -> NDArray[np.float64]:
        values = np.clip(self._read_number(x, column.name), column.low, column.high)
        values = np.where(np.isnan(values), column.fill, values)
        return ((values - column.center) / column.scale)[:, np.newaxis]

    def _encode(self, x: pd.DataFrame, column: _Category) -> NDArray[np.float64]:
        values = self._read_category(x, column.name)
        values[pd.isna(values)] = column.fill
        codes = pd.Index(column.known, dtype=object).get_indexer(pd.Index(values, dtype=object))
        width = len(column.known) + bool(column.rare)
        if column.rare:
            codes = np.where(codes < 0, len(column.known), codes)
        return np.eye(width + 1)[codes][:, :width]  # unknown, -1, picks the last row: zeros

    def save(self, path: Path) -> None:
        """Write the fitted state to the file ``path`` as JSON."""
        state = {
            "numbers": [asdict(column) for column in self._numbers],
            "categories": [asdict(column) for column in self._categories],
        }
        path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")

    def restore(self, path: Path) -> None:
        """Read the state that ``save`` wrote."""
        state = json.loads(path.read_text(encoding="utf-8"))
        self._numbers = [_Number(**column) for column in state["numbers"]]
        self._categories = [_Category(**column) for column in state["categories"]]

    def facts(self) -> Mapping[str, Any]:
        """Names of the transformed columns: ``Age``, ``Sex=female``, ``Port=(rare)``; their groups."""
        names = [column.name for column in self._numbers]
        groups = [1] * len(self._numbers)
        for column in self._categories:
            made = [f"{column.name}={category}" for category in column.known]
            made += [f"{column.name}=(rare)"] if column.rare else []
            names += made
            groups.append(len(made))
        return {"feature_names": tuple(names), "feature_groups": tuple(groups)}

    def invert(self, x: Tensor) -> Rows:
        """Map ``x[N, F]`` back to a table: numbers in their units, the likeliest of the categories."""
        values = x.detach().cpu().double().numpy()
        start = len(self._numbers)
        made: dict[str, Any] = {
            column.name: values[:, i] * column.scale + column.center
            for i, column in enumerate(self._numbers)
        }
        for column in self._categories:
            names = np.array([*column.known, *(["(rare)"] if column.rare else [])], dtype=object)
            stop = start + len(names)
            made[column.name] = names[values[:, start:stop].argmax(axis=1)]
            start = stop
        return pd.DataFrame(made)
