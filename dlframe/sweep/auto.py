"""The search space that components declare: every option with a range."""

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from dlframe.config.options import Option, base_type
from dlframe.config.signature import load
from dlframe.config.source import AUTO
from dlframe.interfaces.options import Range
from dlframe.plugin import KINDS, Entry, registry
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space_choices import Choices

__all__ = ["component_in", "declared"]


def declared(choices: Choices, taken: frozenset[tuple[str, str | None]]) -> Iterator[Parameter]:
    """Yield a parameter for each option with a range, of each component that a trial may choose.

    Args:
        choices: what trials may choose.
        taken: keys that the user has fixed or searches himself, each with the id of the component
            that he does so for, or None for all.
    """
    for kind in KINDS.values():
        variants = choices.variants(kind.name)
        found = {
            (name, entry.id): entry
            for variant in variants
            for name, entry in _entries(kind.name, variant.config)
        }
        for (name, _), entry in found.items():
            has = [(name, entry.id) in _ids(kind.name, variant.config) for variant in variants]
            prefix = f"{kind.name}.{name}" if kind.many else kind.name
            for option, distribution in _ranges(entry):
                key = f"{prefix}.{option.name}"
                if {(key, None), (key, entry.id)} & taken:
                    continue
                several = len(found) > 1 and not kind.many
                yield Parameter(
                    f"{key}@{registry().word(entry)}" if several else key,
                    key,
                    distribution_to_json(distribution),
                    when=condition(choices, kind.name, name, has),
                )


def condition(
    choices: Choices, head: str, name: str | None, has: Sequence[bool]
) -> tuple[tuple[str, str], ...]:
    """Return when a trial has what some variants have; a regularizer in a list goes by its name."""
    if all(has):
        return ()
    if name is not None and head in choices.swept:
        listed = [
            name in [str(chosen).rpartition("/")[2] for chosen in _listed(choice)]
            for choice in choices.swept[head]
        ]
        if listed == list(has):
            return ((head, name),)
    return choices.when(head, has)


def component_in(kind: str, name: str | None, config: DictConfig) -> str | None:
    """Return the id of a kind's component in a config, or of one of several by its name."""
    node = config.get(kind)
    if name is not None and isinstance(node, DictConfig):
        node = node.get(name)
    found = node.get("component") if isinstance(node, DictConfig) else None
    return None if found in (None, AUTO) else str(found)


def _listed(choice: Any) -> list[Any]:
    return choice if isinstance(choice, list) else [choice]


def _entries(kind: str, config: DictConfig) -> Iterator[tuple[str | None, Entry]]:
    names = [str(name) for name in config.get(kind) or ()] if KINDS[kind].many else [None]
    for name in names:
        component = component_in(kind, name, config)
        if component is not None:
            yield name, registry().find(kind, component)


def _ids(kind: str, config: DictConfig) -> set[tuple[str | None, str]]:
    return {(name, entry.id) for name, entry in _entries(kind, config)}


def _ranges(entry: Entry) -> Iterator[tuple[Option, BaseDistribution]]:
    for option in load(entry).options:
        if (found := option.range) is not None:
            yield option, _distribution(found, whole=base_type(option.hint)[0] is int)


def _distribution(found: Range, *, whole: bool) -> BaseDistribution:
    if whole:
        return IntDistribution(int(found.low), int(found.high), log=found.log)
    return FloatDistribution(found.low, found.high, log=found.log)
