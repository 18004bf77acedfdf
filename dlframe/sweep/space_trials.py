"""One point of a search space: asked of Optuna, read from a trial, or given by the user."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

from dlframe.config.overrides import parse
from dlframe.errors import ConfigError, did_you_mean
from dlframe.plugin import KINDS, registry
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space_choices import EITHER
from dlframe.sweep.space_texts import name_of, read, text_of, words_of

__all__ = ["distribution_of", "holds", "is_whole", "overrides_of", "params_of", "propose"]


def propose(trial: Trial, space: Sequence[Parameter]) -> list[str]:
    """Suggest the values of a trial, in the order of the space; return them as overrides.

    What is asked of the trial is what an objective written by hand would ask of it, so that a sampler
    gives the same values.
    """
    params: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for parameter in space:
        if not holds(parameter, space, texts):
            continue
        name = parameter.name
        match distribution_of(parameter):
            case FloatDistribution(low=low, high=high, step=step, log=log):
                params[name] = trial.suggest_float(name, low, high, step=step, log=log)
            case IntDistribution(low=low, high=high, step=step, log=log):
                params[name] = trial.suggest_int(name, low, high, step=step, log=log)
            case CategoricalDistribution(choices=choices):
                params[name] = trial.suggest_categorical(name, choices)
        texts[parameter.key] = _text(parameter, params[name])
    return overrides_of(params, space)


def overrides_of(params: Mapping[str, Any], space: Sequence[Parameter]) -> list[str]:
    """Return a trial's parameters as overrides, in the order of the space."""
    return [f"{p.key}={_text(p, params[p.name])}" for p in space if p.name in params]


def is_whole(params: Mapping[str, Any], space: Sequence[Parameter]) -> bool:
    """Whether a trial has all values that its choices ask for, as one that has just begun has not."""
    texts = {p.key: _text(p, params[p.name]) for p in space if p.name in params}
    return all(p.name in params for p in space if holds(p, space, texts))


def params_of(
    values: Mapping[str, Any] | Sequence[str], space: Sequence[Parameter], fixed: Sequence[str]
) -> dict[str, Any]:
    """Return values that a user gives as Optuna's parameters, by name; the rest is left to the sampler.

    Args:
        values: by key, or by a parameter's name; or overrides.
        space: what is searched.
        fixed: overrides that all trials share; a value that they have anyway may be given, too.

    Raises:
        ConfigError: a key is not searched, or a value is not among those that are.
    """
    given = dict(values) if isinstance(values, Mapping) else dict(map(_pair, values))
    shared = {o.key_or_group: o.value() for o in map(parse, fixed)}
    chosen = {
        p.key: _text(p, _value_in(p, p.name, given[key]))
        for p in space
        for key in (p.key, p.name)
        if key in given and _is_parent(p, space)
    }
    params: dict[str, Any] = {}
    for key, value in given.items():
        found = [p for p in space if key in (p.name, p.key)]
        if not found and key in shared and _is_same(key, value, shared[key]):
            continue
        if not found:
            known = [p.name for p in space]
            raise ConfigError(
                f"{key} is not searched; {did_you_mean(key, known)}the study searches "
                f"{', '.join(known)}"
            )
        fitting = [p for p in found if _may_hold(p, space, chosen)]
        if not fitting:
            raise ConfigError(
                f"{key} is given, but trials with {_listed(chosen)} have no such option"
            )
        for parameter in fitting:
            if len(fitting) == 1 or _holds_value(parameter, value):
                params[parameter.name] = _value_in(parameter, key, value)
        if not any(p.name in params for p in fitting):
            _value_in(fitting[0], key, value)  # says what is wrong
    return params


@cache
def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Return a parameter's distribution."""
    return json_to_distribution(parameter.distribution)


def holds(parameter: Parameter, space: Sequence[Parameter], texts: Mapping[str, str]) -> bool:
    """Whether a trial has a parameter.

    Args:
        parameter: one of the space.
        space: all of it.
        texts: what the trial has chosen so far: texts by key. A condition on a key that is not searched
            holds for all trials.
    """
    return all(
        key not in texts or _meets(texts[key], wanted) for key, wanted in parameter.when
    ) and all(key in texts for key, _ in parameter.when if any(p.key == key for p in space))


def _meets(text: str, wanted: str) -> bool:
    """Whether a choice is one of those wanted, or holds one of them in its list."""
    names = name_of(text)
    held = {text, *names, *(name.rpartition("/")[2] for name in names)} if "[" in text else {text}
    return bool(held & set(wanted.split(EITHER)))


def _may_hold(p: Parameter, space: Sequence[Parameter], texts: Mapping[str, str]) -> bool:
    return all(_meets(texts[key], wanted) for key, wanted in p.when if key in texts)


def _is_parent(parameter: Parameter, space: Sequence[Parameter]) -> bool:
    return any(key == parameter.key for p in space for key, _ in p.when)


def _text(parameter: Parameter, value: Any) -> str:
    match distribution_of(parameter):
        case CategoricalDistribution(choices=choices):
            return parameter.texts[choices.index(value)]
        case IntDistribution():
            return text_of(int(value))
    return text_of(float(value))


def _pair(text: str) -> tuple[str, Any]:
    override = parse(text)
    key = override.key_or_group
    return key if override.package is None else f"{key}@{override.package}", override.value()


def _listed(chosen: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={text}" for key, text in chosen.items())


def _is_same(key: str, value: Any, other: Any) -> bool:
    return bool(_id(key, value) == _id(key, other))


def _id(key: str, value: Any) -> Any:
    """The id of the component that a group's value names, else the value's text."""
    if key in KINDS and isinstance(value, str) and registry().knows(key, value):
        return registry().find(key, value).id
    return text_of(value)


def _holds_value(parameter: Parameter, value: Any) -> bool:
    try:
        _value_in(parameter, parameter.name, value)
    except ConfigError:
        return False
    return True


def _value_in(parameter: Parameter, key: str, value: Any) -> Any:
    """The value as Optuna keeps it.

    Raises:
        ConfigError: it is not among those that are searched.
    """
    distribution = distribution_of(parameter)
    if isinstance(distribution, CategoricalDistribution):
        for choice, text in zip(distribution.choices, parameter.texts, strict=True):
            if _id(parameter.key, value) in (text, _id(parameter.key, choice)) or value == text:
                return choice
        if isinstance(value, str) and text_of(said := _read(value)) != text_of(value):
            return _value_in(parameter, key, said)  # as a run's parameters keep it: as text
        raise ConfigError(
            f"{key} is searched among {', '.join(parameter.texts)}; got {text_of(value)}"
        )
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    number = _read(value) if isinstance(value, str) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not _is_within(distribution, number)
    ):
        raise ConfigError(
            f"{key} is searched from {words_of(distribution.low)} to {words_of(distribution.high)}"
            + (f" in steps of {words_of(distribution.step)}" if _is_stepped(distribution) else "")
            + f"; got {text_of(value)}"
        )
    return int(number) if isinstance(distribution, IntDistribution) else float(number)


def _read(text: str) -> Any:
    """What a text says in Hydra's grammar, or the text itself where it says nothing."""
    try:
        return read(text)
    except ConfigError:
        return text


def _is_stepped(distribution: FloatDistribution | IntDistribution) -> bool:
    return isinstance(distribution, IntDistribution) or distribution.step is not None


def _is_within(distribution: FloatDistribution | IntDistribution, number: float) -> bool:
    if not distribution.low <= number <= distribution.high:
        return False
    if distribution.step is None:
        return True
    steps = (number - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-8
