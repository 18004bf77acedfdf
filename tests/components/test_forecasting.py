"""Forecasts: the naive ones, DLinear, their task, and a run of a network with nothing to train."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dlframe
from dlframe.components.architectures.dlinear import DLinear
from dlframe.components.architectures.naive import SeasonalNaive, last_value
from dlframe.components.losses.quantile import Quantile
from dlframe.components.losses.regression import MeanSquaredError
from dlframe.components.tasks.forecasting import Forecasting
from dlframe.errors import ConfigError
from dlframe.interfaces import Batch, Spec
from dlframe.plugin import Component, hookimpl, registry


def spec(window: int = 12, horizon: int = 5, targets: int = 2, channels: int = 3) -> Spec:
    return Spec(
        input="sequence",
        input_shape=(window, channels),
        output_size=targets * horizon,
        task="forecasting",
        target_names=tuple(f"{t}+{h}" for t in range(targets) for h in range(1, horizon + 1)),
        target_mean=(0.0,) * horizon + (10.0,) * horizon,
        target_scale=(1.0,) * horizon + (2.0,) * horizon,
        horizon=horizon,
    )


# --- architectures ---


@pytest.mark.parametrize("season", [1, 3, 5, 7, 12])
def test_the_naive_forecast_repeats_the_last_season(season: int) -> None:
    x = torch.randn(4, 12, 3)
    found = SeasonalNaive(spec(), season=season)(x).reshape(4, 2, 5)
    for h in range(1, 6):
        expected = x[:, 12 - season + (h - 1) % season, :2]
        torch.testing.assert_close(found[:, :, h - 1], expected)
    if season == 1:
        torch.testing.assert_close(found.flatten(1), last_value(spec())(x))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kernel", [1, 3, 25])
def test_dlinear_is_its_formula(kernel: int, shared: bool) -> None:
    model = DLinear(spec(window=30), kernel=kernel, shared=shared)
    x = torch.randn(4, 30, 3)
    found = model(x).reshape(4, 2, 5)
    for b in range(4):
        for c in range(2):
            series = pd.Series(np.pad(x[b, :, c].numpy(), kernel // 2, mode="edge"))
            average = series.rolling(kernel, center=True).mean().dropna().to_numpy(np.float32)
            trend, rest = torch.from_numpy(average), x[b, :, c] - torch.from_numpy(average)
            layer = 0 if shared else c
            expected = model.trend[layer](trend) + model.rest[layer](rest)
            torch.testing.assert_close(found[b, c], expected, atol=1e-5, rtol=1e-5)
    sets = 1 if shared else 2
    assert sum(p.numel() for p in model.parameters()) == sets * 2 * (30 + 1) * 5


def test_dlinear_gives_quantiles_channel_by_channel() -> None:
    loss = Quantile()
    task = Forecasting(spec(), loss)
    wide = Spec.from_dict({**spec().to_dict(), "output_size": task.output_size()})
    model, x = DLinear(wide), torch.randn(4, 12, 3)
    changed = x.clone()
    changed[:, :, 1] += 1
    moved = (task.predict(model, x) != task.predict(model, changed)).all(0)
    assert moved.tolist() == [False] * 5 + [True] * 5


def test_forecasters_say_what_they_need() -> None:
    table = Spec(input="features", input_shape=(4,), output_size=1, task="regression")
    for build in (last_value, DLinear):
        with pytest.raises(
            ConfigError, match=r"needs histories .* the data gives features \[4\] without"
        ):
            build(table)
    with pytest.raises(
        ConfigError, match=r"season must not exceed the history of 12 steps; got 24"
    ):
        SeasonalNaive(spec())
    wide = Spec.from_dict({**spec().to_dict(), "output_size": 30})
    with pytest.raises(
        ConfigError, match=r"one number per target, 10 in all; the loss asks for 30"
    ):
        last_value(wide)
    with pytest.raises(ConfigError, match=r"kernel must be odd, to have a middle; got 4: use 5"):
        DLinear(spec(), kernel=4)


# --- task ---


def test_errors_are_also_given_in_standard_deviations() -> None:
    task = Forecasting(spec(), MeanSquaredError())
    predictions, targets = torch.randn(7, 10), torch.randn(7, 10)
    metrics = task.metrics("test")
    for rows in (slice(0, 4), slice(4, 7)):
        metrics.update(predictions[rows], targets[rows])
    values = {name: float(value) for name, value in metrics.compute().items()}
    errors = (predictions - targets).numpy()
    scaled = errors / np.repeat([1.0, 2.0], 5)
    assert values["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert values["mse"] == pytest.approx(np.square(errors).mean(), rel=1e-5)
    assert values["mae_scaled"] == pytest.approx(np.abs(scaled).mean(), rel=1e-5)
    assert values["mse_scaled"] == pytest.approx(np.square(scaled).mean(), rel=1e-5)
    assert not any("scaled" in str(name) for name in task.metrics("train"))


def test_a_naive_forecast_is_in_the_data_s_units() -> None:
    task = Forecasting(spec(), MeanSquaredError())
    raw = torch.randn(4, 12, 3)
    mean, scale = torch.tensor([0.0, 10.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])
    found = task.predict(last_value(spec()), (raw - mean) / scale)
    torch.testing.assert_close(found, raw[:, -1, :2].repeat_interleave(5, 1), atol=1e-5, rtol=1e-5)


def test_the_figure_shows_forecasts_and_errors_by_step() -> None:
    task = Forecasting(spec(), MeanSquaredError())
    predictions, targets = torch.zeros(9, 10), torch.arange(10.0).repeat(9, 1)
    (figure,) = task.figures(predictions, targets).values()
    assert len(figure.axes) == 2 * 4
    errors = figure.axes[7].lines[0]
    np.testing.assert_allclose(np.asarray(errors.get_xdata()), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(np.asarray(errors.get_ydata()), [5, 6, 7, 8, 9])
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[0].get_ydata()), [0, 1, 2, 3, 4])


# --- runs ---


def _file(folder: Path) -> tuple[str, np.ndarray]:
    hours = np.arange(400)
    values = np.sin(hours * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.1, 400)
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    path = folder / "hours.csv"
    pd.DataFrame({"time": stamps, "load": values}).to_csv(path, index=False)
    return str(path), values.astype(np.float32)


def test_a_baseline_is_a_run_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, values = _file(tmp_path)
    options = ("data=timeseries_csv", f"data.path={path}", "data.time=time", "data.target=load",
               "data.window=48", "data.horizon=6", "data.train_steps=250",
               "data.validation_steps=75", "data.test_steps=75", "tracking.enabled=false")  # fmt: skip
    run = dlframe.train(*options, "architecture=seasonal_naive")
    starts = range(325, 400 - 5)
    actual = np.stack([values[s : s + 6] for s in starts])
    naive = np.stack([values[s - 24 : s - 18] for s in starts])
    assert run.metrics["test/mae"] == pytest.approx(np.abs(actual - naive).mean(), rel=1e-4)
    assert run.summaries["cost/steps"] == 0
    assert {"val/mae", "best/val_mae"} <= run.metrics.keys()
    model = dlframe.load(run.id)
    table = model.predict_frame(pd.read_csv(path))
    assert table["time"].astype(str).tolist() == [f"2024-01-17 {h}:00:00" for h in range(16, 22)]
    np.testing.assert_allclose(table["load"], values[376:382], rtol=1e-5)
    trained = dlframe.train(
        *options, "architecture=dlinear", "optimizer.lr=0.01", "trainer.max_epochs=60"
    )
    assert trained.metrics["test/mae"] < run.metrics["test/mae"]


class Frozen(nn.Linear):
    """A linear model whose parameters somebody forgot to thaw."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec.input_shape[0], spec.output_size)
        self.requires_grad_(False)


