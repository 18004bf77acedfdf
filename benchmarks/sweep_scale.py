"""How long workers wait for a proposal when there are many: sleeping trials on PostgreSQL.

python benchmarks/sweep_scale.py run [--workers 64] [--trials 5000] [--sampler tpe]

PostgreSQL is started in a temporary folder, or DLFRAME_TEST_POSTGRES_URL names an empty database.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from measure import facts, table
from sweep_overhead import made

from dlframe.sweep.storage import open_storage
from dlframe.sweep.worker import Worker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tracking"))

_FORK = multiprocessing.get_context("fork")


def main() -> None:
    """Run the benchmark and print its table."""
    from fault_support import another_database, postgres

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run",))
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=5000)
    options = parser.parse_args()
    print(facts("dlframe", "optuna"))
    with tempfile.TemporaryDirectory() as folder, postgres() as given:
        url = another_database(given, "scale")
        study = made(Path(folder), "scale", options.trials, "inline", url)
        asked: Any = _FORK.SimpleQueue()
        began = time.perf_counter()
        workers = [
            _FORK.Process(target=_work, args=(url, asked), daemon=True)
            for _ in range(options.workers)
        ]
        for worker in workers:
            worker.start()
        times = np.concatenate([asked.get() for _ in workers])
        for worker in workers:
            worker.join()
        wall = time.perf_counter() - began
        complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    rows = [(
        f"{options.workers} workers, {len(complete)} trials", f"{wall:.0f}",
        f"{len(complete) / wall:.1f}", *(f"{1000 * np.percentile(times, p):.0f}" for p in (50, 95, 99)),
    )]  # fmt: skip
    print(table(("PostgreSQL", "s", "trials/s", "ask: median ms", "p95", "p99"), rows))


def _work(url: str, asked: Any) -> None:
    times: list[float] = []
    study = optuna.load_study(study_name="scale", storage=open_storage(url))
    worker = Worker(study, entry="sweep_nothing:nap")
    take = worker._ledger.take

    def timed() -> optuna.Trial | None:
        began = time.perf_counter()
        trial = take()
        if (
            trial is not None
        ):  # and the first value, before which a sampler may not have done its work
            trial.suggest_categorical("activation", ("relu", "gelu", "silu"))
            times.append(time.perf_counter() - began)
        return trial

    worker._ledger.take = timed  # type: ignore[method-assign]
    worker.work()
    asked.put(times)
    os._exit(0)


if __name__ == "__main__":
    main()
