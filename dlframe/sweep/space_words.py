"""A search space in words and numbers: what is printed of it, how many points it has."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from math import prod
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space_choices import EITHER
from dlframe.sweep.space_texts import words_of
from dlframe.sweep.space_trials import distribution_of, holds

__all__ = ["combinations", "describe", "grid"]


def describe(space: Sequence[Parameter]) -> list[tuple[str, str, str]]:
    """Return for each parameter its name, its values in words, and when a trial has it."""
    searched = {parameter.key for parameter in space}
    return [(p.name, _values(p), " and ".join(_conditions(p, searched))) for p in space]


def combinations(space: Sequence[Parameter]) -> int | None:
    """Return how many different trials there are, exactly; None for no end of them.

    What one choice rules out is not counted with it.
    """
    if any(_count(distribution_of(parameter)) is None for parameter in space):
        return None
    total = 1
    for part in _independent(space):
        keys = {key for parameter in part for key, _ in parameter.when}
        parents = [parameter for parameter in part if parameter.key in keys]
        rest = [parameter for parameter in part if parameter.key not in keys]
        total *= sum(
            prod(_count(distribution_of(p)) or 1 for p in rest if holds(p, part, texts))
            for texts in _assignments(parents)
        )
    return total


def grid(space: Sequence[Parameter]) -> dict[str, list[Any]]:
    """Return all values of each parameter, by name.

    Raises:
        ConfigError: one has no end of values.
    """
    return {parameter.name: _all(parameter) for parameter in space}


def _all(parameter: Parameter) -> list[Any]:
    distribution = distribution_of(parameter)
    match distribution:
        case CategoricalDistribution(choices=choices):
            return list(choices)
        case IntDistribution(low=low, high=high, step=step):
            return list(range(low, high + 1, step))
        case FloatDistribution(low=low, step=step) if (count := _count(distribution)) is not None:
            if step is None:
                return [low]
            return [float(Decimal(repr(low)) + n * Decimal(repr(step))) for n in range(count)]
    raise ConfigError(
        f"a grid needs values to count, and {parameter.name} is searched from {_values(parameter)}; "
        f"write {parameter.key}=<one>,<other>, or range(<from>,<to>,<step>)"
    )


def _count(distribution: BaseDistribution) -> int | None:
    if distribution.single():
        return 1
    match distribution:
        case CategoricalDistribution(choices=choices):
            return len(choices)
        case IntDistribution(low=low, high=high, step=step):
            return (high - low) // step + 1
        case FloatDistribution(low=low, high=high, step=float(step)):
            exact = [Decimal(repr(number)) for number in (low, high, step)]
            return int((exact[1] - exact[0]) // exact[2]) + 1
    return None


def _independent(space: Sequence[Parameter]) -> list[list[Parameter]]:
    """The space in parts that have no say in each other."""
    parts: list[list[Parameter]] = []
    for parameter in space:
        keys = {parameter.key, *(key for key, _ in parameter.when)}
        touching = [
            part for part in parts if any({p.key, *(k for k, _ in p.when)} & keys for p in part)
        ]
        joined = [p for part in touching for p in part] + [parameter]
        parts = [*(part for part in parts if part not in touching), joined]
    return parts


def _assignments(parents: Sequence[Parameter]) -> Iterator[Mapping[str, str]]:
    for texts in product(*(parent.texts for parent in parents)):
        yield {p.key: text for p, text in zip(parents, texts, strict=True)}


def _values(parameter: Parameter) -> str:
    distribution = distribution_of(parameter)
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(parameter.texts)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    if distribution.single():
        return words_of(distribution.low)
    words = f"{words_of(distribution.low)} to {words_of(distribution.high)}"
    if distribution.log:
        return f"{words}, log"
    stepped = distribution.step not in (None, 1) or isinstance(distribution.step, float)
    return f"{words}, step {words_of(distribution.step)}" if stepped else words


def _conditions(parameter: Parameter, searched: set[str]) -> Iterator[str]:
    for key, wanted in parameter.when:
        names = " or ".join(wanted.split(EITHER))
        if key not in searched:
            yield f"adds {key} {names}"
        else:
            yield f"{key} {'has' if parameter.key.startswith(f'{key}.{wanted}.') else 'is'} {names}"
