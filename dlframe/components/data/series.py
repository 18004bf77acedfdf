"""Series read from a table: in order of time, on regular steps, without gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.columns import as_numbers
from dlframe.components.data.steps import find_step, following, grid, places, read_stamps
from dlframe.errors import DataError

__all__ = ["Calendar", "Gaps", "Layout", "Series"]

Gaps = Literal["error", "forward", "interpolate"]
Calendar = Literal["hour", "weekday", "month"]


@dataclass(frozen=True, slots=True)
class Series:
    """One series.

    Args:
        name: what the series column calls it; empty where the file holds a single one.
        stamps: of its steps ``[n]``: dates, or whole numbers.
        values: its channels ``[n, D]`` float32: targets, covariates, calendar.
    """

    name: str
    stamps: pd.Index
    values: NDArray[np.float32]

    @property
    def moments(self) -> NDArray[np.int64]:
        """Whole numbers ``[n]`` that grow with time and mean the same in all series."""
        return places(self.stamps)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a table of series are.

    Args:
        time: the column of stamps; None takes the order of the rows.
        time_format: how stamps are written; None for ISO 8601.
        series: the column that names each row's series; None for a single one.
        targets: columns to forecast.
        covariates: columns that are known of the past only.
        calendar: what of the date becomes channels: sine and cosine of its place in the day, week or
            year.
        ahead: how many steps later the calendar's date is than the row's.
        gaps: what becomes of missing steps and values.
    """

    time: str | None
    time_format: str | None
    series: str | None
    targets: tuple[str, ...]
    covariates: tuple[str, ...]
    calendar: tuple[Calendar, ...]
    ahead: int
    gaps: Gaps

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        named = [name for name in (self.time, self.series) if name is not None]
        return (*named, *self.targets, *self.covariates)

    def read(self, table: pd.DataFrame, step: str | None = None) -> tuple[list[Series], str]:
        """Return the series, in the order of their names, and their common step.

        Rows may stand in any order; each series is sorted by time. With gaps filled, a series begins
        at its first row without gaps.

        Args:
            table: the rows; other columns are not looked at.
            step: of the series that a model was trained on; None finds it.

        Raises:
            DataError: columns are missing, or values, stamps or steps are not what they must be.
        """
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise DataError(
                f"the rows lack the columns {', '.join(map(repr, missing))}; they need "
                f"{', '.join(map(repr, self.columns))}, in any order"
            )
        if table.empty:
            raise DataError("there are no rows; give those of a history")
        parts = self._by_series(table)
        stamps = {name: self._stamps(name, rows) for name, rows in parts.items()}
        ordered = {name: each.sort_values() for name, each in stamps.items()}
        if step is None:
            step = find_step(list(ordered.values())) if self.time else "1"
        made = []
        for name, rows in parts.items():
            values = self._numbers(rows)
            values.index = stamps[name]
            if self.calendar and not isinstance(values.index, pd.DatetimeIndex):
                raise DataError(
                    f"data.calendar needs dates; {self.time!r} holds numbers: state the file's "
                    "data.time_format (such as %Y%m%d), or leave data.calendar out"
                )
            made.append(self._regular(name, values.sort_index(), step))
        return made, step

    def _by_series(self, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        if self.series is None:
            return {"": table}
        unnamed = table[self.series].isna().to_numpy()
        if unnamed.any():
            raise DataError(
                f"each row needs the name of its series; {int(unnamed.sum())} of {len(table)} rows "
                f"lack one in {self.series!r}, first row {int(unnamed.argmax())}: fill them, or "
                "leave these rows out"
            )
        return {str(name): rows for name, rows in table.groupby(self.series, sort=True)}

    def _stamps(self, name: str, rows: pd.DataFrame) -> pd.Index:
        if self.time is None:
            return pd.Index(np.arange(len(rows)))
        stamps = read_stamps(rows[self.time], self.time_format)
        again = stamps.duplicated()
        if again.any():
            raise DataError(
                f"each time may occur once{_in(name)}; {stamps[again][0]} occurs "
                f"{int((stamps == stamps[again][0]).sum())} times: leave repeated rows out, or name "
                "the column that tells series apart as data.series"
            )
        return stamps

    def _numbers(self, rows: pd.DataFrame) -> pd.DataFrame:
        names = (*self.targets, *self.covariates)
        return pd.DataFrame({name: as_numbers(rows[name]) for name in names})

    def _regular(self, name: str, values: pd.DataFrame, step: str) -> Series:
        moments = grid(values.index, step)
        off = ~values.index.isin(moments)
        if off.any():
            raise DataError(
                f"times must follow the step {step} of the training data; {values.index[off][0]}"
                f"{_in(name)} is not on it: aggregate or resample the rows"
            )
        lacking = moments.difference(values.index)
        values = values.reindex(moments)
        if self.gaps == "error":
            self._refuse(name, values, lacking, step)
        elif self.gaps == "forward":
            values = values.ffill()
        else:
            values = values.interpolate("linear", limit_direction="forward")
        complete = values.notna().all(axis=1).to_numpy()
        if not complete.any():
            raise DataError(
                f"{', '.join(map(repr, values))} hold no row without gaps{_in(name)}, and before the "
                "first value nothing can be filled in; leave the columns or the series out"
            )
        values = values.iloc[int(complete.argmax()) :]  # what is filled reaches to the end
        numbers = values.to_numpy(np.float64)
        if self.calendar:
            later = following(values.index[-1], step, self.ahead)
            dates = values.index.append(later)[self.ahead :]
            numbers = np.concatenate([numbers, _calendar(dates, self.calendar)], axis=1)
        return Series(name, values.index, numbers.astype(np.float32))

    def _refuse(self, name: str, values: pd.DataFrame, lacking: pd.Index, step: str) -> None:
        remedy = "fill them, or set data.gaps=forward or interpolate"
        if len(lacking):
            raise DataError(
                f"times must follow each other in steps of {step}{_in(name)}; {len(lacking)} are "
                f"missing, first {lacking[0]}: {remedy}"
            )
        empty = values.isna()
        if empty.to_numpy().any():
            column = next(str(each) for each in values if empty[each].any())
            first = values.index[int(empty[column].to_numpy().argmax())]
            at = f"at {first}" if self.time else f"in row {first}"
            raise DataError(
                f"the column {column!r} lacks {int(empty[column].sum())} of {len(empty)} values"
                f"{_in(name)}, first {at}: {remedy}"
            )


def _in(name: str) -> str:
    return f" in the series {name!r}" if name else ""


def _calendar(dates: pd.Index, parts: Sequence[Calendar]) -> NDArray[np.float64]:
    """Return sine and cosine of each part of the dates ``[n, 2 * parts]``."""
    assert isinstance(dates, pd.DatetimeIndex)
    day = (dates - dates.normalize()) / pd.Timedelta(days=1)
    shares = {
        "hour": day,
        "weekday": (dates.day_of_week + day) / 7,
        "month": (dates.month - 1 + (dates.day - 1) / dates.days_in_month) / 12,
    }
    angles = [2 * np.pi * np.asarray(shares[part], dtype=np.float64) for part in parts]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
