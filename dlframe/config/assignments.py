"""The overrides that set options of what was chosen."""

import copy
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlframe.config.choices import HOW_TO_SEARCH, is_group
from dlframe.config.options import Option, check, describe
from dlframe.config.overrides import values_of
from dlframe.config.settings import SETTINGS, VALUES, SweepOptions
from dlframe.config.signature import dataclass_options, load
from dlframe.config.source import AUTO, OPTUNA, PARTS, SWEEP, SWEEPER, SWEEPER_TARGET
from dlframe.errors import ConfigError, did_you_mean
from dlframe.plugin import KINDS, Entry, registry

__all__ = ["OWN_PRESET", "UnknownOptionError", "check_search", "check_value", "check_values"]


class UnknownOptionError(ConfigError):
    """The components of a config have no such option."""


def check_values(
    overrides: Sequence[Override], config_dir: Path | None, config: DictConfig
) -> None:
    """Check the overrides that set options.

    Args:
        overrides: all overrides.
        config_dir: a folder of the user's own YAML files.
        config: what is composed of the chosen components alone.

    Raises:
        ConfigError: an option is unknown, or a value is not of its type or out of bounds.
    """
    for override in overrides:
        if not is_group(override.key_or_group, config_dir) and not override.is_delete():
            try:
                check_value(override, config)
            except UnknownOptionError as error:  # a difference that only searches make
                raise ConfigError(str(error)) from None


def check_search(
    overrides: Sequence[Override], config_dir: Path | None, config: DictConfig
) -> None:
    """Check the overrides of a search that do not sweep.

    Those that do are compared with all components that trials may choose as the space is built.

    Args:
        overrides: all overrides.
        config_dir: a folder of the user's own YAML files.
        config: what is composed of the chosen components alone, with Hydra's own options.

    Raises:
        ConfigError: an option is unknown, or a value is not of its type or out of bounds.
    """
    if SWEEP in config:
        raise ConfigError(f"a file in {SWEEP}/ must begin with the line '# @package _global_'")
    if OmegaConf.select(config, "hydra.sweeper._target_") != SWEEPER_TARGET:
        raise ConfigError(OWN_PRESET)
    swept = {o.key_or_group for o in overrides if o.is_sweep_override()}
    for override in overrides:
        key = override.key_or_group
        if override.is_sweep_override() or override.is_delete() or is_group(key, config_dir):
            continue
        head = key.partition(".")[0]
        try:
            check_value(override, config)
        except UnknownOptionError as error:
            if head not in swept:
                raise
            value = override.get_value_element_as_str()
            raise ConfigError(
                f"{error}; write '{key}=choice({value})' to set it in the trials that have it"
            ) from error
        except ConfigError:
            if head not in swept:
                raise


OWN_PRESET = (
    f"a file in {SWEEP}/ chooses dlframe's sweeper; begin its defaults with "
    f"`- override /{SWEEPER}: {OPTUNA}` and end them with `- _self_`"
)


def check_value(override: Override, config: DictConfig) -> None:
    """Check one override that sets an option, with all values that it has.

    Raises:
        UnknownOptionError: what is chosen in ``config`` has no such option.
        ConfigError: a value is not of the option's type or out of bounds.
    """
    key = override.key_or_group
    head, *rest = key.split(".")
    known = [*KINDS, *SETTINGS, *VALUES]
    if head == "hydra":
        _check_sweeper_option(override, rest, config)
        return
    if head not in known:
        places = {name: f"{group}.{name}" for group in known for name in _names(config.get(group))}
        places |= {group: group for group in known}
        near = [head] if head in places else get_close_matches(head, places, n=2)
        suggestion = f"did you mean {' or '.join(repr(places[word]) for word in near)}? "
        raise UnknownOptionError(
            f"there is no option {key!r}; {suggestion if near else ''}the groups are "
            f"{', '.join(known)}"
        )
    if head in VALUES:
        _check_single(override, head, rest)
        return
    node = config.get(head)
    if rest and head in KINDS and KINDS[head].many:
        name = rest.pop(0)
        selected = [str(chosen) for chosen in node or ()]
        if name not in selected:
            registry().find(head, name)
            raise UnknownOptionError(
                f"{key} is set, but {head} {name!r} is not chosen; add it: "
                f"'{head}=[{','.join([*selected, name])}]'"
            )
        node, head = node[name], f"{head}.{name}"
    if rest and isinstance(node, DictConfig):
        _check_option(override, head, rest, node)


