"""The CNN of Keras's MNIST tutorial, two epochs: dlframe, a hand-written loop, and Keras.

All train on the same rows in batches of 32 and validate after each epoch; the time is that of both
epochs with their validations, for dlframe with logging, checkpoints and progress bar. The hand-written
loop starts from dlframe's initial weights and visits the rows in the same order, so that its losses
are equal; Keras draws its own.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import stopwatch
import torch
from measure import facts, interleaved, median, ratio, table, terminal
from raw import BATCH, LR, cnn, copied, evaluate, raw_loop

from dlframe import api
from dlframe.plugin import registry
from dlframe.training.prepare import Parts, prepare
from dlframe.training.run import execute

EPOCHS, ACCURACY = 2, 0.98
BF16 = ("trainer.precision=bf16-mixed", "trainer.channels_last=true")


@dataclass
class Trained:
    """One training: seconds, accuracy on the 10,000 test images, mean training loss per epoch."""

    seconds: float
    accuracy: float
    losses: tuple[float, ...] = ()
    version: str = ""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/mnist_keras.py ~/data/mnist --keras-python keras/bin/python",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="folder of MNIST's four *-ubyte.gz files")
    parser.add_argument("--keras-python", help="interpreter that can import keras (default: none)")
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each (default: 3)")
    parser.add_argument(
        "--threads", type=int, help="threads of torch (default: torch's own choice)"
    )
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    registry().add(stopwatch, "bench")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = compare(Path(folder), arguments)
    base = [trained.seconds for trained in found["raw loop"]]
    rows = []
    for name, runs in found.items():
        times = [trained.seconds for trained in runs]
        accuracy = median([trained.accuracy for trained in runs])
        rows.append(
            [f"{name} {runs[0].version}".strip(), f"{accuracy:.4f}", f"{median(times):.1f}",
             f"{min(times):.1f}", f"{max(times):.1f}", f"{ratio(times, base):.2f}"]
        )  # fmt: skip
    print(facts("torch", "lightning", "dlframe"), f"threads {torch.get_num_threads()}", sep="; ")
    header = ["contender", "accuracy", "s", "lowest", "highest", "ratio to raw loop"]
    print("\n" + table(header, rows), flush=True)
    check(found)


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, list[Trained]]:
    """Train all in turn."""
    plain = configured(arguments.root, folder)
    parts = prepare(plain)
    contenders: dict[str, Callable[[], Trained]] = {
        "raw loop": partial(by_hand, parts),
        "dlframe": partial(in_dlframe, plain),
        "dlframe, bf16, channels_last": partial(
            in_dlframe, configured(arguments.root, folder, *BF16)
        ),
    }
    if arguments.keras_python:
        save(parts, folder / "mnist.npz")
        contenders["Keras"] = partial(in_keras, arguments.keras_python, folder / "mnist.npz")
    return interleaved(contenders, arguments.repeats)


def check(found: dict[str, list[Trained]]) -> None:
    """Make sure that all learn, and that dlframe and the hand-written loop do the same."""
    for name, runs in found.items():
        lowest = min(trained.accuracy for trained in runs)
        assert lowest >= ACCURACY, f"{name} reaches {lowest}"
    for raw, own in zip(found["raw loop"], found["dlframe"], strict=True):
        gap = max(abs(a - b) / a for a, b in zip(raw.losses, own.losses, strict=True))
        assert gap < 1e-6, f"dlframe and the raw loop differ: {own.losses} against {raw.losses}"


def configured(root: Path, folder: Path, *more: str) -> dict[str, Any]:
    """The run of `dlframe train experiment=mnist_cnn`, on 59,400 images of 60,000."""
    return api.compose(
        "experiment=mnist_cnn", f"data.root={root}", "data.download=false", f"optimizer.lr={LR}",
        f"data.batch_size={BATCH}", f"trainer.max_epochs={EPOCHS}", "trainer.progress=on",
        "data.validation=0.01",
        f"trainer.threads={torch.get_num_threads()}", "regularizer=[stopwatch]",
        f"tracking.root={folder / 'runs'}", *more,
    )  # fmt: skip


def in_dlframe(config: dict[str, Any]) -> Trained:
    """A recorded run."""
    with terminal():
        run = execute(config)
    losses = tuple(values["train/loss"] for values in run.epochs if "train/loss" in values)
    return Trained(sum(stopwatch.Stopwatch.latest.seconds), run.metrics["test/accuracy"], losses)


def by_hand(parts: Parts) -> Trained:
    """The hand-written loop, on the tensors that dlframe prepared."""
    network = copied(cnn(), parts)
    steps = -(-len(parts.splits.train.x) // BATCH)
    measured = raw_loop(network, parts, steps, EPOCHS)
    _, accuracy = evaluate(network, parts.splits.test.x, parts.splits.test.y)
    return Trained(sum(measured.times.seconds), accuracy, tuple(measured.losses))


def save(parts: Parts, path: Path) -> None:
    """Write the prepared images, channels last, for Keras."""
    arrays: dict[str, Any] = {}
    for name in ("train", "val", "test"):
        part = getattr(parts.splits, name)
        arrays |= {f"{name}_x": part.x.permute(0, 2, 3, 1).numpy(), f"{name}_y": part.y.numpy()}
    np.savez(path, **arrays)


def in_keras(python: str, path: Path) -> Trained:
    """A process of the other interpreter."""
    script = Path(__file__).with_name("keras_cnn.py")
    command = [python, str(script), str(path), str(BATCH), str(LR), str(EPOCHS)]
    threads = str(torch.get_num_threads())
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **dict.fromkeys(names, threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return Trained(values["seconds"], values["accuracy"], version=f"({values['version']})")


if __name__ == "__main__":
    main()
