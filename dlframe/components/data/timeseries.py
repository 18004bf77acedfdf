"""Series over time in a CSV file, as histories and what followed them."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlframe.components.data.columns import check_known
from dlframe.components.data.series import Layout, Series
from dlframe.components.data.steps import following
from dlframe.components.data.table_file import TableFile
from dlframe.components.data.windows import Windows, windows
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import PositiveInt
from dlframe.interfaces.spec import InputKind

__all__ = ["TimeSeriesCsv"]


class TimeSeriesCsv(Data):
    """One or more series in a CSV file, one row per step (and series): forecast what comes next.

    Examples are windows: ``window`` steps of all channels, ``[T, D]`` float32 (targets first, then
    covariates and calendar), ask for the ``horizon`` steps of the targets that follow, ``[C * H]``,
    channel by channel, named ``OT+1``, ``OT+2``. The parts follow each other in time, and a window
    whose targets lie in two of them is in none; histories reach back into the part before. Channels
    are standardized by the training part, all series alike.

    Rows may stand in any order. Times follow a regular step, which is found: a fixed time, working
    days, or the first or last days of months, quarters or years. To predict, give a file with
    histories: of each series the ``horizon`` steps are forecast that follow its last row.

    Args:
        path: the file.
        target: column to forecast, or a list of columns.
        time: column of times, as dates or whole numbers; null takes the order of the rows.
        time_format: how dates are written (``%d.%m.%Y %H:%M``); null takes ISO 8601. Times with a
            zone are taken to UTC.
        series: column that names each row's series, where the file holds several.
        covariates: further columns, known of the past only.
        calendar: what of the date is given too (``hour``, ``weekday``, ``month``), as sine and cosine;
            it is known of the future: each step has that of ``horizon`` steps later.
        window: steps of the history.
        horizon: steps to forecast.
        stride: steps from one window to the next.
        gaps: what becomes of missing steps and values: ``error``, ``forward`` (the last value known)
            or ``interpolate`` (a straight line, which sees the next value).
        scaling: ``standard`` (mean 0, standard deviation 1 per channel; targets likewise) or ``none``.
        train_steps: times in the training part; those after the three parts are left out. Null takes
            all before the validation part.
        validation_steps: times in the validation part; null takes the share ``validation``.
        test_steps: times in the test part, at the end; null takes the share ``test``.
        separator: the character between fields; ``tab`` is the tabulator.
        header: whether the first row holds the columns' names; else they are ``column_1``,
            ``column_2`` and so on.
        encoding: the file's character encoding.

    Raises:
        ConfigError: options that exclude each other.
        DataError: the file is missing, broken, or not what the options say.
    """

    input: InputKind = "sequence"

    def __init__(
        self,
        *,
        path: str,
        target: str | list[str],
        time: str | None = None,
        time_format: str | None = None,
        series: str | None = None,
        covariates: tuple[str, ...] = (),
        calendar: tuple[Literal["hour", "weekday", "month"], ...] = (),
        window: PositiveInt = 96,
        horizon: PositiveInt = 24,
        stride: PositiveInt = 1,
        gaps: Literal["error", "forward", "interpolate"] = "error",
        scaling: Literal["standard", "none"] = "standard",
        train_steps: PositiveInt | None = None,
        validation_steps: PositiveInt | None = None,
        test_steps: PositiveInt | None = None,
        separator: str = ",",
        header: bool = True,
        encoding: str = "utf-8",
    ) -> None:
        targets = (target,) if isinstance(target, str) else tuple(target)
        self._path = Path(path).expanduser()
        self._file = TableFile(separator, header, encoding)
        self._layout = Layout(
            time, time_format, series, targets, tuple(covariates), tuple(calendar), horizon, gaps
        )
        self._window, self._horizon, self._stride = window, horizon, stride
        self._scaling = scaling
        self._sizes = (train_steps, validation_steps, test_steps)
        self._step = ""
        columns = self._layout.columns
        if not targets:
            raise ConfigError("a forecast needs a column; name one as data.target")
        for name in columns:
            if columns.count(name) > 1:
                raise ConfigError(
                    f"the column {name!r} is named twice, under data.time, series, target or "
                    "covariates; name it once (a target's past is known without being a covariate)"
                )
        if calendar and time is None:
            raise ConfigError("data.calendar needs dates; name their column as data.time")
        if train_steps is not None and (validation_steps is None or test_steps is None):
            raise ConfigError(
                "data.train_steps needs the other two parts' sizes; set data.validation_steps and "
                "data.test_steps"
            )

    def load(self) -> Examples:
        """Read the file and cut its series into windows."""
        table = self._file.read(self._path)
        columns = [str(name) for name in table]
        for option in ("time", "series", "targets", "covariates"):
            named = getattr(self._layout, option) or ()
            option = option.removesuffix("s") if option == "targets" else option
            check_known((named,) if isinstance(named, str) else named, columns, f"data.{option}")
        found, self._step = self._layout.read(table)
        found = self._limited(found)
        count = len(self._layout.targets)
        x = [self._histories(series.values) for series in found]
        y = [self._futures(series.values[:, :count]) for series in found]
        spans = np.concatenate([self._spans(series) for series in found])
        val, test = self._parts(np.unique(np.concatenate([s.moments for s in found])), spans)
        names = [f"{t}+{h}" for t in self._layout.targets for h in range(1, self._horizon + 1)]
        return Examples(
            x=x[0] if len(x) == 1 else np.concatenate(x),
            y=np.concatenate(y),
            task="forecasting",
            target_names=tuple(names),
            val=val,
            test=test,
            spans=spans,
        )

    def read(self, path: Path) -> Rows:
        """Read histories: a CSV file like that of training, ``.npy`` windows or ``.parquet``."""
        return super().read(path) if path.suffix in (".npy", ".parquet") else self._file.read(path)

    def preprocessor(self) -> Preprocessor:
        """Return a new ``Windows``."""
        return Windows(
            self._layout,
            window=self._window,
            horizon=self._horizon,
            step=self._step,
            scaled=self._scaling == "standard",
        )

    def present(self, rows: Rows, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return forecasts with a row for each series and step: its name, its time, the targets."""
        targets = self._layout.targets
        wide = [f"{t}+{h}" for t in targets for h in range(1, self._horizon + 1)]
        if not isinstance(rows, pd.DataFrame) or list(predictions) != wide:
            return predictions
        values = predictions.to_numpy().reshape(len(predictions), len(targets), self._horizon)
        found, step = self._layout.read(rows)
        tables = []
        for series, forecast in zip(found, values, strict=True):
            stamps = following(series.stamps[-1], step, self._horizon)
            own = {} if self._layout.series is None else {self._layout.series: series.name}
            columns = dict(zip(targets, forecast, strict=True))
            tables.append(pd.DataFrame({**own, self._layout.time or "step": stamps, **columns}))
        return pd.concat(tables, ignore_index=True)

    # --- windows and parts ------------------------------------------------------------------------

    def _limited(self, found: list[Series]) -> list[Series]:
        """Leave out what comes after the parts, and refuse series that are too short."""
        clock = np.unique(np.concatenate([series.moments for series in found]))
        wanted = sum(size or 0 for size in self._sizes)
        if wanted > len(clock) or (self._sizes[0] is None and wanted == len(clock)):
            given = ", ".join(str(size) for size in self._sizes if size is not None)
            raise DataError(
                f"the parts must fit into the file's {len(clock)} times; {given} are asked for by "
                "data.train_steps, validation_steps and test_steps: lower them"
            )
        if self._sizes[0] is not None:
            end = clock[wanted - 1]
            found = [
                Series(series.name, series.stamps[kept], series.values[kept])
                for series in found
                if (kept := series.moments <= end).any()
            ]
        for series in found:
            if len(series.values) < self._window + self._horizon:
                which = f"{series.name!r} has" if series.name else "the file has"
                raise DataError(
                    f"a series needs data.window + data.horizon = {self._window + self._horizon} "
                    f"steps; {which} {len(series.values)}: lower them, or leave the series out"
                )
        return found

    def _histories(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return windows(values[: len(values) - self._horizon], self._window)[:: self._stride]

    def _futures(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        found = windows(values[self._window :], self._horizon)[:: self._stride]
        return found.transpose(0, 2, 1).reshape(len(found), -1)

    def _spans(self, series: Series) -> NDArray[np.int64]:
        asked = series.moments[self._window :]
        first = asked[: len(asked) - self._horizon + 1]
        return np.stack([first, asked[self._horizon - 1 :]], axis=1)[:: self._stride]

    def _parts(
        self, clock: NDArray[np.int64], spans: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Return the rows of the validation and test parts whose sizes are given."""
        _, validation, test = self._sizes
        first, last = spans[:, 0], spans[:, 1]
        val_rows = test_rows = None
        end = len(clock)
        if test is not None:
            end -= test
            test_rows = np.flatnonzero(first >= clock[end])
            if not len(test_rows):
                raise self._too_small("test", test)
        if validation is not None:
            if test is None:
                raise ConfigError("data.validation_steps needs data.test_steps; set both")
            within = (first >= clock[end - validation]) & (last < clock[end])
            val_rows = np.flatnonzero(within)
            if not len(val_rows):
                raise self._too_small("validation", validation)
        return val_rows, test_rows

    def _too_small(self, part: str, size: int) -> DataError:
        return DataError(
            f"each part must hold a whole window of targets; data.{part}_steps={size} holds none of "
            f"data.horizon={self._horizon} steps: raise it, or lower data.horizon or data.stride"
        )
