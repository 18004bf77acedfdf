"""Series from CSV files: windows, parts, scaling, stamped forecasts, and what can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from dlframe.components.data.timeseries import TimeSeriesCsv
from dlframe.errors import ConfigError, DataError
from dlframe.interfaces import DataOptions
from dlframe.training.splits import Splits, load_splits

Table = dict[str, Any]


def hourly(count: int = 60, **columns: Any) -> Table:
    """Hourly steps from a Friday on, with a wave to forecast."""
    stamps = pd.date_range("2016-07-01", periods=count, freq="h").astype(str)
    wave = 20 + np.sin(np.arange(count) / 4) + np.arange(count) / 50
    return {"date": list(stamps), "OT": wave.round(4), **columns}


def written(folder: Path, table: Table | pd.DataFrame) -> str:
    path = folder / "series.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return str(path)


def made(folder: Path, table: Table | pd.DataFrame, **options: Any) -> TimeSeriesCsv:
    options = {"target": "OT", "time": "date", "window": 8, "horizon": 3, **options}
    return TimeSeriesCsv(path=written(folder, table), **options)


def split(data: TimeSeriesCsv, **options: Any) -> Splits:
    options = {"batch_size": "all", **options}
    return load_splits(data, DataOptions(**options), "forecasting", unsupervised=False)


def two_shops(count: int = 40) -> pd.DataFrame:
    """Two daily series of different length and level in one file."""
    days = pd.date_range("2024-01-01", periods=count).astype(str)
    north = {"day": days, "shop": "north", "sold": 100 + np.arange(count) % 7, "price": 2.5}
    south = {"day": days[5:], "shop": "south", "sold": np.arange(count)[5:] % 5, "price": 1.5}
    return pd.concat([pd.DataFrame(north), pd.DataFrame(south)], ignore_index=True)


SHOPS = {"target": "sold", "time": "day", "series": "shop", "window": 6, "horizon": 2}


# --- windows and parts ---


def test_electricity_transformer_has_the_usual_parts(shared_data: Path) -> None:
    """12, 4 and 4 months of 30 days of ETTh1, as the literature divides and scales it."""
    table = pd.read_csv(shared_data / "ETTh1.csv")
    sizes: dict[str, Any] = {"train_steps": 8640, "validation_steps": 2880, "test_steps": 2880}
    data = TimeSeriesCsv(
        path=str(shared_data / "ETTh1.csv"),
        time="date",
        target="OT",
        window=336,
        horizon=96,
        **sizes,
    )
    found = split(data)
    assert found.summary["sizes"] == {"train": 8640 - 336 - 95, "val": 2785, "test": 2785}
    values = table["OT"].to_numpy(np.float32)
    for part, end in ((found.train, 8640), (found.val, 11520), (found.test, 14400)):
        np.testing.assert_array_equal(part.y[-1], values[end - 96 : end])
    np.testing.assert_array_equal(found.test.y[0], values[11520 : 11520 + 96])
    known = StandardScaler().fit(table[["OT"]].to_numpy()[: 8640 - 96])
    np.testing.assert_allclose(found.spec.target_mean, known.mean_[0], rtol=1e-5)
    np.testing.assert_allclose(found.spec.target_scale, known.scale_[0], rtol=1e-5)
    scaled = known.transform(table[["OT"]].to_numpy())
    np.testing.assert_allclose(found.test.x[0], scaled[11520 - 336 : 11520], atol=1e-5)
    assert (found.spec.horizon, found.spec.target_names[-1]) == (96, "OT+96")
    for part in (found.train, found.val, found.test):
        held, steps = part.x.untyped_storage().nbytes(), len(part.x) + 335
        assert held == 4 * steps, "windows must share the memory of their series"


def test_windows_hold_what_a_loop_would_take(tmp_path: Path) -> None:
    table = hourly(30, load=np.arange(30) % 4)
    options = {"target": ["OT", "load"], "covariates": (), "stride": 2}
    examples = made(tmp_path, table, **options).load()
    values = np.stack([table["OT"], table["load"]], axis=1).astype(np.float32)
    starts = range(0, 30 - 8 - 3 + 1, 2)
    np.testing.assert_array_equal(examples.x, [values[s : s + 8] for s in starts])
    assert examples.y is not None
    future = [values[s + 8 : s + 11].T.ravel() for s in starts]
    np.testing.assert_array_equal(examples.y, future)
    assert examples.target_names == ("OT+1", "OT+2", "OT+3", "load+1", "load+2", "load+3")


def test_no_target_is_known_to_one_part_and_asked_of_another(tmp_path: Path) -> None:
    found = split(made(tmp_path, hourly(200)), validation=0.2, test=0.2)
    spans = made(tmp_path, hourly(200)).load().spans
    assert spans is not None
    train, val, test = (spans[part.rows] for part in (found.train, found.val, found.test))
    assert train[:, 1].max() < val[:, 0].min()
    assert val[:, 1].max() < test[:, 0].min()


def test_series_of_one_file_stay_apart(tmp_path: Path) -> None:
    data = made(tmp_path, two_shops(), **SHOPS, covariates=("price",))
    examples = data.load()
    x = np.asarray(examples.x)
    assert len(x) == (40 - 7) + (35 - 7)
    assert examples.spans is not None
    first_of_south = 40 - 7
    assert examples.spans[first_of_south, 0] == examples.spans[5, 0], "one clock for all series"
    for window in x:
        assert len(np.unique(window[:, 1])) == 1, "a window holds one shop's prices"
    assert set(map(float, x[first_of_south:, :, 0].ravel())) == set(range(5))


def test_series_are_sorted_and_named_by_any_order_of_rows(tmp_path: Path) -> None:
    plain = made(tmp_path, two_shops(), **SHOPS).load()
    mixed = made(tmp_path, two_shops().sample(frac=1, random_state=0), **SHOPS).load()
    np.testing.assert_array_equal(plain.x, mixed.x)
    np.testing.assert_array_equal(plain.spans, mixed.spans)


def test_the_calendar_is_that_of_the_steps_to_forecast(tmp_path: Path) -> None:
    data = made(tmp_path, hourly(60), calendar=("hour", "weekday", "month"))
    x = np.asarray(data.load().x)
    later = pd.date_range("2016-07-01", periods=100, freq="h")[3 + 5 : 3 + 5 + 8]
    day = later.hour / 24
    np.testing.assert_allclose(x[5, :, 1], np.sin(2 * np.pi * day), atol=1e-6)
    np.testing.assert_allclose(x[5, :, 2], np.cos(2 * np.pi * day), atol=1e-6)
    week = (later.day_of_week + day) / 7
    np.testing.assert_allclose(x[5, :, 3], np.sin(2 * np.pi * week), atol=1e-6)
    year = (later.month - 1 + (later.day - 1) / later.days_in_month) / 12
    np.testing.assert_allclose(x[5, :, 6], np.cos(2 * np.pi * year), atol=1e-6)


@pytest.mark.parametrize("step", ["15min", "h", "D", "168h", "B", "MS", "ME", "QS", "YE"])
def test_any_regular_step_is_found(tmp_path: Path, step: str) -> None:
    stamps = pd.date_range("2010-01-01", periods=40, freq=step)
    examples = made(tmp_path, {"date": stamps.astype(str), "OT": np.arange(40.0)}).load()
    assert len(examples.x) == 40 - 8 - 3 + 1


def test_steps_may_be_counted_or_left_to_the_order_of_rows(tmp_path: Path) -> None:
    counted = made(tmp_path, {"date": range(1900, 1940), "OT": np.arange(40.0)}).load()
    ordered = made(tmp_path, {"OT": np.arange(40.0)}, time=None).load()
    np.testing.assert_array_equal(counted.x, ordered.x)
    assert counted.spans is not None
    assert counted.spans[0].tolist() == [1908, 1910]


@pytest.mark.parametrize("gaps", ["forward", "interpolate"])
def test_gaps_are_filled_as_pandas_fills_them(tmp_path: Path, gaps: str) -> None:
    table = pd.DataFrame(hourly(40))
    table.loc[[0, 20, 39], "OT"] = np.nan
    table = table.drop([11, 12])
    x = np.asarray(made(tmp_path, table, gaps=gaps).load().x)
    stamps = pd.DatetimeIndex(table["date"])
    series = table["OT"].set_axis(stamps).asfreq("h")
    series = series.ffill() if gaps == "forward" else series.interpolate()
    series = series.iloc[1:]
    assert len(x) == 39 - 8 - 3 + 1
    np.testing.assert_allclose(x[:, 0, 0], series[: len(x)], rtol=1e-6)


def test_constant_covariates_are_centred(tmp_path: Path) -> None:
    found = split(made(tmp_path, hourly(100, same=3.0), covariates=("same",)))
    assert (found.train.x[:, :, 1] == 0).all()


def test_scaling_can_be_left_out_and_inverted(tmp_path: Path) -> None:
    plain = split(made(tmp_path, hourly(100), scaling="none"))
    assert plain.spec.target_scale == ()
    data = made(tmp_path, hourly(100))
    raw = np.asarray(data.load().x)
    np.testing.assert_array_equal(plain.train.x, raw[plain.train.rows])
    fitted = data.preprocessor()
    fitted.fit(raw[:50])
    np.testing.assert_allclose(fitted.invert(fitted.transform(raw)), raw, rtol=1e-6)
    copied = fitted.transform(np.ascontiguousarray(raw[::3]))
    torch.testing.assert_close(copied, fitted.transform(raw)[::3])


# --- forecasts of histories ---


def test_a_history_gives_the_forecast_that_follows_each_series(tmp_path: Path) -> None:
    data = made(tmp_path, two_shops(), **SHOPS)
    raw = np.asarray(data.load().x)
    fitted = data.preprocessor()
    fitted.fit(raw)
    rows = two_shops().query("day >= '2024-01-20'").replace("south", "new")
    rows = rows[["sold", "shop", "day"]].assign(more="text").sample(frac=1, random_state=1)
    history = data.read(Path(written(tmp_path, rows)))
    x = fitted.transform(history)
    assert x.shape == (2, 6, 1)
    np.testing.assert_allclose(
        np.asarray(fitted.invert(x))[1, :, 0], two_shops()["sold"][34:40], rtol=1e-5
    )
    table = data.present(
        history, pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["sold+1", "sold+2"])
    )
    assert list(table) == ["shop", "day", "sold"]
    assert table["shop"].tolist() == ["new", "new", "north", "north"]
    assert table["day"].astype(str).tolist() == ["2024-02-10", "2024-02-11"] * 2
    assert table["sold"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_arrays_of_windows_are_presented_as_they_are(tmp_path: Path) -> None:
    wide = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["OT+1", "OT+2", "OT+3"])
    assert made(tmp_path, hourly()).present(np.zeros((1, 8, 1)), wide) is wide


HISTORIES: list[tuple[Callable[[pd.DataFrame], Any], str]] = [
    (lambda t: t[["date"]], r"lack the columns 'OT'; they need 'date', 'OT', in any order"),
    (lambda t: t[:5], r"a forecast needs a history of 8 steps; the rows have 5: add earlier rows"),
    (lambda t: t[::2], r"times must follow each other in steps of 1?h; 29 are missing"),
    (
        lambda t: t.assign(date=pd.date_range("2016", periods=60, freq="40min")),
        r"the step 1?h of the training data; 2016-01-01 00:40:00 is not on it",
    ),
    (lambda t: t.assign(OT="high"), r"the column 'OT' must hold numbers; 60 of 60 rows hold text"),
    (
        lambda t: t.assign(OT=t["OT"].where(t.index != 58)),
        r"lacks 1 of 60 values, first at 2016-07-03 10",
    ),
    (lambda t: np.zeros((2, 9, 1)), r"each history must hold 8 steps of 1 channels"),
    (lambda t: np.full((2, 8, 1), np.nan), r"histories must hold finite numbers"),
    (lambda t: t[:0], r"there are no rows; give those of a history"),
]


@pytest.mark.parametrize(("change", "sentence"), HISTORIES)
def test_unusable_histories_are_explained(
    tmp_path: Path, change: Callable[[pd.DataFrame], Any], sentence: str
) -> None:
    data = made(tmp_path, hourly())
    x = data.load().x
    fitted = data.preprocessor()
    fitted.fit(x)
    with pytest.raises(DataError, match=sentence):
        fitted.transform(change(pd.DataFrame(hourly())))


# --- bad files and options ---


def _with(**columns: Any) -> Table:
    return hourly(60, **columns)


def _cell(name: str, row: int, value: str | None) -> pd.DataFrame:
    table = pd.DataFrame(hourly()).astype({name: object})
    table.loc[row, name] = value
    return table


BAD: list[tuple[Table | pd.DataFrame, dict[str, Any], str]] = [
    (
        pd.DataFrame(hourly()).drop([7, 30]),
        {},
        r"in steps of 1?h; 2 are missing, first 2016-07-01 07:00:00: fill",
    ),
    (
        _cell("date", 9, "2016-07-01 08:00:00"),
        {},
        r"each time may occur once; 2016-07-01 08:00:00 occurs 2 times",
    ),
    (_cell("date", 4, "yesterday"), {}, r"in ISO 8601 .*'date' holds 'yesterday' in row 4: state"),
    (
        _cell("date", 4, "2016-07-01 04:10:00"),
        {},
        r"commonest is 1?h, and 2016-07-01 04:10:00 is not on it",
    ),
    (
        _cell("date", 4, "1816-07-01 04:00:00"),
        {},
        r"from 1816-07-01 04:00:00 to .* nearly all are missing",
    ),
    (
        _cell("date", 5, None),
        {},
        r"each row needs a time; 1 of 60 rows lack one in 'date', first row 5",
    ),
    (_with(date=np.arange(60) / 2), {}, r"dates or whole numbers; 'date' holds 0.5 in row 1"),
    (hourly(10), {}, r"needs data.window \+ data.horizon = 11 steps; the file has 10: lower"),
    (hourly(1), {}, r"a series needs two steps or more"),
    (
        _cell("OT", 3, "high"),
        {},
        r"the column 'OT' must hold numbers; 1 of 60 rows hold text, first row 3 \('high'\)",
    ),
    (
        _cell("OT", 3, None),
        {},
        r"'OT' lacks 1 of 60 values, first at 2016-07-01 03:00:00: fill them, or set data.gaps",
    ),
    (
        _cell("OT", 3, None).drop(columns="date"),
        {"time": None},
        r"'OT' lacks 1 of 60 values, first in row 3: fill",
    ),
    (
        _with(OT=[None] * 60),
        {"gaps": "forward"},
        r"'OT' hold no row without gaps, and before the first",
    ),
    (_with(OT=7), {}, r"regression needs a target that varies; 'OT\+1' is 7 in all 50 rows"),
    (
        hourly(),
        {"target": "ot"},
        r"data.target names the column 'ot', which the table lacks; its columns are 'date', 'OT'",
    ),
    (hourly(), {"time": "Date"}, r"data.time names the column 'Date'.* did you mean 'date'"),
    (hourly(), {"series": "shop"}, r"data.series names the column 'shop', which the table lacks"),
    (hourly(), {"covariates": ("load",)}, r"data.covariates names the column 'load'"),
    (
        _with(s=["a"] * 59 + [None]),
        {"series": "s"},
        r"needs the name of its series; 1 of 60 rows lack one in 's', first row 59",
    ),
    (_with(s=["a"] * 52 + ["b"] * 8), {"series": "s"}, r"data.horizon = 11 steps; 'b' has 8"),
    (
        _with(date=range(60)),
        {"calendar": ("hour",)},
        r"data.calendar needs dates; 'date' holds numbers",
    ),
    (
        hourly(),
        {"train_steps": 40, "validation_steps": 20, "test_steps": 20},
        r"the file's 60 times; 40, 20, 20 are asked",
    ),
    (
        hourly(),
        {"validation_steps": 10, "test_steps": 2},
        r"data.test_steps=2 holds none of data.horizon=3",
    ),
    (hourly(), {"validation_steps": 2, "test_steps": 10}, r"data.validation_steps=2 holds none of"),
]


@pytest.mark.parametrize(("table", "options", "sentence"), BAD, ids=[s[:40] for *_, s in BAD])
def test_unusable_files_are_explained(
    tmp_path: Path, table: Table | pd.DataFrame, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        split(made(tmp_path, table, **options))


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"target": []}, r"a forecast needs a column; name one as data.target"),
    ({"covariates": ("OT",)}, r"the column 'OT' is named twice"),
    (
        {"time": None, "calendar": ("hour",)},
        r"data.calendar needs dates; name their column as data.time",
    ),
    ({"train_steps": 5}, r"data.train_steps needs the other two parts' sizes"),
    ({"validation_steps": 5}, r"data.validation_steps needs data.test_steps"),
    ({"separator": ";;"}, r"data.separator must be one character"),
]


@pytest.mark.parametrize(("options", "sentence"), OPTIONS)
def test_options_that_exclude_each_other_are_refused(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        made(tmp_path, hourly(), **options).load()


def test_targets_keep_the_scale_of_their_history(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scale_target=false is not for data that scales inputs"):
        split(made(tmp_path, hourly()), scale_target=False)


def test_other_ways_to_write_times_are_named(tmp_path: Path) -> None:
    stamps = pd.date_range("2016-07-01", periods=60, freq="D")
    german = {"date": stamps.strftime("%d.%m.%Y"), "OT": np.arange(60.0)}
    with pytest.raises(
        DataError, match=r"'date' holds '01.07.2016' in row 0: state the file's data"
    ):
        made(tmp_path, german).load()
    spans = made(tmp_path, german, time_format="%d.%m.%Y").load().spans
    assert spans is not None
    assert pd.Timestamp(int(spans[0, 0])) == pd.Timestamp("2016-07-09")
    zoned = {"date": [f"{s.isoformat()}+02:00" for s in stamps], "OT": np.arange(60.0)}
    spans = made(tmp_path, zoned).load().spans
    assert spans is not None
    assert pd.Timestamp(int(spans[0, 0])) == pd.Timestamp("2016-07-08 22:00")
