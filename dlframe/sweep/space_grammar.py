"""One dimension of a search space from one override in Hydra's grammar, or from a list of choices."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dlframe.errors import ConfigError, did_you_mean
from dlframe.sweep.space_texts import text_of, words_of

__all__ = ["Dimension", "chosen_from", "dimension_of"]

_LOG = "log"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One key and what is tried for it, not yet compared with the options there are.

    Args:
        key: what is overridden, without a plus and without ``@component``.
        distribution: of its values.
        values: of a categorical one: the value of each choice, lists and mappings as such.
        texts: of a categorical one: each value as an override writes it.
        component: the only component that it is for; None is for all that have the option.
        plus: whether the key may be one that the config does not have yet.
    """

    key: str
    distribution: BaseDistribution
    values: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()
    component: str | None = None
    plus: bool = False

    @property
    def named(self) -> str:
        """The key, with its component where it has one."""
        return self.key if self.component is None else f"{self.key}@{self.component}"

    @property
    def extremes(self) -> tuple[str, ...]:
        """The values, or the smallest and the largest, as overrides write them."""
        if isinstance(self.distribution, (IntDistribution, FloatDistribution)):
            ends = (self.distribution.low, self.distribution.high)
            return tuple(dict.fromkeys(map(text_of, ends)))
        return self.texts


def dimension_of(
    override: Override, names: Callable[[str], Sequence[str] | None], component: str | None
) -> Dimension:
    """Return what a swept override says.

    Args:
        override: one that has several values.
        names: gives all names of a group, or None for a key that is no group.
        component: what followed an ``@`` in its key.

    Raises:
        ConfigError: it sweeps over nothing, or over what cannot be searched.
    """
    key, swept = override.key_or_group, override.value()
    named = key if component is None else f"{key}@{component}"
    if isinstance(swept, Glob):
        found = _matching(key, swept, names(key))
        return replace(chosen_from(key, found), component=component)
    assert isinstance(swept, (ChoiceSweep, RangeSweep, IntervalSweep))
    logarithmic = _is_logarithmic(named, swept.tags)
    if isinstance(swept, ChoiceSweep):
        if logarithmic:
            raise ConfigError(
                f"{named} has choices, which have no scale; write {key}=tag(log,interval(<low>,<high>))"
            )
        # In a sweep the values are still wrapped in their quotes, which an element's value drops.
        values = [Override._convert_value(item) for item in swept.list]
        made = chosen_from(key, values)
    elif names(key) is not None:
        raise ConfigError(
            f"{key} is chosen by name and has no range; name those to try, as in {key}=<one>,<other>"
        )
    elif isinstance(swept, RangeSweep):
        made = _range(key, named, swept, logarithmic)
    else:
        made = Dimension(key, _interval(named, swept, logarithmic))
    plus = override.is_add() or override.is_force_add()
    return replace(made, component=component, plus=plus)


def chosen_from(key: str, values: Sequence[Any]) -> Dimension:
    """Return a categorical dimension.

    Raises:
        ConfigError: there is no value, or two that a study cannot tell apart.
    """
    if not values:
        raise ConfigError(f"{key} has no choices; write {key}=<one>,<other>")
    texts = tuple(map(text_of, values))
    stored = [
        text if isinstance(value, (list, tuple, dict)) else value
        for value, text in zip(values, texts, strict=True)
    ]
    for number, value in enumerate(stored):
        first = stored.index(value)  # equal for Python, and hence for Optuna: 1, 1.0 and true
        if first < number:
            raise ConfigError(
                f"{key} has the choices {texts[first]} and {texts[number]}, which are one value to a "
                "study; leave one out"
            )
    return Dimension(key, CategoricalDistribution(stored), tuple(values), texts)


def _matching(key: str, pattern: Glob, names: Sequence[str] | None) -> list[str]:
    words = ",".join(pattern.include)
    if names is None:
        raise ConfigError(
            f"glob({words}) finds names of components and presets, and {key} is an option; "
            f"write {key}=<one>,<other>"
        )
    found = pattern.filter(list(names))
    if not found:
        raise ConfigError(
            f"{key}=glob({words}) finds nothing; {key} has the names {', '.join(names)}"
        )
    return found


def _is_logarithmic(named: str, tags: set[str]) -> bool:
    for tag in sorted(tags):
        if tag != _LOG:
            raise ConfigError(
                f"{named} has the tag {tag!r}; {did_you_mean(tag, [_LOG])}the only tag is log"
            )
    return bool(tags)


def _interval(named: str, swept: IntervalSweep, logarithmic: bool) -> BaseDistribution:
    low, high = swept.start, swept.end
    assert low is not None
    assert high is not None
    _check_numbers(named, low, high)
    if not low < high:
        raise ConfigError(
            f"{named} is searched from {words_of(low)} to {words_of(high)}; the first must be "
            "smaller than the second"
        )
    _check_scale(named, low, logarithmic)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=logarithmic)
    return FloatDistribution(low, high, log=logarithmic)


def _range(key: str, named: str, swept: RangeSweep, logarithmic: bool) -> Dimension:
    start, stop, step = swept.start, swept.stop, swept.step
    assert start is not None
    assert stop is not None
    _check_numbers(named, start, stop, step)
    if step == 0:
        raise ConfigError(f"the range of {named} has the step 0; give it another one")
    if all(isinstance(number, int) for number in (start, stop, step)):
        whole = range(int(start), int(stop), int(step))
        return Dimension(key, _integers(named, whole, logarithmic))
    if logarithmic:
        raise ConfigError(
            f"{named} has a range with a step, which has no log scale; write "
            f"tag(log,interval({words_of(start)},{words_of(stop)}))"
        )
    # Exact: 0.7 three times is 2.1, which is then the end and no value.
    first, end, exact = (Decimal(repr(float(number))) for number in (start, stop, step))
    count = math.ceil((end - first) / exact)
    if float(first + (count - 1) * exact) == stop:  # a third has no end that is exact
        count -= 1
    if count < 1:
        raise ConfigError(_empty(named, start, stop, step))
    low, high = sorted((first, first + (count - 1) * exact))
    if count > 1 and Decimal(repr(float(high))) != high:  # Optuna would miss the last
        return chosen_from(key, [float(first + number * exact) for number in range(count)])
    by = float(abs(exact)) if count > 1 else None
    return Dimension(key, FloatDistribution(float(low), float(high), step=by))


def _integers(named: str, values: range, logarithmic: bool) -> BaseDistribution:
    if not values:
        raise ConfigError(_empty(named, values.start, values.stop, values.step))
    low, high = sorted((values[0], values[-1]))
    step = abs(values.step) if len(values) > 1 else 1
    _check_scale(named, low, logarithmic)
    if logarithmic and step != 1:
        raise ConfigError(
            f"{named} has a range with the step {step}, which has no log scale; write "
            f"tag(log,int(interval({low},{high})))"
        )
    return IntDistribution(low, high, log=logarithmic, step=step)


def _empty(named: str, start: float, stop: float, step: float) -> str:
    said = ",".join(map(words_of, (start, stop, step)))
    return f"the range({said}) of {named} is empty; its end is no part of it"


def _check_numbers(named: str, *numbers: float) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise ConfigError(f"{named} is searched between numbers; got {number}")


def _check_scale(named: str, low: float, logarithmic: bool) -> None:
    if logarithmic and low <= 0:
        raise ConfigError(
            f"{named} is searched on a log scale, which begins above 0; got {words_of(low)}"
        )
