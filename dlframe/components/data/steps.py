"""When things happened: stamps read, and the regular steps that they follow."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from dlframe.errors import DataError

__all__ = ["find_step", "following", "grid", "places", "read_stamps"]

_CALENDAR = ("B", "MS", "ME", "QS", "QE", "YS", "YE")
"""Steps that are no fixed time: working days; first and last days of months, quarters, years."""
_MOST_MISSING = 1000
"""Steps per row at most; a mistaken date would else make a grid that fills the memory."""


def read_stamps(column: pd.Series, time_format: str | None) -> pd.Index:
    """Read a column of stamps: dates as ``DatetimeIndex``, in UTC where they name a zone, or int64.

    Args:
        column: dates, texts, or whole numbers that count steps (years, days of a study).
        time_format: how texts are written, in the words of ``strptime``; None takes ISO 8601.

    Raises:
        DataError: a stamp is missing or cannot be read.
    """
    name = str(column.name)
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise DataError(
            f"each row needs a time; {int(column.isna().sum())} of {len(column)} rows lack one in "
            f"{name!r}, first row {row}: fill them, or leave these rows out"
        )
    if pd.api.types.is_datetime64_any_dtype(column):
        read = column
    elif pd.api.types.is_numeric_dtype(column) and time_format is None:
        values = column.to_numpy(np.float64)
        if (values != np.floor(values)).any():
            row = int((values != np.floor(values)).argmax())
            raise DataError(
                f"times must be dates or whole numbers; {name!r} holds {values[row]} in row {row}: "
                "count steps, or write dates"
            )
        return pd.Index(values.astype(np.int64))
    else:
        texts = column.astype(str)
        read = pd.to_datetime(texts, format=time_format or "ISO8601", errors="coerce", utc=True)
        if read.isna().any():
            row = int(read.isna().to_numpy().argmax())
            wanted = f"as {time_format!r}" if time_format else "in ISO 8601 (2016-07-01 13:00:00)"
            raise DataError(
                f"times must be written {wanted}; {name!r} holds {texts.iloc[row]!r} in row {row}: "
                "state the file's data.time_format (such as %d.%m.%Y), or correct it"
            )
    if read.dt.tz is not None:
        read = read.dt.tz_convert("UTC").dt.tz_localize(None)
    return pd.DatetimeIndex(read.astype("datetime64[ns]"))


def find_step(stamps: list[pd.Index]) -> str:
    """Return the step that all series follow: a pandas frequency, or a whole number as text.

    The commonest distance, or a step of the calendar (working days, months, quarters, years): of
    those on which all stamps lie, the one that leaves the fewest gaps.

    Args:
        stamps: of each series, ascending, without duplicates.

    Raises:
        DataError: there is none.
    """
    distances = np.concatenate([np.diff(_numbers(each)) for each in stamps])
    if not len(distances):
        raise DataError("a series needs two steps or more; each of the file's has a single row")
    values, counts = np.unique(distances, return_counts=True)
    usual = int(values[counts.argmax()])
    dates = isinstance(stamps[0], pd.DatetimeIndex)
    step = str(to_offset(pd.Timedelta(usual)).freqstr) if dates else str(usual)
    fitting: dict[str, int] = {}
    for each in (step, *(_CALENDAR if dates else ())):
        grids = [grid(own, each) for own in stamps]
        if all(bool(own.isin(g).all()) for own, g in zip(stamps, grids, strict=True)):
            fitting[each] = sum(map(len, grids))
    if not fitting:
        off = next(
            own[~own.isin(grid(own, step))][0]
            for own in stamps
            if not own.isin(grid(own, step)).all()
        )
        raise DataError(
            f"times must follow a regular step; the commonest is {step}, and {off} is not on it: "
            "round the times, or aggregate the rows to a regular step"
        )
    return min(fitting.items(), key=lambda each: each[1])[0]


def grid(stamps: pd.Index, step: str) -> pd.Index:
    """Return the regular moments from the first to the last stamp.

    Raises:
        DataError: nearly all of them are missing.
    """
    reach = int(np.ptp(_numbers(stamps)))
    length = _length(step) if isinstance(stamps, pd.DatetimeIndex) else int(step)
    if reach > length * (_MOST_MISSING * len(stamps) + _MOST_MISSING):
        raise DataError(
            f"times must follow a regular step; of those in steps of {step} from {stamps[0]} to "
            f"{stamps[-1]} nearly all are missing: correct the times, or aggregate the rows"
        )
    if isinstance(stamps, pd.DatetimeIndex):
        return pd.date_range(stamps[0], stamps[-1], freq=step)
    return pd.Index(np.arange(stamps[0], stamps[-1] + 1, int(step)))


def following(last: object, step: str, count: int) -> pd.Index:
    """Return the ``count`` moments after ``last``."""
    if isinstance(last, pd.Timestamp):
        return pd.date_range(last, periods=count + 1, freq=step)[1:]
    assert isinstance(last, (int, np.integer))
    return pd.Index(last + int(step) * np.arange(1, count + 1))


def places(stamps: pd.Index) -> NDArray[np.int64]:
    """Return whole numbers that grow with time and mean the same in all series."""
    return _numbers(stamps)


def _length(step: str) -> int:
    """Return the least length of a step in nanoseconds."""
    if step in _CALENDAR:
        return int(pd.Timedelta(days=1).value)
    origin = pd.Timestamp(0)
    return int((origin + to_offset(step) - origin).value)


def _numbers(stamps: pd.Index) -> NDArray[np.int64]:
    values = stamps.to_numpy()
    return (values.astype("datetime64[ns]") if values.dtype.kind == "M" else values).astype(
        np.int64
    )
