"""What the columns of a table are: numbers, categories, or nothing to learn from."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.errors import DataError, did_you_mean

__all__ = ["Overrides", "Roles", "as_numbers", "as_texts", "check_known", "infer_roles"]

# A column of strings is free text or an identifier when it has more distinct values than the first
# number and more than the second share of its values are distinct.
_FEW_DISTINCT = 10
_MOSTLY_DISTINCT = 0.5
# Identifiers (ticket numbers) may mix numbers and texts; a smaller share of texts is a mistake.
_TEXTS_IN_IDENTIFIERS = 0.1


@dataclass(frozen=True, slots=True)
class Overrides:
    """Columns whose role the user states.

    Args:
        numerical: holds numbers; any text in it counts as missing.
        categorical: each distinct value is a category, numbers included.
        ignore: is not used.
    """

    numerical: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Roles:
    """The role of each column, in the table's order.

    Args:
        numerical: columns of numbers.
        categorical: columns of categories.
        free_text: columns left out because they hold free text or identifiers.
        empty: columns left out because they hold no values.
    """

    numerical: tuple[str, ...]
    categorical: tuple[str, ...]
    free_text: tuple[str, ...]
    empty: tuple[str, ...]


def infer_roles(x: pd.DataFrame, overrides: Overrides) -> Roles:
    """Find each column's role from its values, unless an override states it.

    Numbers and booleans are numerical, strings categorical. Strings of which more than half are
    distinct (and more than 10) are free text or identifiers.

    Raises:
        DataError: an override names no column; a column mixes numbers and texts; no column is left.
    """
    for option in ("numerical", "categorical", "ignore"):
        check_known(getattr(overrides, option), x.columns, f"data.{option}")
    found: dict[str, list[str]] = {
        "numerical": [],
        "categorical": [],
        "free_text": [],
        "empty": [],
    }
    for name in x.columns:
        if name not in overrides.ignore:
            found[_role(x[name], overrides)].append(name)
    if not found["numerical"] and not found["categorical"]:
        raise DataError(
            f"no column is left to learn from, of {x.shape[1]} without the target; list columns to "
            "use under data.numerical or data.categorical"
        )
    return Roles(**{role: tuple(names) for role, names in found.items()})


def _role(column: pd.Series, overrides: Overrides) -> str:
    name = str(column.name)
    values = column.dropna()
    numbers = _parse(values).notna()
    if values.empty:
        return "empty"
    if name in overrides.categorical:
        return "categorical"
    if name in overrides.numerical:
        if not numbers.any():
            raise DataError(
                f"data.numerical lists the column {name!r}, which holds no numbers (first value "
                f"{values.iloc[0]!r}); list it under data.categorical or data.ignore"
            )
        return "numerical"
    texts = values[~numbers]
    if texts.empty:
        return "numerical"
    diverse = texts.nunique() > max(_FEW_DISTINCT, _MOSTLY_DISTINCT * len(texts))
    if diverse and len(texts) >= _TEXTS_IN_IDENTIFIERS * len(values):
        return "free_text"
    if numbers.any():
        raise DataError(
            f"the column {name!r} mixes {int(numbers.sum())} numbers and {len(texts)} texts (first "
            f"text {texts.iloc[0]!r}); correct the file, or list the column under data.numerical "
            "(texts count as missing), data.categorical or data.ignore"
        )
    return "categorical"


def _parse(values: pd.Series) -> pd.Series:
    """Parse numbers as float64; NaN where a value is missing or no number."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(values.to_numpy(np.float64, na_value=np.nan), index=values.index)
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        return pd.Series(np.nan, index=values.index)
    return pd.to_numeric(values.astype(object), errors="coerce").astype(np.float64)


def as_numbers(column: pd.Series, *, texts_missing: bool = False) -> NDArray[np.float64]:
    """Return the column as float64 ``[N]``, NaN where a value is missing.

    Args:
        column: numbers, booleans, or strings that read as numbers.
        texts_missing: whether other strings count as missing.

    Raises:
        DataError: a value is infinite, or a string that is no number.
    """
    numbers = _parse(column)
    texts = column.notna() & numbers.isna()
    if texts.any() and not texts_missing:
        row = int(texts.to_numpy().argmax())
        raise DataError(
            f"the column {str(column.name)!r} must hold numbers; {int(texts.sum())} of "
            f"{len(column)} rows hold text, first row {row} ({column.iloc[row]!r}): correct or "
            "clear these values"
        )
    values = numbers.to_numpy(np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"the column {str(column.name)!r} must hold finite numbers; {int(infinite.sum())} "
            f"of {len(values)} rows hold infinity, first row {int(infinite.argmax())}: correct or "
            "clear these values"
        )
    return values


def as_texts(column: pd.Series) -> NDArray[np.object_]:
    """Return the column as strings, object ``[N]``, with NaN where a value is missing.

    Whole numbers are written without a decimal point, so that a gap elsewhere in the column, which
    makes pandas read integers as floats, changes no category.
    """
    texts = [np.nan if pd.isna(value) else _text(value) for value in column.tolist()]
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_known(names: Iterable[str], columns: Collection[str], option: str) -> None:
    """Refuse a name that is no column of the table.

    Raises:
        DataError: in one sentence with the nearest names.
    """
    for name in names:
        if name not in columns:
            raise DataError(
                f"{option} names the column {name!r}, which the table lacks; "
                f"{did_you_mean(name, columns)}its columns are {', '.join(map(repr, columns))}"
            )
