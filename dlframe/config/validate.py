"""The check of a whole config before anything is loaded: values, and parts that exclude each other."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlframe.config.options import REQUIRED, Option, check, describe
from dlframe.config.overrides import sentence_of
from dlframe.config.settings import INDIFFERENT, SETTINGS, VALUES
from dlframe.config.signature import dataclass_options, load
from dlframe.config.source import AUTO
from dlframe.errors import ConfigError, did_you_mean
from dlframe.plugin import KINDS, Component, Entry, registry

__all__ = ["checked", "chosen", "complete", "effective", "settings", "validate"]

Config = dict[str, Any]
_LEFT_OUT = {f"trainer.{name}" for name in INDIFFERENT} | {"transfer.sha256"}


def validate(config: DictConfig | Mapping[str, Any]) -> Config:
    """Return the config as plain values, each converted to its option's type.

    Raises:
        ConfigError: a value is unknown, of another type, out of bounds or missing, or a component
            does not fit the task or the data.
    """
    try:
        plain = (
            OmegaConf.to_container(config, resolve=True)
            if isinstance(config, DictConfig)
            else dict(config)
        )
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"the configuration cannot be resolved: {sentence_of(error)}; an interpolation reads "
            "${group.option}"
        ) from error
    assert isinstance(plain, dict)
    result: Config = {str(key): value for key, value in plain.items() if key != "hydra"}
    known = [*KINDS, *SETTINGS, *VALUES]
    for key in result:
        if key not in known:
            raise ConfigError(
                f"there is no option {key!r}; {did_you_mean(key, known)}the groups are "
                f"{', '.join(known)}"
            )
    result.setdefault("regularizer", {})
    for name, (hint, default) in VALUES.items():
        result[name] = check(name, result.get(name, default), hint)
    for group, cls in SETTINGS.items():
        result[group] = checked(group, result.get(group) or {}, dataclass_options(cls), group)
    for kind in KINDS.values():
        _validate_kind(kind.name, result)
    _check_fit(result)
    return result


def settings(config: DictConfig | Mapping[str, Any], group: str) -> Config:
    """Return the options of ``trainer``, ``tracking`` or ``transfer`` alone, with all defaults.

    Raises:
        ConfigError: a value is unknown, of another type or out of bounds.
    """
    node: Any = config.get(group) or {}
    if isinstance(node, DictConfig):
        node = OmegaConf.to_container(node, resolve=True)
    return checked(group, node, dataclass_options(SETTINGS[group]), group)


def _validate_kind(kind: str, config: Config) -> None:
    node = config.get(kind)
    if KINDS[kind].many:
        config[kind] = {
            name: _validate_component(kind, f"{kind}.{name}", values)
            for name, values in (node or {}).items()
        }
    elif node is None:
        raise ConfigError(f"a run needs one {kind}; choose one with {kind}=<name>")
    elif not isinstance(node, Mapping) or node.get("component") != AUTO:
        config[kind] = _validate_component(kind, kind, node)


def _validate_component(kind: str, key: str, node: Any) -> Config:
    if not isinstance(node, Mapping) or "component" not in node:
        raise ConfigError(
            f"{key} must name a component; got {node!r}; choose one with {kind}=<name>"
        )
    entry = registry().find(kind, str(node["component"]))
    given = {str(name): value for name, value in node.items() if name != "component"}
    return {"component": entry.id, **checked(key, given, load(entry).options, entry.id)}


def checked(key: str, given: Mapping[str, Any], options: tuple[Option, ...], owner: str) -> Config:
    """Return all options of a component or a group, those not given at their defaults.

    Args:
        key: of the component or group in the config.
        given: values by name.
        options: all that there are.
        owner: what they are options of, for the message.

    Raises:
        ConfigError: a value is unknown, of another type, out of bounds or missing.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{owner} has no option {name!r}; {did_you_mean(name, known)}its options are "
                f"{', '.join(known) or 'none'}"
            )
    values = {}
    for option in options:
        value = given.get(option.name, option.default)
        if value is REQUIRED or value == "???":
            meaning = f" ({option.help.rstrip('.')})" if option.help else ""
            raise ConfigError(
                f"{owner} needs {key}.{option.name}{meaning}, which has no default; set "
                f"{key}.{option.name}=<{describe(option.hint)}>"
            )
        values[option.name] = check(f"{key}.{option.name}", value, option.hint)
    return values


