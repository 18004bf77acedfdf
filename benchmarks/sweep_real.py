"""Real trainings in a sweep: the digits MLP and CNN, two at a time, 5 epochs each.

python benchmarks/sweep_real.py run [--trials 40] [--repeats 3] [--other LABEL=PYTHON ...]

An interpreter after ``--other`` has hydra-optuna-sweeper, hydra-joblib-launcher and Lightning.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil
from measure import facts, interleaved, median, table

_SCRIPT = str(Path(__file__).with_name("sweep_real_script.py"))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run",))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--other", nargs="*", default=[], metavar="LABEL=PYTHON")
    options = parser.parse_args()
    print(facts("dlframe", "optuna", "torch", "lightning"))
    number = options.trials
    contenders: dict[str, Callable[[], tuple[float, float]]] = {
        "dlframe, each trial recorded in MLflow": partial(dlframe, number),
        "dlframe, not recorded": partial(dlframe, number, "tracking.enabled=false"),
        "dlframe, not recorded, no figures": partial(
            dlframe, number, "tracking.enabled=false", "tracking.figures=false"
        ),
        "study.optimize in two processes": partial(by_hand, number),
    }
    for each in options.other:
        label, _, python = each.partition("=")
        contenders[label] = partial(official, python, number)
    found = interleaved(contenders, options.repeats)
    base = found["study.optimize in two processes"]
    rows = []
    for name, runs in found.items():
        speeds = [60 * number / seconds for seconds, _ in runs]
        ratios = [b[0] / a[0] for a, b in zip(runs, base, strict=True)]
        rows.append((name, f"{median(speeds):.1f}", f"{median(ratios):.2f}",
                     f"{median([memory for _, memory in runs]):.0f}"))  # fmt: skip
    print(table((f"{number} trials", "trials/min", "ratio", "MiB at most"), rows))


def dlframe(trials: int, *words: str) -> tuple[float, float]:
    """Let dlframe search."""
    return measured([[
        sys.executable, "-m", "dlframe", "train", "sweep=tpe", "architecture=mlp,cnn",
        "optimizer.lr=tag(log,interval(1e-4,1e-1))", "trainer.max_epochs=5",
        "hydra/sweeper/pruner=none",
        "hydra.sweeper.n_workers=2", f"hydra.sweeper.n_trials={trials}", "tracking.log_model=false",
        "tracking.wait=0", *words,
    ]])  # fmt: skip


def by_hand(trials: int) -> tuple[float, float]:
    """Let two processes search that share a journal."""
    return measured(
        [[sys.executable, _SCRIPT, "optuna", str(trials // 2), "journal.log"] for _ in range(2)]
    )


def official(python: str, trials: int) -> tuple[float, float]:
    """Let Hydra's own sweeper search, with joblib's launcher."""
    return measured([[
        python, _SCRIPT, "-m", "hydra/sweeper=optuna", "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.n_trials={trials}", "architecture=choice(mlp,cnn)",
        "lr=tag(log,interval(1e-4,1e-1))",
    ]])  # fmt: skip


def measured(commands: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Run commands at the same time; return seconds, and MiB of all their processes at most."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        began = time.perf_counter()
        processes = [
            subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for words in commands
        ]
        most, over = [0.0], threading.Event()
        watch = threading.Thread(target=_watch, args=(folder, most, over))
        watch.start()
        said = [process.communicate()[1] for process in processes]
        taken = time.perf_counter() - began
        over.set()
        watch.join()
        for process, text in zip(processes, said, strict=True):
            if process.returncode:
                raise RuntimeError(text.decode())
    return taken, most[0]


def _watch(folder: str, most: list[float], over: threading.Event) -> None:
    """Note the most memory of the processes that work in a folder, what they share counted once."""
    while not over.wait(0.5):
        used = 0
        for process in psutil.process_iter():
            try:
                if process.cwd() == folder and "deliver" not in " ".join(process.cmdline()):
                    used += process.memory_full_info().pss
            except psutil.Error:
                continue
        most[0] = max(most[0], used / 2**20)


if __name__ == "__main__":
    main()
