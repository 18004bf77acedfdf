"""Learning rates and batch sizes that are found by trying some steps."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dlframe
from dlframe.cli.main import main
from dlframe.config.validate import validate
from dlframe.errors import ConfigError
from dlframe.training.batch_sizes import Speed, batch_sizes, saturates
from dlframe.training.prepare import prepare, read_config
from dlframe.training.range_test import range_test, steepest

SMALL = ("data=iris", "architecture.hidden=[16]", "data.batch_size=16")


def test_the_steepest_place_of_a_known_curve() -> None:
    exponents = np.linspace(-7, 1, 200)
    # A fall of slope -1 / (4 * 0.3) at 1e-3, and a rise from 1e-1 on.
    losses = 1 / (1 + np.exp((exponents + 3) / 0.3)) + np.maximum(0, exponents + 1)
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    smoothed, best, low = steepest((10**exponents).tolist(), (losses + noise).tolist(), 200)
    assert abs(exponents[best] + 3) < 0.15
    assert -1.7 < exponents[low] < -0.7
    assert np.abs(np.array(smoothed) - losses)[:140].max() < 0.06


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_loss_that_only_jitters_or_grows_falls_nowhere(slope: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 100)
    losses = (slope * np.arange(100) + noise).tolist()
    with pytest.raises(ConfigError, match=r"falls at no learning rate from 0.001 on; begin with a"):
        steepest(np.geomspace(1e-3, 1, 100).tolist(), losses, 100)


def test_the_losses_are_those_of_a_loop_by_hand() -> None:
    config = validate(dlframe.compose(*SMALL, "optimizer=sgd", "trainer.accumulate=2"))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = range_test(config, lowest=1e-4, highest=1.0, steps=30)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1.0, 30))
    parts = prepare(config)
    train, order = parts.splits.train, torch.Generator()
    optimizer = torch.optim.SGD(parts.network.parameters(), lr=1.0)
    losses: list[float] = []
    for epoch in range(10):
        order.manual_seed(config["seed"] * 1_000_003 + epoch)
        batches = torch.split(torch.randperm(len(train.x), generator=order), 16)
        for pair in (batches[i : i + 2] for i in range(0, len(batches), 2)):
            optimizer.zero_grad()
            rows, total = torch.cat(pair), 0.0
            for batch in pair:
                loss = nn.functional.cross_entropy(parts.network(train.x[batch]), train.y[batch])
                torch.autograd.backward(loss / 2)
                total += float(loss.detach()) * len(batch)
            losses.append(total / len(rows))
            optimizer.param_groups[0]["lr"] = found.rates[min(len(losses) - 1, 29)]
            optimizer.step()
    np.testing.assert_allclose(found.losses, losses[:30], rtol=1e-4)


def test_it_stops_where_the_loss_grows_out_of_bounds_and_suggests_before() -> None:
    config = validate(dlframe.compose(*SMALL, "optimizer=sgd", "trainer.max_epochs=3"))
    found = range_test(config, lowest=1e-5, highest=1e6, steps=110)
    assert found.diverged
    assert len(found.rates) < 110
    assert 1e-3 < found.suggestion < found.lowest < 100
    slow, good = (
        dlframe.train(*SMALL, "optimizer=sgd", f"optimizer.lr={rate}", "tracking.enabled=false",
                      "trainer.max_epochs=3", "trainer.checkpoint=false").metrics["val/loss"]
        for rate in (found.suggestion / 100, found.suggestion)
    )  # fmt: skip
    assert good < 0.8 * slow


@pytest.mark.parametrize(
    ("overrides", "bounds", "said"),
    [
        (
            [],
            (1.0, 0.1, 100),
            "from a small learning rate to a larger one in 10 steps or more; got 1 to",
        ),
        ([], (1e-3, 0.1, 5), "in 10 steps or more; got 0.001 to 0.1 in 5"),
        ([], (1e-12, 1e-11, 40), "falls at no learning rate from 1e-12 on"),
        (["data=digits", "architecture=gan"], (1e-7, 1, 20), "needs one loss that falls"),
        (["trainer.devices=2"], (1e-7, 1, 20), "tried in one process; got trainer.devices=2"),
    ],
)
def test_each_mistake_has_its_sentence(
    overrides: list[str], bounds: tuple[float, float, int], said: str
) -> None:
    config = validate(dlframe.compose("data=iris", *overrides))
    with pytest.raises(ConfigError, match=said) as found:
        range_test(config, lowest=bounds[0], highest=bounds[1], steps=bounds[2])
    assert "\n" not in str(found.value)


def test_batch_sizes_double_up_to_all_rows() -> None:
    config = validate(dlframe.compose(*SMALL, "regularizer=[early_stopping]"))
    before = torch.get_rng_state()
    found = list(batch_sizes(config, least=-10.0, seconds=0.02))
    assert torch.equal(torch.get_rng_state(), before)
    assert [speed.batch_size for speed in found] == [8, 16, 32, 64, 107]
    assert all(speed.samples_per_second and speed.samples_per_second > 0 for speed in found)
    few = list(batch_sizes(config, least=1e9, seconds=0.02))
    assert [speed.batch_size for speed in few] == [8, 16, 32], "two doublings brought too little"


def test_where_doubling_stops_to_bring_much() -> None:
    def speeds(*values: float | None) -> list[Speed]:
        return [
            Speed(batch_size=8 * 2**i, samples_per_second=value, memory=None)
            for i, value in enumerate(values)
        ]

    assert saturates(speeds(100, 190, 300, 320, 600)) == 32
    assert saturates(speeds(100, 190, 300, 320, 600), least=0.05) == 128
    assert saturates(speeds(100, 190, None)) == 16
    with pytest.raises(ConfigError, match=r"tried in one process"):
        next(batch_sizes(validate(dlframe.compose("trainer.devices=2"))))


SCARCE = """
import json, resource, sys
import dlframe
from dlframe.config.validate import validate
from dlframe.training.batch_sizes import batch_sizes