def complete(config: Config, task: str) -> Config:
    """Fill in what was left to the data: the task, and the task's own loss, with all options.

    Args:
        config: a validated config.
        task: short name of the task that the data turned out to be for.
    """
    result = dict(config)
    if result["task"].get("component") == AUTO:
        result["task"] = _validate_component("task", "task", {"component": task})
    if result["loss"].get("component") == AUTO:
        entry = registry().find("task", result["task"]["component"])
        loss = entry.component.defaults.get("loss")
        if loss is None:
            raise ConfigError(f"task {entry.id!r} names no loss; choose one with loss=<name>")
        result["loss"] = _validate_component("loss", "loss", {"component": loss})
    _check_fit(result)
    return result


def chosen(config: Config) -> Iterator[tuple[str, Entry]]:
    """Yield key and descriptor of every component the config selects."""
    for kind in KINDS.values():
        if kind.many:
            for name, node in config[kind.name].items():
                yield f"{kind.name}.{name}", registry().find(kind.name, node["component"])
        elif config[kind.name].get("component") != AUTO:
            yield kind.name, registry().find(kind.name, config[kind.name]["component"])


def _check_fit(config: Config) -> None:
    parts = dict(chosen(config))
    data, task = parts["data"], parts.get("task")
    unsupervised = task is not None and "unsupervised" in task.component.tags
    for entry in parts.values():
        kind, component = entry.kind, entry.component
        if kind == "task":
            continue
        if task is None or (kind == "data" and unsupervised):
            pass
        elif not _serves(component, task.component):
            raise ConfigError(
                f"{kind}={component.name} is for {_listed(component.tasks)}, but "
                f"the task is {task.component.name}; {_fitting(kind, task.component, data.component)}"
            )
        if kind != "data" and not _overlap(component, data.component):
            raise ConfigError(
                f"{kind}={component.name} takes {_listed(component.inputs)}, but "
                f"data={data.component.name} gives {_listed(data.component.inputs)}; "
                f"{_fitting(kind, task and task.component, data.component)}"
            )


def _serves(component: Component, task: Component) -> bool:
    """Whether a component is made for a task, or for one whose parts the task can use."""
    return not component.tasks or bool({task.name, *task.tasks} & set(component.tasks))


def _overlap(component: Component, data: Component) -> bool:
    """Whether a component takes a kind of input that the data gives."""
    if not component.inputs or not data.inputs:
        return True
    return bool(set(component.inputs) & set(data.inputs))


def _fitting(kind: str, task: Component | None, data: Component) -> str:
    if kind == "data":
        assert task is not None
        fitting = [e.component for e in registry().entries(kind) if _serves(e.component, task)]
        names = [component.name for component in fitting]
        return f"data for it: {', '.join(names)}; or choose task={_listed(data.tasks)}"
    names = [
        entry.component.name
        for entry in registry().entries(kind)
        if (task is None or _serves(entry.component, task)) and _overlap(entry.component, data)
    ]
    return f"what fits: {', '.join(names)}"


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join(names)


def effective(config: Config) -> dict[str, Any]:
    """Flatten a config to the leaves that decide a result, as ``{"optimizer.lr": 0.001}``.

    A component is named by its short name where that is unique; lists and mappings become JSON.
    """
    flat: dict[str, Any] = {}
    for key, entry in chosen(config):
        flat[key] = registry().word(entry)
    flat["seed"] = config["seed"]
    for group in (*KINDS, "trainer"):
        flat |= _leaves(config[group], group)
    if config["transfer"]["run"] is not None:
        flat |= _leaves(config["transfer"], "transfer")
    return {key: value for key, value in flat.items() if key not in _LEFT_OUT}


def _leaves(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        if name == "component":
            continue
        if isinstance(value, Mapping) and key == "regularizer":
            flat |= _leaves(value, f"{key}.{name}")
        elif isinstance(value, (Mapping, list, tuple)):
            flat[f"{key}.{name}"] = json.dumps(value)
        else:
            flat[f"{key}.{name}"] = value
    return flat
