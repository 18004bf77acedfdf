"""What a trial is judged by: its values, and whether it keeps to the constraints."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from optuna.trial import FrozenTrial

from dlframe.errors import ConfigError, did_you_mean
from dlframe.sweep.definition import Goal

__all__ = ["Broken", "Constraint", "broken_by", "feasible", "metric_for", "read_constraint",
           "sign_of", "title_of", "value_of", "values_of"]  # fmt: skip

_CONSTRAINT = re.compile(r"\s*([\w/.-]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*")


class Broken(ValueError):
    """A trial ended without a value for each goal or constraint; said in one sentence."""


class Constraint(NamedTuple):
    """A bound on a metric.

    Args:
        metric: its name.
        sign: 1 where it must be small, -1 where it must be large.
        bound: the largest or smallest value that meets it.
    """

    metric: str
    sign: int
    bound: float


def metric_for(name: str, metrics: Mapping[str, float]) -> str | None:
    """Return the metric that a goal is read from: a validation metric's at the best epoch.

    Args:
        name: as the goal names it, such as ``val/loss``.
        metrics: the run's at its end.
    """
    best = f"best/{name.replace('/', '_')}" if name.startswith("val/") else name
    return best if best in metrics else name if name in metrics else None


def sign_of(goal: Goal) -> int:
    """Return what a goal's values are to be multiplied by for the smallest to be the best."""
    return 1 if goal.direction == "minimize" else -1


def title_of(goal: Goal) -> str:
    """Return a goal's metric with what of it is better."""
    return f"{goal.metric} ({'smaller' if sign_of(goal) > 0 else 'larger'} is better)"


def values_of(goals: Sequence[Goal], metrics: Mapping[str, float]) -> list[float]:
    """Return the value of each goal.

    Raises:
        Broken: one is missing, NaN or infinite.
    """
    return [_measured("objective", goal.metric, metrics) for goal in goals]


def value_of(trial: FrozenTrial, place: int = 0) -> float:
    """Return a completed trial's value of a goal."""
    assert trial.values is not None
    return float(trial.values[place])


def read_constraint(text: str) -> Constraint:
    """Read a condition such as ``cost/parameters <= 1e5``.

    Raises:
        ConfigError: it is none.
    """
    found = _CONSTRAINT.fullmatch(text)
    try:
        if found is None or not math.isfinite(bound := float(found[3])):
            raise ValueError(text)
    except ValueError:
        raise ConfigError(
            f"a constraint reads like 'cost/parameters <= 1e5'; got {text!r}"
        ) from None
    sign = 1 if found[2][0] == "<" else -1
    if not found[2].endswith("="):  # the bound itself breaks it, and its neighbour does not
        bound = math.nextafter(bound, -sign * math.inf)
    return Constraint(found[1], sign, bound)


def broken_by(text: str, metrics: Mapping[str, float]) -> float:
    """Return by how much a condition is missed; 0 or less where it is met.

    Raises:
        Broken: its metric is missing, NaN or infinite.
    """
    condition = read_constraint(text)
    value = _measured("constrained metric", condition.metric, metrics)
    return condition.sign * (value - condition.bound)


def feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps to all constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())


def _measured(what: str, wanted: str, metrics: Mapping[str, float]) -> float:
    name = metric_for(wanted, metrics)
    if name is None:
        raise Broken(
            f"the {what} {wanted!r} was not recorded; {did_you_mean(wanted, metrics)}there are "
            f"{', '.join(sorted(metrics))}"
        )
    value = float(metrics[name])
    if not math.isfinite(value):
        raise Broken(f"the {what} {name} is {value}")
    return value
