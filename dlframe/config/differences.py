"""What a config says differently from the defaults. Imports no torch."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import yaml

from dlframe.config.options import Option
from dlframe.config.settings import SETTINGS
from dlframe.config.signature import dataclass_options, load
from dlframe.config.source import CONF
from dlframe.config.validate import chosen, effective

__all__ = ["Difference", "differences"]

Difference = tuple[str, str, str]
"""An option, its value, and its default, as text; an empty default where there is none."""


def differences(config: Mapping[str, Any]) -> list[Difference]:
    """Return what was chosen or set otherwise than by default, in the order of the config.

    An option is compared with the default of its own component: that of a component which is itself
    not the default one is listed only where it was set.

    Args:
        config: validated, with task and loss decided.
    """
    parts = dict(chosen(dict(config)))
    # As in the config, what the architecture brings along counts before what the data does.
    brought: dict[str, str] = {}
    for entry in reversed(parts.values()):
        brought |= entry.component.defaults
    usual = _usual_choices() | brought
    defaults: dict[str, Any] = {"seed": 0}
    for key, entry in parts.items():
        if key in usual:
            defaults[key] = usual[key]
        defaults |= _defaults(key, load(entry).options)
    for group in ("trainer", "transfer"):
        defaults |= _defaults(group, dataclass_options(SETTINGS[group]))
    found = []
    for key, value in effective(dict(config)).items():
        if key == "task" and key not in brought:  # the data's targets decide it
            continue
        default = defaults.get(key)
        if key not in defaults or not _same(value, default):
            found.append((key, _text(value), "" if default is None else _text(default)))
    return found


@cache
def _usual_choices() -> dict[str, str]:
    """Return the component of each kind that is taken where none is chosen."""
    listed = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    pairs = {k: v for each in listed if isinstance(each, dict) for k, v in each.items()}
    return {k: v for k, v in pairs.items() if isinstance(v, str) and v != "auto" and "/" not in k}


def _defaults(key: str, options: Iterable[Option]) -> dict[str, Any]:
    return {f"{key}.{option.name}": option.default for option in options}


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, str) and isinstance(default, (list, tuple, Mapping)):
        return value == json.dumps(default)
    return bool(value == default)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple, Mapping, bool)) or value is None:
        return json.dumps(value)
    return str(value)
