"""The overrides of a command line, one by one: their form, what they choose, what they set."""

import copy
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlframe.config.launchers import check_launcher
from dlframe.config.options import Option, check, describe
from dlframe.config.settings import SETTINGS, VALUES, SweepOptions
from dlframe.config.signature import dataclass_options, load
from dlframe.config.source import (
    AUTO,
    AUTO_GROUPS,
    CONF,
    OPTUNA,
    PARTS,
    SWEEP,
    SWEEPER,
    SWEEPER_TARGET,
)
from dlframe.errors import ConfigError, did_you_mean
from dlframe.plugin import KINDS, Entry, registry

__all__ = [
    "OWN_PRESET",
    "UnknownOptionError",
    "check_choices",
    "check_search",
    "check_value",
    "check_values",
    "first_job",
    "is_group",
    "is_sweep",
    "names_of_group",
    "parse",
    "refuse_lists",
    "sentence_of",
]

_LIST = re.compile(rf"({'|'.join(kind.name for kind in KINDS.values() if not kind.many)})=\s*\[")


class UnknownOptionError(ConfigError):
    """The components of a config have no such option."""


def parse(text: str) -> Override:
    """Read one override.

    Raises:
        ConfigError: it is not well formed.
    """
    if "=" not in text and not text.startswith("~"):
        raise ConfigError(
            f"an override reads key=value; got {text!r}; `dlframe train --help` has more"
        )
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        said = sentence_of(error)
        if (
            _EVALUATING in said
        ):  # the form is right, and what a function such as choice() is given not
            raise ConfigError(
                f"the override {text!r} cannot be read: {_wrong_call(said)}"
            ) from error
        raise ConfigError(
            f"the override {text!r} is not well formed ({said}); write key=value, and a "
            "value with special characters in two kinds of quotes, as in 'tracking.root=\"~x\"'"
        ) from error


_EVALUATING = " while evaluating "


def _wrong_call(said: str) -> str:
    call, _, reason = said.partition(_EVALUATING)[2].partition(": ")
    if "NoneType is incompatible" in reason and "choice(" in call:
        return "choice() takes no null; write the values without it, as in <one>,null"
    return f"{reason}; write {call.partition('(')[0].lstrip(chr(39))}() with other values"


def sentence_of(error: BaseException) -> str:
    """What Hydra or OmegaConf says, without the lines that describe its own state."""
    said = re.split(r"\n\s*(?:See https|Config search path|full_key|object_type)", str(error))[0]
    return " ".join(said.split()).rstrip(".") or type(error).__name__


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
            check_launcher(str(_values(override)[0]))
        if not override.key_or_group.startswith("hydra/"):
            _check_choice(override, config_dir)
        elif override.key_or_group in (SWEEPER, *PARTS):
            _check_part(override, searches=searches)
        if not override.is_sweep_override():
            chosen.append(str(override.input_line))
        elif _values(override):
            chosen.append(f"{override.key_or_group}={next(override.sweep_string_iterator())}")
    return chosen


def first_job(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides of a multirun's first job, and the keys that it sweeps over.

    A sweep whose values are not known beforehand, such as an interval, is left out of the job.
    """
    job, swept = [], []
    for text in overrides:
        override = parse(text)
        key = override.key_or_group
        if not override.is_sweep_override():
            if not key.startswith("hydra"):
                job.append(text)
            continue
        swept.append(key)
        if _values(override):
            job.append(f"{key}={next(override.sweep_string_iterator())}")
    return job, swept


def refuse_lists(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Refuse a list where a run has one component; Hydra would merge them all.

    Raises:
        ConfigError: a group of one component is given a list.
    """
    lists = [text for text in overrides if _LIST.match(text)]
    check_choices([parse(text) for text in lists], config_dir, many=False)


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


def _values(override: Override) -> list[Any]:
    """The value of an override, or all of them where it sweeps."""
    if not override.is_sweep_override():
        return [override.value()]
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP or not override.is_discrete_sweep():
        return []  # a pattern finds only what there is; from an interval a sweeper draws
    key = override.key_or_group
    return [parse(f"{key}={text}").value() for text in override.sweep_string_iterator()]


def is_group(key: str, config_dir: Path | None) -> bool:
    """Whether an override of ``key`` chooses components or presets, rather than sets an option."""
    folders = [folder / key for folder in (CONF, config_dir) if folder]
    return key in (*KINDS, *SETTINGS) or "/" in key or any(folder.is_dir() for folder in folders)


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


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a command searches, rather than trains once or for all combinations of values."""
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key == SWEEP and value.strip() not in ("", "[]", "null"):
            return True
        if key == SWEEPER and value.strip() == OPTUNA:
            return True
    return False


def names_of_group(group: str, config_dir: Path | None) -> list[str]:
    """Return all names that ``group`` may be given, in order: presets and components."""
    components = registry().names(group) if group in KINDS else []
    return sorted({*_presets(group, config_dir), *components})


def _presets(group: str, config_dir: Path | None) -> set[str]:
    folders = [folder / group for folder in (CONF, config_dir) if folder]
    files = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    return files | ({"default"} if group in SETTINGS else set())


def _check_choice(override: Override, config_dir: Path | None) -> None:
    group = override.key_or_group
    files = _presets(group, config_dir)
    many = group not in KINDS or KINDS[group].many
    for value in _values(override):
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
            raise ConfigError(f"{group} is of a search; {_SEARCH}")
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


_SEARCH = f"begin one with {SWEEP}=tpe, or {SWEEPER}={OPTUNA}"


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
            raise ConfigError(f"{key} is an option of a search; {_SEARCH}")
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
    for value in _values(override):
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
    if name not in node and not override.is_add():
        raise ConfigError(
            f"the YAML file chosen for {head} leaves out {name!r}; write '+{override.input_line}', "
            f"or begin the file with `defaults: [{_entry(head, component).id}, _self_]`"
        )
    hint = options[name].hint
    if len(rest) == 1:
        for value in _values(override):
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
