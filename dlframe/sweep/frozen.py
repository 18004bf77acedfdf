"""From a trial's overrides to its config: composed once for each choice of components."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlframe.config.compose import compose
from dlframe.config.overrides import parse
from dlframe.config.validate import validate
from dlframe.errors import ConfigError

__all__ = ["Composer"]

_MOST_KEPT = 64


class Composer:
    """Composes the configs of trials.

    Hydra takes some 50 ms for one; trials that choose the same components share it.

    Args:
        config_dir: a folder of the user's own YAML files.

    Raises:
        ConfigError: the folder is not there.
    """

    def __init__(self, config_dir: Path | None = None) -> None:
        if config_dir is not None and not config_dir.is_dir():
            raise ConfigError(
                f"the study's YAML files are kept in {str(config_dir)!r}, which is not there; a worker "
                "on another machine needs that folder, too, as on a shared file system"
            )
        self._config_dir = config_dir
        self._lock = threading.Lock()  # Hydra's state is the process's
        self._kept: OrderedDict[tuple[str, ...], DictConfig] = OrderedDict()
        self._parsed: dict[str, Override] = {}

    def __call__(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the validated config, without anything left to resolve.

        Raises:
            ConfigError: the overrides do not go together.
        """
        with self._lock:
            return validate(self._compose(overrides))

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        parsed = [(text, parse(text)) for text in overrides]
        values = [(text, each) for text, each in parsed if _sets_value(each)]
        rest = tuple(text for text, each in parsed if not _sets_value(each))
        if rest not in self._kept:
            self._kept[rest] = compose(rest, config_dir=self._config_dir)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(rest)
        config = copy.deepcopy(self._kept[rest])
        try:
            for _, override in values:
                _set(config, override)
        except (OmegaConfBaseException, ConfigError):
            # Hydra itself says what is wrong, or that nothing is.
            return compose(overrides, config_dir=self._config_dir)
        return config


def _sets_value(override: Override) -> bool:
    """Whether an override does nothing but set an option that is there already."""
    plain = not (override.is_add() or override.is_delete() or override.is_force_add())
    return plain and "." in override.key_or_group and override.package is None


def _set(config: DictConfig, override: Override) -> None:
    key = override.key_or_group
    value = override.value()
    if isinstance(value, (dict, list)):  # Hydra merges mappings
        raise ConfigError(key)
    place, _, name = key.rpartition(".")
    node = OmegaConf.select(config, place, throw_on_missing=True)
    if not isinstance(node, DictConfig) or name not in node:
        raise ConfigError(key)
    node[name] = value