def _check_sweeper_option(override: Override, rest: list[str], config: DictConfig) -> None:
    """Check an option of a search; Hydra's other options are Hydra's to check."""
    node = OmegaConf.select(config, "hydra.sweeper")
    if not rest or rest.pop(0) != "sweeper" or not rest or not isinstance(node, DictConfig):
        return
    head, key = _SWEEPER_HEAD, override.key_or_group
    if node.get("_target_") != SWEEPER_TARGET:
        known = (*PARTS.values(), *(option.name for option in _options(head, None)))
        if rest[0] in known and rest[0] not in node:
            raise ConfigError(f"{key} is an option of a search; {HOW_TO_SEARCH}")
        return
    if rest[0] in PARTS.values():
        head, node = f"{head}.{rest[0]}", node[rest[0]]
        if not rest[1:]:
            raise ConfigError(f"{key} is chosen by name; write {head.replace('.', '/')}=<name>")
        rest.pop(0)
    _check_option(override, head, rest, node)


_SWEEPER_HEAD = SWEEPER.replace("/", ".")


def _check_single(override: Override, name: str, parts: Sequence[str]) -> None:
    hint, _ = VALUES[name]
    if parts:
        raise ConfigError(
            f"{name} is {describe(hint)} and has no part {override.key_or_group!r}; write "
            f"{name}=<value>"
        )
    for value in values_of(override):
        check(name, value, hint)


def _check_option(override: Override, head: str, rest: Sequence[str], node: DictConfig) -> None:
    key, name, component = override.key_or_group, rest[0], node.get("component")
    options = {option.name: option for option in _options(head, component)}
    known = list(options) or _names(node)
    if name == "component":
        group = head.replace(".", "/") if head.startswith("hydra") else head.partition(".")[0]
        raise ConfigError(f"{key} is not to be set; choose with {group}=<name>")
    if name not in known:
        raise UnknownOptionError(
            f"{component or head} has no option {name!r}; {did_you_mean(name, known)}its options are "
            f"{', '.join(known) or 'none'}"
        )
    if name not in options:
        return
    if name not in node.keys() and not override.is_add():  # noqa: SIM118 - "in" overlooks "???"
        raise ConfigError(
            f"the YAML file chosen for {head} leaves out {name!r}; write '+{override.input_line}', "
            f"or begin the file with `defaults: [{_entry(head, component).id}, _self_]`"
        )
    hint = options[name].hint
    if len(rest) == 1:
        for value in values_of(override):
            check(key, _held(node, name, value), hint)
    elif not isinstance(node.get(name), DictConfig) and not override.is_add():
        owner, words = f"{head}.{name}", describe(hint)
        remedy = f"'+{override.input_line}'" if "mapping" in words else f"{owner}=<value>"
        raise ConfigError(f"{owner} is {words} and has no part {key!r} yet; write {remedy}")


def _held(node: DictConfig, name: str, value: Any) -> Any:
    """The value as the typed config holds it: ``yes`` is True there, and ``${seed}`` a number."""
    trial = copy.deepcopy(node)
    try:
        trial[name] = value
        plain = OmegaConf.to_container(trial, resolve=True)
    except OmegaConfBaseException:
        return value
    assert isinstance(plain, dict)
    return plain[name]


def _names(node: Any) -> list[str]:
    return (
        [str(name) for name in node if name != "component"] if isinstance(node, DictConfig) else []
    )


def _options(head: str, component: object) -> Sequence[Option]:
    if head in SETTINGS:
        return dataclass_options(SETTINGS[head])
    if head == _SWEEPER_HEAD:
        return dataclass_options(SweepOptions)
    return () if component in (None, AUTO) else load(_entry(head, component)).options


def _entry(head: str, component: object) -> Entry:
    kind = PARTS.get(head.replace(".", "/")) or head.partition(".")[0]
    return registry().find(kind, str(component))
