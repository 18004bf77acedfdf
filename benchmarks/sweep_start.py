"""What a trial of a sweep costs before its training: from the order to the first optimizer step.

The digits MLP with dlframe's defaults. The trials run one after another in one pool, as those of a
worker do; the first of them waits for the imports of the process that the others are forked from.
Beside them, the same training as a command of its own.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import time

from measure import facts, median, table
from startup import install, settle, spend

from dlframe.api import compose
from dlframe.sweep.order import Order
from dlframe.sweep.pool import Pool
from dlframe.tracking.recorder import new_uid

LIMIT = 0.3
"""Seconds to the first step of the second and later trials."""

_PLUGIN = """
from dlframe import Component, hookimpl

@hookimpl
def dlframe_regularizers():
    yield Component(name="mark", target="{name}_target:Mark", summary="notes the first step's time")
"""
_TARGET = """
import os, time
from dlframe.interfaces import Regularizer

class Mark(Regularizer):
    def __init__(self) -> None:
        self.marked = False

    def after_step(self, model):
        if not self.marked:
            self.marked = True
            with open(os.environ["FIRST_STEP"], "w") as file:
                file.write(repr(time.time()))
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/sweep_start.py --repeats 9",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--repeats", type=int, default=9, help="trials after the first (default: 9)"
    )
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        install(folder, "first", _PLUGIN)
        (folder / "first_target.py").write_text(_TARGET)
        sys.path.insert(0, name)
        os.environ["FIRST_STEP"] = str(folder / "step")
        trials = measure_trials(folder, 1 + repeats)
        commands = measure_commands(folder, repeats)
        settle(folder / "runs")
    rows = [
        [name, *(f"{value:.2f}" for value in (median(times), min(times), max(times))), limit]
        for name, times, limit in (
            ("a command of its own", [first for first, _ in commands], ""),
            ("first trial", [trials[0][0]], ""),
            ("later trials", [first for first, _ in trials[1:]], f"{LIMIT:.2f}"),
            ("later trials, to their end", [whole for _, whole in trials[1:]], ""),
        )
    ]
    print(facts("torch", "lightning", "dlframe"))
    print("\n" + table(["seconds to the first step", "median", "lowest", "highest", "limit"], rows))


def measure_trials(folder: Path, number: int) -> list[tuple[float, float]]:
    """Seconds from each call of the pool to the first step, and to the end."""
    words = ("regularizer=[mark]", "trainer.max_epochs=2", f"tracking.root={folder / 'runs'}")
    config = compose(*words)
    found = []
    with Pool(threads=1) as pool:
        for trial in range(number):
            order = Order(config=config, uid=new_uid(), overrides=list(words))
            place = folder / f"trial-{trial}"

            def run(order: Order = order, place: Path = place) -> None:
                outcome = pool.run(order, place, on_report=lambda step, values: False)
                if outcome.state != "finished":
                    raise SystemExit(f"the trial failed: {outcome.said}")

            found.append(timed(run))
    return found


def measure_commands(folder: Path, number: int) -> list[tuple[float, float]]:
    """The same of the command line."""
    words = [str(Path(sys.executable).with_name("dlframe")), "train", "regularizer=[mark]"]
    words += ["trainer.max_epochs=2", "trainer.threads=1", "tracking.wait=0"]
    words.append(f"tracking.root={folder / 'runs'}")
    return [timed(lambda: spend(words, folder)) for _ in range(number)]


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds to the first step of a training, and to its end."""
    began = time()
    act()
    ended = time()
    return float(Path(os.environ["FIRST_STEP"]).read_text()) - began, ended - began


if __name__ == "__main__":
    main()
