"""What a sweep costs beside its trials: 200 that do nothing, against bare Optuna on the same storage.

python benchmarks/sweep_overhead.py run [--trials 200] [--repeats 3] [--other LABEL=PYTHON ...]

An interpreter after ``--other`` has hydra-optuna-sweeper, whose study is kept in memory here.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
from measure import facts, interleaved, median, table
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

from dlframe.sweep.definition import Chosen, Definition, Goal, Parameter, Stops
from dlframe.sweep.marks import DEFINITION, FOLDER
from dlframe.sweep.pool import Pool
from dlframe.sweep.storage import journal_of, open_storage
from dlframe.sweep.worker import Worker

_ACTIVATIONS = ("relu", "gelu", "silu")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run",))
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--other", nargs="*", default=[], metavar="LABEL=PYTHON")
    options = parser.parse_args()
    print(facts("dlframe", "optuna", "hydra-core"))
    with tempfile.TemporaryDirectory() as folder, Pool(1) as pool:
        root = Path(folder)
        contenders: dict[str, Callable[[], float]] = {
            "bare Optuna": partial(bare, root, options.trials),
            "dlframe, in process": partial(swept, root, options.trials, "inline", pool),
            "dlframe, warm processes": partial(swept, root, options.trials, "process", pool),
        }
        for each in options.other:
            label, _, python = each.partition("=")
            contenders[label] = partial(official, python, root, options.trials)
        for name in contenders:  # imports, and the pool's start
            if "dlframe" in name:
                swept(root, 3, "process" if "warm" in name else "inline", pool)
        found = interleaved(contenders, options.repeats)
    base = found["bare Optuna"]
    rows = [
        (
            name,
            f"{median(times):.1f}",
            f"{median([a - b for a, b in zip(times, base, strict=True)]):+.1f}",
        )
        for name, times in found.items()
    ]
    print(table((f"{options.trials} trials that do nothing", "ms a trial", "ms more"), rows))


def bare(root: Path, trials: int) -> float:
    """Return ms per trial of ``study.optimize``."""
    name = f"bare-{time.time_ns()}"
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(journal_of(name, root)),
        sampler=optuna.samplers.TPESampler(seed=0),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("activation", _ACTIVATIONS)
        return float((trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True) - 0.01) ** 2)

    began = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return 1000 * (time.perf_counter() - began) / trials


def official(python: str, root: Path, trials: int) -> float:
    """Return ms per trial of hydra-optuna-sweeper, its start left out."""

    def seconds(number: int) -> float:
        done = subprocess.run(
            [python, str(Path(__file__).with_name("sweep_official_app.py")), "-m",
             "hydra/sweeper=optuna", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_jobs=1",
             f"hydra.sweeper.n_trials={number}", "hydra.sweep.dir=out", "hydra.verbose=false",
             "activation=choice(relu,gelu,silu)", "lr=tag(log,interval(1e-4,1e-1))"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout.split()[-1])

    return 1000 * (seconds(trials) - seconds(1)) / (trials - 1)


def swept(root: Path, trials: int, execution: str, pool: Pool) -> float:
    """Return ms per trial of dlframe's worker."""
    study = made(root, f"swept-{time.time_ns()}", trials, execution)
    worker = Worker(study, pool=pool, entry="sweep_nothing:nothing")
    began = time.perf_counter()
    worker.work()
    taken = 1000 * (time.perf_counter() - began) / trials
    assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == trials
    return taken


def made(
    root: Path, name: str, trials: int, execution: str, url: str | None = None
) -> optuna.Study:
    """Make a study of so many trials in the same space as the objective above."""
    activation = CategoricalDistribution(_ACTIVATIONS)
    rate = FloatDistribution(1e-4, 1e-1, log=True)
    definition = Definition(
        name=name,
        fixed=("architecture=mlp", f"tracking.root={json.dumps(str(root))}"),
        space=(
            Parameter("activation", "activation", distribution_to_json(activation), _ACTIVATIONS),
            Parameter("optimizer.lr", "optimizer.lr", distribution_to_json(rate)),
        ),
        goals=(Goal("val/loss", "minimize"),),
        sampler=Chosen("dlframe/tpe"),
        pruner=None,
        seed=0,
        root=str(root),
        execution=execution,  # type: ignore[arg-type]
        stops=Stops(n_trials=trials),
    )
    storage = open_storage(url or journal_of(name, root))
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr(FOLDER, str(root / "studies" / name))
    study.set_user_attr(DEFINITION, definition.to_json())
    return study


if __name__ == "__main__":
    main()
