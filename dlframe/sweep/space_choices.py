"""Which components the trials of a study may choose, and on what that depends."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from dlframe.config.compose import compose
from dlframe.config.source import AUTO, CONF, ComponentSource
from dlframe.errors import ConfigError
from dlframe.plugin import KINDS, registry
from dlframe.sweep.space_texts import text_of

__all__ = ["EITHER", "Choices", "Variant"]

EITHER = "|"
"""Between the components of a condition that any one of them meets."""
When = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A config that a trial may have.

    Args:
        of: for each swept group on which it depends, the numbers of the choices that lead to it.
        config: what is composed of chosen components alone, without any options set.
    """

    of: Mapping[str, frozenset[int]]
    config: DictConfig


class Choices:
    """The configs that trials may have, as far as components and their options go.

    Args:
        fixed: overrides of groups that all trials share.
        swept: for each swept group, its choices: names, or lists of names.
        config_dir: a folder of the user's own YAML files.
    """

    def __init__(
        self, fixed: Sequence[str], swept: Mapping[str, Sequence[Any]], config_dir: Path | None
    ) -> None:
        self.fixed, self.swept, self._config_dir = tuple(fixed), dict(swept), config_dir
        self._found: dict[str, list[Variant]] = {}

    @cached_property
    def worlds(self) -> list[Variant]:
        """One for each combination of choices that have a say in what else is chosen.

        Most components have none, so that these are few.
        """
        sorts = {group: self._sorts(group) for group in self.swept}
        first = [f"{g}={text_of(v[0])}" for g, v in self.swept.items() if len(sorts[g]) == 1]
        moving = {group: found for group, found in sorts.items() if len(found) > 1}
        worlds = []
        for picked in product(*moving.values()):
            of = dict(zip(moving, picked, strict=True))
            chosen = [f"{g}={text_of(self.swept[g][min(n)])}" for g, n in of.items()]
            config = compose([*self.fixed, *first, *chosen], config_dir=self._config_dir)
            worlds.append(Variant(of, config))
        return worlds

    def variants(self, head: str) -> list[Variant]:
        """Return the configs that differ in the group ``head``, or might."""
        if head not in KINDS or head not in self.swept:
            return self.worlds
        if head not in self._found:
            self._found[head] = [
                Variant({head: frozenset((number,))}, self._with(head, number))
                for number in range(len(self.swept[head]))
            ]
        return self._found[head]

    def when(self, head: str, has: Sequence[bool]) -> When:
        """Return the conditions under which a trial's config is one of some variants of ``head``.

        Args:
            head: a group.
            has: for each of its variants, whether it is one of those.

        Raises:
            ConfigError: several groups decide that together, so that no conditions say it.
        """
        variants = self.variants(head)
        groups = variants[0].of.keys()
        allowed = {
            group: frozenset[int]().union(
                *(v.of[group] for v, h in zip(variants, has, strict=True) if h)
            )
            for group in groups
        }
        meant = [all(v.of[g] <= allowed[g] for g in groups) for v in variants]
        if meant != list(has):
            raise ConfigError(
                f"whether a trial has it depends on {' and '.join(groups)} together; choose one "
                f"{head} for all trials with {head}=<name>"
            )
        return tuple(
            (group, EITHER.join(text_of(self.swept[group][number]) for number in sorted(numbers)))
            for group, numbers in allowed.items()
            if len(numbers) < len(self.swept[group])
        )

    def _sorts(self, group: str) -> list[frozenset[int]]:
        """The choices of a group, together where they mean the same to all other groups."""
        found: dict[Any, set[int]] = {}
        for number, choice in enumerate(self.swept[group]):
            names = choice if isinstance(choice, list) else [choice]
            if self._in_file(group, names):
                found[number] = {number}
            else:
                brought = [
                    item
                    for name in names
                    if name != AUTO
                    for item in registry().find(group, str(name)).component.defaults.items()
                ]
                found.setdefault(tuple(brought), set()).add(number)
        return [frozenset(numbers) for numbers in found.values()]

    def _in_file(self, group: str, names: Sequence[Any]) -> bool:
        folders = [folder / group for folder in (CONF, self._config_dir) if folder]
        return group not in KINDS or any(
            (f / f"{n}.yaml").is_file() for f in folders for n in names
        )

    def _with(self, kind: str, number: int) -> DictConfig:
        """The config in which a kind has one of its choices."""
        choice = self.swept[kind][number]
        names = choice if isinstance(choice, list) else [choice]
        world = next((w for w in self.worlds if number in w.of.get(kind, ())), self.worlds[0])
        if self._in_file(kind, names):
            return world.config
        source = ComponentSource(provider="dlframe", path="dlframe://components")
        loaded = [source.load_config(f"{kind}/{name}") for name in names]
        nodes: dict[str, DictConfig] = {}
        for result in loaded:
            assert isinstance(result.config, DictConfig)
            result.config.pop("defaults", None)
            nodes[str(result.header["package"]).partition(".")[2]] = result.config
        config = copy.deepcopy(world.config)
        with open_dict(config):
            config[kind] = nodes if KINDS[kind].many else next(iter(nodes.values()))
        return config