class Plugin:
    """The frozen network."""

    @hookimpl
    def dlframe_architectures(self) -> list[Component]:
        target = f"{__name__}:Frozen"
        return [Component(name="frozen", target=target, summary="frozen by mistake")]


def test_a_network_frozen_by_mistake_is_refused() -> None:
    registry.cache_clear()
    registry().add(Plugin(), "mistaken")
    try:
        with pytest.raises(ConfigError, match=r"'mistaken/frozen' has nothing to train; give it p"):
            dlframe.train("data=iris", "architecture=frozen", "tracking.enabled=false")
    finally:
        registry.cache_clear()


def test_a_batch_of_the_data_trains_recurrent_networks_and_transformers() -> None:
    """Both take histories as they take any sequence, and learn a wave from its past."""
    wave = torch.sin(torch.arange(200.0) / 3)
    x = wave.unfold(0, 12, 1)[:150, :, None]
    y = wave[12:].unfold(0, 5, 1)[:150]
    asked = spec(targets=1, channels=1)
    plain = Spec.from_dict({**asked.to_dict(), "target_mean": (), "target_scale": ()})
    task = Forecasting(plain, MeanSquaredError())
    for name in ("rnn", "transformer"):
        torch.manual_seed(0)
        build = registry().find("architecture", name).component.load()
        small = {"hidden": 16} if name == "rnn" else {"width": 16, "depth": 1}
        model = build(spec=plain, activation=nn.ReLU, **small)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = task.step(model, Batch(x, y), "model").loss
            torch.autograd.backward(loss)
            optimizer.step()
        assert loss < 0.05, name
