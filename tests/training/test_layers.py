"""Layers that are watched: the numbers are right, and training is none the wiser."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import dlframe
from dlframe.config.validate import validate
from dlframe.errors import ConfigError
from dlframe.training.fit import Fit
from dlframe.training.layer_figures import layer_figures
from dlframe.training.layers import LayerWatch, layers_of
from dlframe.training.prepare import prepare
from dlframe.training.silence import ends

Train = Callable[..., Fit]


@pytest.fixture
def fitted(tmp_path: Path) -> Train:
    """Train a config without recording it and return the finished fit."""

    def run(
        *overrides: str, change: Callable[[nn.Module], object] | None = None, fits: bool = True
    ) -> Fit:
        base = ["trainer.max_epochs=2", "trainer.checkpoint=false", "data.limit=300"]
        parts = prepare(validate(dlframe.compose(*base, *overrides)))
        if change is not None:
            with torch.no_grad():
                change(parts.network)
        fit = Fit(parts, tmp_path, log=lambda values, step: None)
        if fits:
            fit.fit()
        return fit

    return run


def _rows(fit: Fit) -> list[dict[str, Any]]:
    assert fit.module.layers is not None
    return fit.module.layers.rows()


def _row(fit: Fit, layer: str, step: int) -> Mapping[str, Any]:
    (found,) = [row for row in _rows(fit) if row["layer"] == layer and row["step"] == step]
    return found


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.steps_per_call=16"],
        ["architecture=cnn", "trainer.channels_last=true", "regularizer=[dropout,mixup]"],
        ["architecture=gan"],
        ["optimizer=lbfgs", "data.batch_size=100"],
        ["trainer.precision=bf16-mixed", "trainer.accumulate=3"],
        ["architecture=rnn", "activation=rrelu"],
        ["architecture=transformer", "activation=prelu"],
        ["regularizer=[spectral_norm,gradient_clipping]", "trainer.watch_every=1"],
    ],
    ids=" ".join,
)
def test_the_trained_network_and_its_metrics_are_the_same_to_the_last_bit(
    fitted: Train, overrides: list[str]
) -> None:
    watched, alone = fitted("trainer.watch=true", *overrides), fitted(*overrides)
    for key, value in alone.module.network.state_dict().items():
        assert torch.equal(value, watched.module.network.state_dict()[key]), key

    def plain(fit: Fit) -> list[dict[str, float]]:
        kept = [
            {key: v for key, v in each.items() if not key.startswith(("layers/", "perf/"))}
            for each in fit.module.history
        ]
        return [each for each in kept if each.keys() != {"epoch", "step"}]

    assert plain(watched) == plain(alone)
    assert alone.module.layers is None
    assert _rows(watched)
    for row in _rows(watched):
        if row["weighted"]:
            assert row["grad_norm"] > 0
            assert row["update_ratio"] > 0
    modules = watched.module.network.modules()
    assert not any(module._forward_hooks for module in modules), "a hook was left behind"


def test_the_numbers_are_those_that_torch_gives_by_hand(fitted: Train) -> None:
    options = ["optimizer=sgd", "optimizer.lr=0.1", "data.batch_size=all", "trainer.max_epochs=1"]
    parts = prepare(dlframe.compose(*options, "data.limit=300"))
    fit = fitted(*options, "trainer.watch=true")
    network, train = parts.network, parts.splits.train
    hidden = network.layers[:3](train.x).detach()  # type: ignore[index,operator]
    loss = nn.functional.cross_entropy(network(train.x), train.y)
    torch.autograd.backward(loss)
    linear = network.layers[1]  # type: ignore[index]
    assert isinstance(linear, nn.Linear)
    gradient = torch.cat([p.grad.flatten() for p in linear.parameters() if p.grad is not None])
    weights = torch.cat([p.detach().flatten() for p in linear.parameters()])
    found = _row(fit, "layers.1", 1)
    assert found["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert found["weight_norm"] == pytest.approx(float(weights.norm()), rel=1e-5)
    ratio = 0.1 * float(gradient.norm()) / float(weights.norm())
    assert found["update_ratio"] == pytest.approx(ratio, rel=1e-4)
    found = _row(fit, "layers.2", 1)
    assert found["mean"] == pytest.approx(float(hidden.mean()), rel=1e-4)
    assert found["std"] == pytest.approx(float(hidden.std(correction=0)), rel=1e-4)
    assert found["zeros"] == pytest.approx(float((hidden == 0).float().mean()), abs=1e-6)


def test_accumulated_batches_count_as_one_step(fitted: Train) -> None:
    options = ["optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=1", "trainer.watch=true"]
    many = fitted(*options, "data.batch_size=50", "trainer.accumulate=4", "trainer.limit_train=4")
    one = fitted(*options, "data.batch_size=200", "trainer.limit_train=1")
    for layer in ("layers.1", "layers.2", "layers.7"):
        first, second = _row(many, layer, 1), _row(one, layer, 1)
        for quantity in ("mean", "std", "zeros", "grad_norm", "update_ratio"):
            assert first[quantity] == pytest.approx(second[quantity], rel=1e-4, nan_ok=True)


def test_units_that_never_fire_are_counted(fitted: Train) -> None:
    def kill(network: nn.Module) -> None:
        network.layers[1].bias[:32] = -1000.0  # type: ignore[index,union-attr]

    fit = fitted("trainer.watch=true", "architecture.hidden=[128]", change=kill)
    rows = [row for row in _rows(fit) if row["layer"] == "layers.2"]
    assert rows[-1]["dead"] >= 32 / 128
    assert rows[-1]["dead"] <= 36 / 128
    assert [each for each in fit.module.history if each.get("layers/dead") == rows[-1]["dead"]]


def test_units_of_maps_are_channels(fitted: Train) -> None:
    def kill(network: nn.Module) -> None:
        network.features[0].bias[:8] = -1000.0  # type: ignore[index,union-attr]

    options = ["architecture=cnn", "architecture.channels=[32]", "trainer.watch=true"]
    fit = fitted(*options, "trainer.max_epochs=1", change=kill)
    assert _rows(fit)[-len(fit.module.layers.layers) + 1]["dead"] == 8 / 32  # type: ignore[union-attr]


def test_a_bounded_activation_saturates_at_both_ends_and_dies_at_one(fitted: Train) -> None:
    def stretch(network: nn.Module) -> None:
        network.layers[1].weight.mul_(1000.0)  # type: ignore[index,union-attr]
        network.layers[1].weight[:16] = 0.0  # type: ignore[index,union-attr]
        network.layers[1].bias[:16] = 1000.0  # type: ignore[index,union-attr]

    fit = fitted(
        "trainer.watch=true", "activation=tanh", "architecture.hidden=[64]", change=stretch
    )
    last = _rows(fit)[-2]
    assert last["saturated"] > 0.95
    assert 16 / 64 <= last["dead"] <= 20 / 64  # a few more see the same of every digit


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("ReLU", 0.0, True, False), ("ReLU", 1e-9, False, False), ("Sigmoid", 0.98, False, True),
        ("Sigmoid", 0.9, False, False), ("Tanh", -0.96, True, False), ("ELU", -0.98, True, False),
        ("SELU", -1.75, True, False), ("GELU", -1e-5, True, False), ("GELU", -0.1, False, False),
        ("Hardtanh", 1.0, False, True), ("ReLU6", 6.0, False, False),
        ("LeakyReLU", -0.01, False, False),
    ],
)  # fmt: skip
def test_each_kind_of_activation_has_its_ends(
    name: str, value: float, low: bool, high: bool
) -> None:
    found = ends(getattr(nn, name)(), torch.tensor([value, 0.5]))
    assert [bool(each[0]) for each in found] == [low, high]


@pytest.mark.parametrize(
    ("every", "expected"), [("null", [1, 4, 9, 14]), ("4", [1, 4, 8, 12])], ids=["epoch", "steps"]
)
def test_it_measures_at_the_first_step_and_in_each_epoch(
    fitted: Train, every: str, expected: list[int]
) -> None:
    """The last batch of an epoch is a small one here, and is not measured."""
    fit = fitted(
        "trainer.watch=true", f"trainer.watch_every={every}", "data.batch_size=50",
        "trainer.max_epochs=3",
    )  # fmt: skip
    assert fit.module.steps == 15
    assert list(dict.fromkeys(row["step"] for row in _rows(fit))) == expected


def test_players_are_measured_apart(fitted: Train) -> None:
    fit = fitted("architecture=gan", "trainer.watch=true")
    assert {row["player"] for row in _rows(fit)} == {"generator", "discriminator"}
    names = {key for each in fit.module.history for key in each}
    assert {f"layers/{p}/grad_norm_first" for p in ("generator", "discriminator")} <= names


def test_a_deep_network_has_few_curves_and_a_table_of_all(fitted: Train) -> None:
    deep = fitted("trainer.watch=true", f"architecture.hidden={[8] * 20}".replace(" ", ""))
    shallow = fitted("trainer.watch=true", "architecture.hidden=[8]")
    curves = {key for each in deep.module.history for key in each if key.startswith("layers/")}
    assert curves == {
        "layers/grad_norm_first", "layers/grad_norm_last", "layers/update_ratio", "layers/zeros",
        "layers/dead",
    }  # fmt: skip
    assert {key for each in shallow.module.history for key in each} > curves | {
        "layers/layers.1/grad_norm", "layers/layers.4/update_ratio", "layers/layers.2/dead",
    }  # fmt: skip
    assert len({row["layer"] for row in _rows(deep)}) == 41


def test_what_is_made_of_several_modules_is_one_layer() -> None:
    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Sigmoid()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.as_tensor(self.gate(x))

    network = nn.Sequential(nn.Linear(3, 4), Swish(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    found = layers_of(network, {"model": network}, Swish)
    assert [(each.name, each.weighted, each.active) for each in found] == [
        ("0", True, False), ("1", False, True), ("2", False, False), ("3", True, False),
    ]  # fmt: skip
    attention = nn.TransformerEncoderLayer(8, 2, 16)
    names = {each.name for each in layers_of(attention, {"model": attention}, nn.ReLU)}
    assert {"self_attn", "self_attn.out_proj", "linear1", "norm1"} <= names


def test_compiled_layers_cannot_be_watched(fitted: Train) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.watch looks into layers .* to false"):
        fitted("trainer.watch=true", "trainer.compile=true", fits=False)


def test_what_was_found_survives_a_checkpoint(fitted: Train) -> None:
    watch = fitted("trainer.watch=true").module.layers
    assert watch is not None
    other = LayerWatch(watch.layers, per_epoch=4, whole=4)
    other.load_state_dict(watch.state_dict())
    pd.testing.assert_frame_equal(pd.DataFrame(other.rows()), pd.DataFrame(watch.rows()))


def test_figures_of_few_layers_are_lines_and_of_many_maps(fitted: Train) -> None:
    shallow = layer_figures(_rows(fitted("trainer.watch=true")))
    assert set(shallow) == {"layers_gradients", "layers_updates", "layers_activations"}
    lines = shallow["layers_updates"].axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["layers.1", "layers.4", "layers.7", "0.001"]
    deep = f"architecture.hidden={[8] * 12}".replace(" ", "")
    found = layer_figures(_rows(fitted("trainer.watch=true", deep)))
    (image,) = found["layers_gradients"].axes[0].get_images()
    assert image.get_size() == (13, 3)
    for figure in (*shallow.values(), *found.values()):
        figure.canvas.draw()


def test_a_recorded_run_has_curves_table_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["data=iris", "trainer.max_epochs=2", "tracking.offline=true"]
    run = dlframe.train("trainer.watch=true", *options)
    table = pd.read_csv(run.folder / "layers.csv")
    assert list(table["step"].unique()) == [1, 3]  # the second batch is smaller
    assert table["layer"].nunique() == 5
    assert (run.folder / "figures" / "layers_gradients.png").stat().st_size > 10_000
    assert run.metrics["layers/grad_norm_first"] == pytest.approx(
        table[table["layer"] == "layers.1"]["grad_norm"].iloc[-1]
    )
    assert math.isfinite(run.history["layers/dead"].iloc[-1])
    again = dlframe.train(*options)
    same = [key for key in again.metrics if not key.startswith(("perf/", "layers/", "cost/"))]
    assert {key: run.metrics[key] for key in same} == {key: again.metrics[key] for key in same}
