"""Made-up objectives for samplers and pruners."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import create_study

from dlframe.sweep.definition import Parameter
from dlframe.sweep.space import propose

EPOCHS = 30


def ends(pruner: BasePruner, *, repeat: int = 1) -> list[int]:
    """Epoch at which each of forty trials with real-looking curves ended."""
    study = create_study(pruner=pruner, study_name="curves", sampler=RandomSampler(seed=0))
    found = []
    for number in range(40):
        trial = study.ask()
        level, rate = (number * 37 % 40) / 40, 0.1 + (number * 11 % 17) / 20
        value, last = 0.0, 0
        for last in range(1, EPOCHS + 1):
            value = level + math.exp(-rate * last) + 0.05 * math.sin(number + 3 * last)
            trial.report(value, last)
            if trial.should_prune():
                break
        study.tell(trial, value)
        found.append(last)
    return found


def value_of(params: dict[str, Any]) -> float:
    total = 0.0
    for name, value in params.items():
        number = len(value) if isinstance(value, str) else float(value)
        total += math.sin(number * (1 + len(name))) + abs(math.log10(abs(number) + 1e-6) + 2)
    return total


def course(
    sampler: BaseSampler, space: Sequence[Parameter], trials: int, objectives: int = 1
) -> list[dict[str, Any]]:
    """The parameters of so many trials."""
    study = create_study(sampler=sampler, directions=["minimize"] * objectives)
    for _ in range(trials):
        trial = study.ask()
        propose(trial, space)
        value = value_of(trial.params)
        study.tell(trial, [value, *(math.cos(value * n) for n in range(1, objectives))])
    return [trial.params for trial in study.trials]


def optunas(make: Callable[..., Any], **options: Any) -> Any:
    """Optuna's own object, whose remarks about itself are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**options)
