"""Epochs that a search needs, looked up in a table of real trainings.

python benchmarks/sweep_efficiency.py build    train each point of both grids; writes the table (30 min)
python benchmarks/sweep_efficiency.py run      search the table with each sampler and pruner
"""

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from measure import facts, table
from numpy.typing import NDArray

from dlframe.sweep.frozen import Composer

TABLE = Path(__file__).with_name("sweep_efficiency.npz")
EPOCHS = 81
SEEDS = (1, 2, 3)
DATA = ("digits", "breast_cancer")
GRID: dict[str, list[Any]] = {
    "optimizer.lr": [float(f"{10**exponent:.2g}") for exponent in np.linspace(-4.5, -0.5, 9)],
    "architecture.hidden": [[8], [32], [128], [32, 32], [128, 128]],
    "optimizer": ["adam", "sgd"],
    "activation": ["relu", "sigmoid"],
    "regularizer.dropout.p": [0.0, 0.25, 0.5],
}


def main() -> None:
    """Build the table, or search it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("build", "run"))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--budget", type=int, default=100 * EPOCHS, help="epochs of a search")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.what == "build":
        build(options.workers)
    else:
        run(options.seeds, options.budget, options.workers)


# --- the table -----------------------------------------------------------------------------------


def points() -> list[tuple[int, ...]]:
    """Return the places of all points of the grid."""
    return list(product(*(range(len(values)) for values in GRID.values())))


def build(workers: int) -> None:
    """Train all points with each seed, and write their validation losses."""
    found = {}
    shape = [len(values) for values in GRID.values()]
    each = list(product(points(), SEEDS))
    for data in DATA:
        with ProcessPoolExecutor(workers) as pool:
            curves = list(
                pool.map(trained, [data] * len(each), *zip(*each, strict=True), chunksize=8)
            )
        # Half precision: steps of 0.05 % of a loss, a tenth of what tells two good points apart.
        found[data] = np.array(curves).reshape(*shape, len(SEEDS), EPOCHS).astype(np.float16)
        print(data, len(curves), "trainings", flush=True)
    np.savez_compressed(TABLE, digits=found["digits"], breast_cancer=found["breast_cancer"])
    print(TABLE, f"{TABLE.stat().st_size / 1024:.0f} KiB")


def trained(data: str, point: tuple[int, ...], seed: int) -> list[float]:
    """Train one point; return the validation loss after each epoch, infinite once it diverged."""
    import torch

    from dlframe.errors import TrainingDivergedError
    from dlframe.training.fit import Fit
    from dlframe.training.prepare import prepare

    torch.set_num_threads(1)
    values = dict(zip(GRID, (options[i] for options, i in zip(GRID.values(), point, strict=True)),
                      strict=True))  # fmt: skip
    overrides = [f"data={data}", "regularizer=[dropout]", f"trainer.max_epochs={EPOCHS}",
                 "trainer.checkpoint=false", "trainer.progress=off", "data.batch_size=32",
                 "data.validation=0.5", f"seed={seed}"]  # fmt: skip
    overrides += [f"{key}={value}".replace(" ", "") for key, value in values.items()]
    with tempfile.TemporaryDirectory() as folder:
        fit = Fit(prepare(config_of(overrides)), Path(folder), lambda *_: None)
        with suppress(TrainingDivergedError):
            fit.fit()
        losses = [v["val/loss"] for v in fit.module.history if "val/loss" in v]
    return losses + [float("inf")] * (EPOCHS - len(losses))


def config_of(overrides: list[str]) -> dict[str, Any]:
    """Return a run's config."""
    return _COMPOSER(overrides)


_COMPOSER = Composer()


# --- the search ----------------------------------------------------------------------------------


def pruners() -> dict[str, Callable[[], optuna.pruners.BasePruner] | None]:
    """Return the contenders: each with TPE, but the first."""
    from dlframe.sweep.definition import Chosen
    from dlframe.sweep.pruners import make_pruner

    def of(name: str, **options: Any) -> Callable[[], optuna.pruners.BasePruner]:
        return lambda: make_pruner(Chosen(f"dlframe/{name}", options), max_resource=EPOCHS)

    return {
        "random, no pruner": None,
        "TPE, no pruner": optuna.pruners.NopPruner,
        "TPE, power_law (dlframe's default)": of("power_law"),
        "TPE, median": of("median"),
        "TPE, percentile 25": of("percentile"),
        "TPE, asha": of("asha"),
        "TPE, asha from epoch 3": of("asha", min_resource=3, reduction_factor=3),
        "TPE, hyperband": of("hyperband"),
    }


