"""How busy a sweep keeps its workers: trials of log-normal length that sleep.

python benchmarks/sweep_utilisation.py run [--workers 4 8] [--each 16]
"""

import argparse
import heapq
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
from measure import facts, table
from sweep_nothing import length
from sweep_overhead import made

from dlframe.sweep.pool import Pool
from dlframe.sweep.worker import Worker


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run",))
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--each", type=int, default=16)
    options = parser.parse_args()
    print(facts("dlframe", "optuna"))
    rows = []
    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        for workers in options.workers:
            number = workers * options.each
            lengths = [length(i) for i in range(number)]
            bound = sum(lengths) / (workers * listed(lengths, workers))
            batch = sum(lengths) / (workers * batched(lengths, workers))
            for execution in ("inline", "process"):
                wall = swept(Path(folder), number, workers, execution, pool)
                busy = sum(lengths) / (workers * wall)
                rows.append((
                    f"{workers} workers, {number} trials, {execution}", f"{wall:.1f}", f"{busy:.3f}",
                    f"{bound:.3f}", f"{busy / bound:.3f}", f"{batch:.3f}",
                ))  # fmt: skip
    head = ("trials that sleep", "s", "busy", "list schedule", "ratio", "batches would be")
    print(table(head, rows))


def listed(lengths: Sequence[float], workers: int) -> float:
    """Return the end of a list schedule: each worker takes the next trial when it is free."""
    free = [0.0] * workers
    for each in lengths:
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def batched(lengths: Sequence[float], workers: int) -> float:
    """Return the end where all wait for the slowest of each batch."""
    return sum(max(lengths[i : i + workers]) for i in range(0, len(lengths), workers))


def swept(root: Path, trials: int, workers: int, execution: str, pool: Pool) -> float:
    """Return the seconds that a study takes; its workers have begun before."""
    study = made(root, f"sleep-{time.time_ns()}", trials, execution)
    worker = Worker(study, slots=workers, pool=pool, entry="sweep_nothing:sleep")
    began = time.perf_counter()
    worker.work()
    taken = time.perf_counter() - began
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == trials
    return taken


if __name__ == "__main__":
    main()