config = validate(dlframe.compose("data=digits", "architecture.hidden=[200000]", "optimizer=sgd"))
sizes = batch_sizes(config, least=-10.0, seconds=0.01)
found = [next(sizes)]
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 600 * 2**20, resource.RLIM_INFINITY))
found += list(sizes)
print(json.dumps([[speed.batch_size, speed.samples_per_second is not None] for speed in found]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_batch_that_memory_does_not_suffice_for_ends_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCARCE], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    *fitting, last = json.loads(done.stdout.splitlines()[-1])
    assert len(fitting) >= 1
    assert all(fits for _, fits in fitting)
    assert last[1] is False
    assert last[0] < 1257, "it would need gigabytes"


def test_the_command_prints_draws_trains_and_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["find", "lr", *SMALL, "--steps", "40", "--from", "1e-5"]
    quiet = ["tracking.offline=true", "tracking.wait=0", "tracking.figures=false",
             "tracking.log_model=false", "trainer.max_epochs=1"]  # fmt: skip
    assert main([*words, *quiet, "--train", "--json"]) == 0
    printed = capsys.readouterr()
    run = json.loads(printed.out)
    folder = Path(run["folder"])
    found = json.loads((folder / "find_lr.json").read_text())
    rate = f"{found['suggestion']:.3g}"
    assert f"optimizer.lr={rate}" in printed.err
    assert read_config(folder)["optimizer"]["lr"] == float(rate)
    assert (folder / "find_lr.png").read_bytes()[:4] == b"\x89PNG"
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"])
    assert main(["find", "batch_size", *SMALL, "--seconds", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["batch_size", "rows/s", "more", "GPU", "memory"]
    assert lines[1].split()[0] == "8"
    assert lines[-1].startswith("suggestion  data.batch_size=")
    assert main(["find", "lr", "optimizer.lrr=1"]) == 1
    assert "did you mean" in capsys.readouterr().err