class Course(NamedTuple):
    """How one search went.

    Args:
        trials: that were begun.
        reached: epochs until a trial completed that was good enough; None if none was.
        best: the best value that a trial completed with.
    """

    trials: int
    reached: int | None
    best: float


def good_enough(losses: NDArray[np.float64]) -> float:
    """Return the best value of the table and one per cent of its distance to the median's."""
    values = losses.min(-1)
    return float(values.min() + 0.01 * (np.median(values) - values.min()))


def search(losses: NDArray[np.float64], name: str, seed: int, budget: int) -> Course:
    """Search a table for so many epochs in all."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = pruners()[name]
    sampler: Any = optuna.samplers.TPESampler(seed=seed)
    if pruner is None:
        sampler, pruner = optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner
    study = optuna.create_study(sampler=sampler, pruner=pruner())
    enough = good_enough(losses)
    epochs, trials, reached, best = 0, 0, None, float("inf")
    while epochs < budget:
        trial = study.ask()
        trials += 1
        curve = losses[point_of(trial)]
        state = optuna.trial.TrialState.COMPLETE
        for epoch, loss in enumerate(curve, 1):
            epochs += 1
            trial.report(float(loss), epoch)
            if trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        if state == optuna.trial.TrialState.PRUNED:
            study.tell(trial, state=state)
            continue
        value = float(curve.min())
        study.tell(trial, value)
        if epochs <= budget:
            best = min(best, value)
            if value <= enough and reached is None:
                reached = epochs
    return Course(trials, reached, best)


def point_of(trial: optuna.Trial) -> tuple[int, ...]:
    """Let the sampler choose: places on an axis where that has an order, else names."""
    place = []
    for key, values in GRID.items():
        if key in ("optimizer.lr", "regularizer.dropout.p"):
            place.append(trial.suggest_int(key, 0, len(values) - 1))
        else:
            place.append(trial.suggest_categorical(key, list(range(len(values)))))
    return tuple(place)


def run(seeds: int, budget: int, workers: int) -> None:
    """Search both tables with each contender and print what it took."""
    from scipy.stats import wilcoxon

    print(facts("optuna", "dlframe"))
    stored = np.load(TABLE)
    for data in DATA:
        # What a trial of all seeds would report, in place of which one seed would be a gamble.
        losses = np.nan_to_num(stored[data].astype(np.float64), nan=1e4, posinf=1e4).mean(axis=-2)
        found: dict[str, list[Course]] = {}
        with ProcessPoolExecutor(workers) as pool:
            tasks = {
                name: [pool.submit(search, losses, name, seed, budget) for seed in range(seeds)]
                for name in pruners()
            }
            for name, each in tasks.items():
                found[name] = [task.result() for task in each]
        plain = found["TPE, no pruner"]
        # A search that did not reach it has taken at least its budget for that.
        base = [c.reached or budget for c in plain]
        rows = []
        for name, courses in found.items():
            took = [c.reached or budget for c in courses]
            worse = [c.best - p.best for c, p in zip(courses, plain, strict=True)]
            p_value = wilcoxon(worse, alternative="greater").pvalue if any(worse) else 1.0
            rows.append((
                name, f"{np.mean([c.trials for c in courses]):.0f}",
                f"{np.median(took):.0f}", f"{np.median(base) / np.median(took):.2f}",
                f"{np.mean(took):.0f}", f"{np.mean(base) / np.mean(took):.2f}",
                f"{sum(c.reached is not None for c in courses)}",
                f"{np.mean([c.best for c in courses]):.5f}", f"{p_value:.3f}",
            ))  # fmt: skip
        print(f"\n{data}: {len(points())} trainings of {EPOCHS} epochs, best {losses.min():.5f}, good "
              f"enough {good_enough(losses):.5f}; {seeds} searches of {budget} epochs")  # fmt: skip
        head = ("search", "trials", "epochs, median", "fewer (x)", "epochs, mean", "fewer (x)",
                "reached", "final loss, mean", "p, worse than TPE")  # fmt: skip
        print(table(head, rows))


if __name__ == "__main__":
    main()
