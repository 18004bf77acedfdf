"""What a trial is judged by: its values, and whether it keeps to the constraints."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dlframe.errors import ConfigError, did_you_mean
from dlframe.sweep.definition import Goal

__all__ = ["Broken", "broken_by", "metric_for", "read_constraint", "values_of"]

_CONSTRAINT = re.compile(r"\s*([\w/.-]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*")


class Broken(ValueError):
    """A trial ended without a value for each goal; said in one sentence."""


class Constraint(NamedTuple):
    """A bound on a metric.

    Args:
        metric: its name.
        sign: 1 where it must be small, -1 where it must be large.
        bound: the largest or smallest value.
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


def values_of(goals: Sequence[Goal], metrics: Mapping[str, float]) -> list[float]:
    """Return the value of each goal.

    Raises:
        Broken: one is missing, NaN or infinite.
    """
    values = []
    for goal in goals:
        name = metric_for(goal.metric, metrics)
        if name is None:
            raise Broken(
                f"the objective {goal.metric!r} was not recorded; "
                f"{did_you_mean(goal.metric, metrics)}there are {', '.join(sorted(metrics))}"
            )
        if not math.isfinite(metrics[name]):
            raise Broken(f"the objective {name} is {metrics[name]}")
        values.append(float(metrics[name]))
    return values


def read_constraint(text: str) -> Constraint:
    """Read a condition such as ``cost/parameters <= 1e5``.

    Raises:
        ConfigError: it is none.
    """
    found = _CONSTRAINT.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        return Constraint(found[1], 1 if found[2][0] == "<" else -1, float(found[3]))
    except ValueError:
        raise ConfigError(
            f"a constraint reads like 'cost/parameters <= 1e5'; got {text!r}"
        ) from None


def broken_by(text: str, metrics: Mapping[str, float]) -> float:
    """Return by how much a condition is missed; 0 or less where it is met.

    Raises:
        Broken: its metric was not recorded.
    """
    condition = read_constraint(text)
    name = metric_for(condition.metric, metrics)
    if name is None:
        raise Broken(f"the constraint {text!r} names a metric that was not recorded")
    return condition.sign * (metrics[name] - condition.bound)
