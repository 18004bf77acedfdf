"""The overrides that choose components or presets."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from dlframe.config.launchers import check_launcher
from dlframe.config.overrides import is_sweep, parse, values_of
from dlframe.config.settings import SETTINGS
from dlframe.config.signature import load
from dlframe.config.source import AUTO, AUTO_GROUPS, CONF, OPTUNA, PARTS, SWEEP, SWEEPER
from dlframe.errors import ConfigError, did_you_mean
from dlframe.plugin import KINDS, registry

__all__ = [
    "HOW_TO_SEARCH",
    "check_choices",
    "is_group",
    "names_of_group",
    "refuse_lists",
    "refuse_ranges",
]

_LIST = re.compile(rf"({'|'.join(kind.name for kind in KINDS.values() if not kind.many)})=\s*\[")


def check_choices(
    overrides: Sequence[Override], config_dir: Path | None, *, many: bool
) -> list[str]:
    """Check the overrides that choose components or presets; return them, the first of each sweep.

    Args:
        overrides: all overrides.
        config_dir: a folder of the user's own YAML files.
        many: whether several values of one override mean several runs.

    Raises:
        ConfigError: an override is malformed, or what it chooses is not there.
    """
    searches = is_sweep([str(override.input_line) for override in overrides])
    for override in overrides:
        _check_form(override, searches=searches)
        if override.is_sweep_override() and not many:
            raise ConfigError(
                f"{override.key_or_group} has several values; run one job for each with "
                f"`dlframe train -m {override.input_line}`"
            )
    chosen = []
    for override in overrides:
        if not is_group(override.key_or_group, config_dir):
            continue
        if override.key_or_group == "hydra/launcher":
            check_launcher(str(values_of(override)[0]))
        if not override.key_or_group.startswith("hydra/"):
            _check_choice(override, config_dir)
        elif override.key_or_group in (SWEEPER, *PARTS):
            _check_part(override, searches=searches)
        if not override.is_sweep_override():
            chosen.append(str(override.input_line))
        elif values_of(override):
            chosen.append(f"{override.key_or_group}={next(override.sweep_string_iterator())}")
    return chosen


def refuse_ranges(overrides: Sequence[Override]) -> None:
    """Refuse ranges, from which a search draws, where none is begun.

    Raises:
        ConfigError: an override has a range, and nothing says how to search it.
    """
    if is_sweep([str(o.input_line) for o in overrides]) or any(
        o.key_or_group == SWEEPER for o in overrides
    ):
        return
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.key_or_group} has a range of values, in which a sweep searches; begin one "
                f"with `dlframe train sweep=tpe {shlex.quote(str(override.input_line))}`"
            )


def refuse_lists(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Refuse a list where a run has one component; Hydra would merge them all.

    Raises:
        ConfigError: a group of one component is given a list.
    """
    lists = [text for text in overrides if _LIST.match(text)]
    check_choices([parse(text) for text in lists], config_dir, many=False)


def is_group(key: str, config_dir: Path | None) -> bool:
    """Whether an override of ``key`` chooses components or presets, rather than sets an option."""
    folders = [folder / key for folder in (CONF, config_dir) if folder]
    return key in (*KINDS, *SETTINGS) or "/" in key or any(folder.is_dir() for folder in folders)


def names_of_group(group: str, config_dir: Path | None) -> list[str]:
    """Return all names that ``group`` may be given, in order: presets and components."""
    components = registry().names(group) if group in KINDS else []
    return sorted({*_presets(group, config_dir), *components})


def _presets(group: str, config_dir: Path | None) -> set[str]:
    folders = [folder / group for folder in (CONF, config_dir) if folder]
    files = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    return files | ({"default"} if group in SETTINGS else set())


def _check_form(override: Override, *, searches: bool) -> None:
    text, key = str(override.input_line), override.key_or_group
    if not key:
        raise ConfigError(f"an override reads key=value; got {text!r}, which has no key")
    if override.is_sweep_override() and re.match(rf"hydra[./]|{SWEEP}$", key):
        remedy = f"'{key}=[<one>,<other>]' combines them" if key == SWEEP else "give it one"
        raise ConfigError(
            f"{key} is for all runs of a command and has one value; {remedy}; got {text!r}"
        )
    if searches and override.is_sweep_override() and "." in key:
        return  # a search may name the component that an option is of: optimizer.lr@sgd=...
    if override.package is not None:
        raise ConfigError(f"every group has its place; write {key}=<name> instead of {text!r}")
    if override.is_add() and "/" not in key and key != SWEEP and is_group(key, None):
        raise ConfigError(f"the group {key} is there already; write {text.lstrip('+')!r}")


def _check_choice(override: Override, config_dir: Path | None) -> None:
    group = override.key_or_group
    files = _presets(group, config_dir)
    many = group not in KINDS or KINDS[group].many
    for value in values_of(override):
        if value is None and many:
            raise ConfigError(f"{group}=null says nothing; leave it out, or write '{group}=[]'")
        if value is None:
            raise ConfigError(f"a run needs one {group}; choose one with {group}=<name>")
        if isinstance(value, list) and not many:
            raise ConfigError(
                f"a run has one {group}; got {value}; sweep over several with "
                f"`dlframe train -m {group}={','.join(map(str, value))}`"
            )
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, (dict, list)):
                raise ConfigError(
                    f"{group} must be chosen by name; got {name}; set options with "
                    f"{group}.<option>=<value>"
                )
            if name in files or (name == AUTO and group in AUTO_GROUPS):
                continue
            near = did_you_mean(str(name), files)
            if group in KINDS and (registry().knows(group, str(name)) or not near):
                load(registry().find(group, str(name)))
            elif not files:
                raise ConfigError(
                    f"there is no group {group!r}; the groups are {', '.join((*KINDS, *SETTINGS))}"
                )
            else:
                raise ConfigError(
                    f"no {group} is called {str(name)!r}; {near}there are "
                    f"{', '.join(sorted(files))}"
                )


def _check_part(override: Override, *, searches: bool) -> None:
    """Check the choice of a sweeper, or of a search's sampler or pruner."""
    group, name = override.key_or_group, override.value()
    if not isinstance(name, str):
        raise ConfigError(f"{group} must be chosen by name; got {name}; write {group}=<name>")
    if group in PARTS:
        if not searches:
            raise ConfigError(f"{group} is of a search; {HOW_TO_SEARCH}")
        if name != AUTO or group not in AUTO_GROUPS:
            load(registry().find(PARTS[group], name))
        return
    near = did_you_mean(name, [OPTUNA, "basic"])
    if name not in (OPTUNA, "basic") and near:
        raise ConfigError(
            f"no {group} is called {name!r}; {near}there are optuna, basic and those of Hydra's plugins"
        )
    if searches and name != OPTUNA:
        raise ConfigError(
            f"{SWEEP}=<name> searches with {SWEEPER}={OPTUNA}; leave {SWEEP} or {SWEEPER}={name} out"
        )


HOW_TO_SEARCH = f"begin one with {SWEEP}=tpe, or {SWEEPER}={OPTUNA}"
