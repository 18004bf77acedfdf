"""What recording costs a training, and how fast it is delivered.

python benchmarks/tracking.py call        time of a log call of 20 values
python benchmarks/tracking.py loggers     one LightningModule with each logger, taking turns
python benchmarks/tracking.py delivery    points a second; memory while a million are delivered
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tracking"))

from measure import facts, interleaved, median, table

from dlframe.tracking.launch import LOCK, ensure_delivery
from dlframe.tracking.recorder import Recorder

VALUES = 20
LOGGERS = ("none", "CSVLogger", "MLFlowLogger", "MLFlowLogger, asynchronous", "autolog", "dlframe")


def main() -> None:
    """Run one of the benchmarks and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("call", "loggers", "delivery", "one"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--logger", choices=LOGGERS, help="for `one`, which `loggers` calls")
    parser.add_argument("--uri", help="likewise")
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(one(options.logger, options.steps, options.uri)))
        return
    print(facts("dlframe", "torch", "lightning", "mlflow"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if options.what == "call":
            print(calls(Path(folder), options.repeats))
        elif options.what == "loggers":
            print(loggers(Path(folder), options.repeats, options.steps))
        else:
            print(delivery(Path(folder), options.points))


# --- the call ------------------------------------------------------------------------------------


def calls(folder: Path, repeats: int) -> str:
    """Time single calls: back to back, and within steps of 2 ms of computation."""
    import torch

    torch.set_num_threads(1)
    matrix = torch.randn(256, 256)

    def compute() -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            matrix @ matrix

    rows = []
    for name, between, number in (
        ("back to back", lambda: None, 5_000),
        ("2 ms apart", compute, 2_000),
    ):
        found = interleaved({name: partial(timed, folder, between, number)}, repeats)[name]
        p50, p99 = ([f"{1e6 * one[place]:.0f}" for one in found] for place in (0, 1))
        middle = (f"{1e6 * median([one[place] for one in found]):.0f}" for place in (0, 1))
        rows.append((name, *middle, " ".join(p50), " ".join(p99)))
    return table(("a call of 20 values", "median us", "p99 us", "medians", "p99s"), rows)


def timed(folder: Path, between: Callable[[], object], number: int) -> tuple[float, float]:
    """Return median and 99th percentile of ``number`` calls, the delivery process at work."""
    recorder = Recorder(folder / str(time.time_ns()), uri=None, experiment="e", run_name=None)
    taken = []
    for step in range(number):
        values = {f"train/m{i}": step / (i + 1) for i in range(VALUES)}
        begin = time.perf_counter()
        recorder.metrics(values, step)
        taken.append(time.perf_counter() - begin)
        between()
    recorder.finish("FINISHED")
    recorder.wait(600)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


# --- loggers -------------------------------------------------------------------------------------


def loggers(folder: Path, repeats: int, steps: int) -> str:
    """Train one module with each logger in turn, in processes of their own."""
    from fault_support import Server

    server = Server(folder / "server")
    server.start()
    try:
        found = interleaved(
            {name: partial(apart, name, steps, server.uri, folder) for name in LOGGERS}, repeats
        )
    finally:
        server.close()
    rows = []
    for name, runs in found.items():
        step = [1000 * run["fit"] / steps for run in runs]
        base = [1000 * run["fit"] / steps for run in found["none"]]
        more = [a - b for a, b in zip(step, base, strict=True)]
        memory = [a["memory"] - b["memory"] for a, b in zip(runs, found["none"], strict=True)]
        rows.append((
            name, f"{median(step):.2f}", f"{median(more):+.2f}",
            f"{1e6 * median([run['p50'] for run in runs]):.0f}",
            f"{1e6 * median([run['p99'] for run in runs]):.0f}",
            f"{100 * median([run['calls'] / run['fit'] for run in runs]):.1f}",
            f"{median([run['after'] for run in runs]):.1f}", f"{median(memory):+.0f}",
        ))  # fmt: skip
    head = ("logger, every step", "ms a step", "ms more", "call: median us", "p99 us", "% of training",
            "s after it", "MB more")  # fmt: skip
    return table(head, rows)


def apart(name: str, steps: int, uri: str, folder: Path) -> dict[str, float]:
    """Run one training in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "one",
        "--logger",
        name,
        "--steps",
        str(steps),
        "--uri",
        uri,
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(name: str, steps: int, uri: str) -> dict[str, float]:
    """Train with one logger; return seconds of the fit and of the log calls, and MB of memory."""
    import lightning as L
    import torch
    from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger
    from torch.utils.data import DataLoader, TensorDataset

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    taken: list[float] = []

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.nn.Sequential(
                torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)
            )

        def training_step(self, batch: tuple[torch.Tensor, ...], index: int) -> torch.Tensor:
            loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            self.log_dict({f"train/m{i}": loss.detach() for i in range(VALUES)})
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Recorded(Logger):
        """The recorder as one of Lightning's loggers."""

        name, version = "dlframe", "0"

        def __init__(self) -> None:
            super().__init__()
            self.recorder = Recorder(Path("runs"), uri=uri, experiment="cost", run_name=None)

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.recorder.metrics(metrics, step or 0)

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            pass

        def finalize(self, status: str) -> None:
            self.recorder.finish("FINISHED")

    made: dict[str, Callable[[], Any]] = {
        "none": lambda: False,
        "autolog": lambda: False,
        "CSVLogger": lambda: CSVLogger("csv"),
        "MLFlowLogger": lambda: MLFlowLogger("cost", tracking_uri=uri),
        "MLFlowLogger, asynchronous": lambda: MLFlowLogger(
            "cost", tracking_uri=uri, synchronous=False
        ),
        "dlframe": Recorded,
    }
    logger = made[name]()
    if logger:
        log = logger.log_metrics

        def timed_log(metrics: dict[str, float], step: int | None = None) -> None:
            begin = time.perf_counter()
            log(metrics, step)
            taken.append(time.perf_counter() - begin)

        logger.log_metrics = timed_log
    if name == "autolog":
        import mlflow

        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("cost")
        mlflow.pytorch.autolog(log_models=False, checkpoint=False, log_every_n_step=1)
        mlflow.start_run()
    data = TensorDataset(torch.randn(128 * steps, 256), torch.randint(10, (128 * steps,)))
    trainer = L.Trainer(
        max_epochs=1, logger=logger, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    stamps: list[float] = []

    class Stamps(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            stamps.append(time.perf_counter())

        def on_train_epoch_end(self, *_: Any) -> None:
            stamps.append(time.perf_counter())

    trainer.callbacks.append(Stamps())  # type: ignore[attr-defined]
    trainer.fit(Module(), DataLoader(data, batch_size=128))
    if name == "autolog":
        import mlflow

        mlflow.end_run()
    end = time.perf_counter()
    taken = taken or [0.0, 0.0]
    return {
        "fit": stamps[-1] - stamps[0],
        "after": end - stamps[-1],
        "calls": sum(taken),
        "p50": statistics.median(taken),
        "p99": statistics.quantiles(taken, n=100)[98],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# --- delivery ------------------------------------------------------------------------------------


def delivery(root: Path, points: int) -> str:
    """Deliver many points to SQLite; measure the delivery process from outside."""
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, deliver=False)
    for step in range(points // VALUES):
        recorder.metrics({f"train/m{i}": step / (i + 1) for i in range(VALUES)}, step)
    recorder.finish("FINISHED")
    ensure_delivery(root)
    rows, began, marks = [], 0.0, iter(range(points // 10, points + 1, points // 10))
    while recorder.wait(0).mlflow_run_id is None:
        time.sleep(0.05)
    pid = int((root / LOCK).read_text())
    began, cpu, before = time.monotonic(), _cpu(pid), points - recorder.wait(0).backlog * VALUES
    mark = next(marks)
    while True:
        state = recorder.wait(0)
        done = points - state.backlog * VALUES
        if done >= mark or state.complete:
            seconds, used = time.monotonic() - began, _cpu(pid) - cpu
            rows.append((f"{min(done, points):,}", f"{seconds:.1f}",
                         f"{(done - before) / seconds:,.0f}",
                         f"{(done - before) / used:,.0f}", f"{_memory(pid):.0f}"))  # fmt: skip
            mark = next(marks, points)
        if state.complete:
            break
        time.sleep(0.1)
    head = (
        "points delivered",
        "s",
        "points/s",
        "points per s of CPU",
        "MB of the delivery process",
    )
    return table(head, rows)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
