"""Parquet files read as tables, and what can be wrong with a table that has types of its own."""

from pathlib import Path

import numpy as np
import pandas as pd

from dlframe.errors import DataError

__all__ = ["checked_table", "read_parquet"]


def read_parquet(path: Path) -> pd.DataFrame:
    """Read all rows of a Parquet file; an index with names becomes columns.

    Raises:
        DataError: the file is missing, empty or broken, or a column holds lists or mappings.
    """
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no file"
        raise DataError(f"{kind} is at {str(path)!r}; give the path of a Parquet file")
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataError(
            f"{str(path)!r} is no Parquet file ({str(error).splitlines()[0].rstrip('.')}); write one "
            "with DataFrame.to_parquet, or use data=csv"
        ) from error
    named = [name is not None for name in table.index.names]
    if any(named):
        table = table.reset_index(level=[i for i, has in enumerate(named) if has])
    return checked_table(table.reset_index(drop=True), str(path))


def checked_table(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return a table that did not come from text, with texts as names of its columns.

    Args:
        table: of any types.
        where: what the table is called in messages.

    Raises:
        DataError: it has no rows, two columns of one name, or a column of lists or mappings.
    """
    if table.empty:
        raise DataError(f"the table {where!r} holds no rows; give one with rows")
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DataError(
            f"each column needs a name of its own; {where!r} has several named {twice[0]!r}: rename "
            "them"
        )
    for name in table.columns:
        values = table[name].dropna()
        if len(values) and isinstance(values.iloc[0], (list, dict, set, tuple, np.ndarray)):
            raise DataError(
                f"the column {name!r} of {where!r} holds a {type(values.iloc[0]).__name__} in a row; "
                "give each value a column of its own, or leave the column out"
            )
    return table
