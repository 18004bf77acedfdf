"""CSV files read as tables, and what can be wrong with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.columns import check_known
from dlframe.errors import ConfigError, DataError

__all__ = ["TableFile", "rows_with_targets"]


@dataclass(frozen=True, slots=True)
class TableFile:
    """How a CSV file is written.

    Args:
        separator: the character between fields; ``tab`` is the tabulator.
        header: whether the first row holds the columns' names; else they are ``column_1``,
            ``column_2`` and so on.
        encoding: the character encoding.

    Raises:
        ConfigError: the separator is not one character.
    """

    separator: str
    header: bool
    encoding: str

    def __post_init__(self) -> None:
        """Refuse separators that pandas would take for a pattern."""
        if len(self._character) != 1:
            raise ConfigError(
                f"data.separator must be one character or 'tab'; got {self.separator!r}"
            )

    @property
    def _character(self) -> str:
        return "\t" if self.separator in ("tab", "\\t") else self.separator

    def read(self, path: Path, **reading: Any) -> pd.DataFrame:
        """Read all rows.

        Args:
            path: the file.
            reading: further arguments of ``pandas.read_csv``.

        Raises:
            DataError: the file is missing, empty, broken or of another encoding.
        """
        if not path.is_file():
            kind = "a directory" if path.is_dir() else "no file"
            raise DataError(f"{kind} is at {str(path)!r}; give the path of a CSV file")
        try:
            table: pd.DataFrame = pd.read_csv(
                path,
                sep=self._character,
                header=0 if self.header else None,
                encoding=self.encoding,
                skipinitialspace=True,
                low_memory=False,  # one type per column, not one per chunk
                **reading,
            )
        except pd.errors.EmptyDataError as error:
            raise DataError(f"the file {str(path)!r} is empty; give a table with rows") from error
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(
                f"the file {str(path)!r} is not {self.encoding} text; state its data.encoding"
            ) from error
        except pd.errors.ParserError as error:
            raise DataError(
                f"the file {str(path)!r} is no table with data.separator={self._character!r}: "
                f"{str(error).strip().removeprefix('Error tokenizing data. C error: ')}"
            ) from error
        if not isinstance(table.index, pd.RangeIndex):
            raise DataError(
                f"the rows of {str(path)!r} have more fields than its header; name every column, "
                "or set data.header=false"
            )
        if table.empty:
            raise DataError(
                f"the file {str(path)!r} holds a header and no rows; give one with rows"
            )
        if not self.header:
            table.columns = pd.Index([f"column_{int(i) + 1}" for i in table.columns.tolist()])
        return table

    def read_texts(self, path: Path, values: Sequence[str] = (), **reading: Any) -> pd.DataFrame:
        """Read all rows, columns as the texts that the file holds, but ``values`` by their type.

        A text such as ``NA`` or ``007`` stays as it is; an empty field is an empty text.

        Raises:
            DataError: as ``read``, or ``values`` names a column that the file lacks.
        """
        table = self.read(path, dtype=str, keep_default_na=False, **reading)
        check_known(values, table.columns, "data.target")
        if values:
            # Pandas takes gaps for gaps in all columns of a file or in none: those are read again.
            places = [list(table.columns).index(name) for name in values]
            typed = self.read(path, usecols=places, **reading)
            table = table.assign(**{name: typed[name] for name in values})
        return table


def rows_with_targets(
    table: pd.DataFrame, targets: Sequence[str], missing: Literal["error", "drop"]
) -> NDArray[np.bool_]:
    """Return which rows know all targets ``[N]``.

    Raises:
        DataError: some do not and ``missing`` is ``error``, or none does.
    """
    if not targets:
        return np.ones(len(table), dtype=np.bool_)
    complete = np.asarray(table[list(targets)].notna().all(axis=1), dtype=np.bool_)
    gaps = int((~complete).sum())
    if gaps and missing == "error":
        raise DataError(
            f"the target must be known in every row; {gaps} of {len(table)} rows lack "
            f"{' or '.join(map(repr, targets))}: fill them, or leave them out with "
            "data.missing_target=drop"
        )
    if not complete.any():
        raise DataError(
            f"the target {targets[0]!r} has no values; name another column as data.target"
        )
    return complete
