"""What one training step costs beyond the arithmetic: dlframe, plain Lightning, a hand-written loop.

An epoch is training and validation for all three; for dlframe and Lightning also logging, checkpoint
and progress bar. The first epoch of each training warms up and is left out. CPU time is that of all
threads of the process; with one thread it shows what a machine with free cores would take.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import stopwatch
import torch
from measure import facts, interleaved, median, ratio, table, terminal
from raw import BATCH, EVALUATION_BATCH, LR, Measured, cnn, copied, mlp, raw_loop
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from dlframe import api
from dlframe.plugin import registry
from dlframe.training.prepare import Parts, prepare
from dlframe.training.run import execute


@dataclass
class Case:
    """A network, the overrides that make dlframe train it, and the steps of an epoch."""

    name: str
    network: Callable[[], nn.Module]
    overrides: tuple[str, ...]
    steps: int
    epochs: int


MLP = ("architecture=mlp", "architecture.hidden=[128,128]", "data=bench/classes")
CNN = (
    "architecture=cnn", "architecture.channels=[32]", "architecture.padding=valid",
    "architecture.dense=[64]", "data=bench/classes", "data.side=28",
)  # fmt: skip


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/step_overhead.py --threads 1 --repeats 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5, help="trainings of each (default: 5)")
    parser.add_argument(
        "--threads", type=int, help="threads of torch (default: torch's own choice)"
    )
    parser.add_argument("--cases", nargs="+", choices=("mlp", "cnn"), default=["mlp", "cnn"])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    registry().add(stopwatch, "bench")
    cases = {
        "mlp": [Case("MLP", mlp, MLP, 625, 5), Case("MLP, short epochs", mlp, MLP, 125, 11)],
        "cnn": [Case("CNN", cnn, CNN, 625, 3)],
    }
    rows: list[list[str]] = []
    fixed: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        for case in [case for name in arguments.cases for case in cases[name]]:
            found = compare(case, Path(root), arguments.repeats)
            rows += lines(case, found)
            fixed[case.name] = {name: epoch_seconds(runs) for name, runs in found.items()}
    print(facts("torch", "lightning", "dlframe"), f"threads {torch.get_num_threads()}", sep="; ")
    header = [
        "network, contender",
        "us/step",
        "lowest",
        "highest",
        "ratio to raw loop",
        "CPU us/step",
        "CPU ratio",
    ]
    print("\n" + table(header, rows))
    if "mlp" in arguments.cases:
        print("\n" + fixed_costs(fixed["MLP"], fixed["MLP, short epochs"]))


def compare(case: Case, root: Path, repeats: int) -> dict[str, list[Measured]]:
    """Train all three in turn and make sure that dlframe and the raw loop do the same."""
    config = api.compose(
        *case.overrides, f"data.batch_size={BATCH}", f"optimizer.lr={LR}", "regularizer=[stopwatch]",
        f"trainer.max_epochs={case.epochs}", f"trainer.limit_train={case.steps}",
        f"trainer.threads={torch.get_num_threads()}", "trainer.progress=on",
        f"tracking.root={root}", "tracking.log_model=false",
    )  # fmt: skip
    parts = prepare(config)
    contenders: dict[str, Callable[[], Measured]] = {
        "raw loop": lambda: raw_loop(copied(case.network(), parts), parts, case.steps, case.epochs),
        "dlframe": partial(in_dlframe, case, config),
        "plain Lightning": partial(in_lightning, case, parts, root),
    }
    found = interleaved(contenders, repeats)
    for raw, own in zip(found["raw loop"], found["dlframe"], strict=True):
        gap = max(abs(a - b) / a for a, b in zip(raw.losses, own.losses, strict=True))
        assert gap < 1e-6, f"dlframe and the raw loop differ: {own.losses} against {raw.losses}"
    return found


def in_dlframe(case: Case, config: dict[str, Any]) -> Measured:
    """A recorded run, as `dlframe train` makes it."""
    with terminal():
        run = execute(config)
    losses = [values["train/loss"] for values in run.epochs if "train/loss" in values]
    return Measured(losses, stopwatch.Stopwatch.latest, case.steps)


class Plain(L.LightningModule):
    """What Lightning's tutorial shows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss and log it."""
        loss = cross_entropy(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log loss and accuracy."""
        outputs = self.network(batch[0])
        self.log("val_loss", cross_entropy(outputs, batch[1]), prog_bar=True)
        self.log("val_accuracy", (outputs.argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the same optimizer as the others'."""
        return torch.optim.Adam(self.parameters(), lr=LR, fused=True)


def in_lightning(case: Case, parts: Parts, root: Path) -> Measured:
    """Plain Lightning with its defaults: logger, progress bar, checkpoint, DataLoader."""
    train, val = parts.splits.train, parts.splits.val
    times = stopwatch.EpochTimes()
    with terminal(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of DataLoader workers and log intervals
        trainer = L.Trainer(
            max_epochs=case.epochs, limit_train_batches=case.steps,
            default_root_dir=root / "lightning", callbacks=[times],
        )  # fmt: skip
        trainer.fit(
            Plain(copied(case.network(), parts)),
            DataLoader(TensorDataset(train.x, train.y), batch_size=BATCH, shuffle=True),
            DataLoader(TensorDataset(val.x, val.y), batch_size=EVALUATION_BATCH),
        )
    return Measured([], times, case.steps)


def lines(case: Case, found: dict[str, list[Measured]]) -> Iterator[list[str]]:
    """One row per contender."""
    base = [run.microseconds for run in found["raw loop"]]
    base_cpu = [run.cpu_microseconds for run in found["raw loop"]]
    for name, runs in found.items():
        times = [run.microseconds for run in runs]
        cpu = [run.cpu_microseconds for run in runs]
        shown = [median(times), min(times), max(times)]
        yield [
            f"{case.name} ({case.steps} steps), {name}",
            *(f"{value:.0f}" for value in shown),
            f"{ratio(times, base):.2f}",
            f"{median(cpu):.0f}",
            f"{ratio(cpu, base_cpu):.2f}",
        ]


def epoch_seconds(runs: list[Measured]) -> float:
    """CPU seconds of the middle epoch."""
    return median([median(run.times.cpu[1:]) for run in runs])


def fixed_costs(long: dict[str, float], short: dict[str, float]) -> str:
    """A straight line through two lengths of an epoch: what a step and what an epoch costs."""
    rows = []
    for name in long:
        step = (long[name] - short[name]) / (625 - 125)
        rows.append([name, f"{step * 1e6:.0f}", f"{(short[name] - 125 * step) * 1e3:.1f}"])
    return table(["MLP", "CPU us per further step", "CPU ms per epoch besides"], rows)


if __name__ == "__main__":
    main()
