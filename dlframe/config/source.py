"""Hydra's config groups, answered from the registry.

Names come from descriptors, so help and completion import nothing; only the selected component's
signature is read. Hydra copies sources freely, so this one holds no state.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import (
    AnyNode,
    BooleanNode,
    DictConfig,
    FloatNode,
    IntegerNode,
    OmegaConf,
    StringNode,
)

from dlframe.config.options import REQUIRED, Option, base_type
from dlframe.config.settings import SETTINGS, SweepOptions
from dlframe.config.signature import dataclass_options, load
from dlframe.plugin import KINDS, PRUNER, SAMPLER, registry

__all__ = [
    "AUTO",
    "AUTO_GROUPS",
    "CONF",
    "OPTUNA",
    "PARTS",
    "SWEEP",
    "SWEEPER",
    "SWEEPER_TARGET",
    "ComponentSource",
    "register",
    "searching",
]

AUTO = "auto"
"""A task or loss that the data decides, and a pruner that dlframe does."""
SWEEP = "sweep"
"""The group of ready-made searches."""
SWEEPER, OPTUNA = "hydra/sweeper", "optuna"
"""Hydra's group of sweepers, and dlframe's in it."""
SWEEPER_TARGET = "hydra_plugins.dlframe.OptunaSweeper"
PARTS = {f"{SWEEPER}/{kind.name}": kind.name for kind in (SAMPLER, PRUNER)}
"""Groups within the sweeper's, and the kinds whose components they hold."""
_DEFAULT_PARTS = {SAMPLER.name: "tpe", PRUNER.name: AUTO}
AUTO_GROUPS = ("task", "loss", f"{SWEEPER}/{PRUNER.name}")
_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir())
"""The folder of ready-made compositions: inside an installed package, or beside a checkout's."""

# Hydra makes search-path plugins itself, without arguments.
_user_folder: ContextVar[Path | None] = ContextVar("user_folder", default=None)

_NODES: dict[Any, type] = {
    bool: BooleanNode,
    int: IntegerNode,
    float: FloatNode,
    str: StringNode,
    Any: AnyNode,
}


def node_of(option: Option) -> Any:
    """Return a typed node: Hydra then refuses a value of another type as it composes."""
    base, optional = base_type(option.hint)
    value = "???" if option.default is REQUIRED else option.default
    if isinstance(value, (list, tuple, dict)):
        return OmegaConf.create(list(value) if isinstance(value, tuple) else value)
    if base is Any:
        return AnyNode(value)
    return _NODES[base](value=value, is_optional=optional or value is None)


class ComponentSource(ConfigSource):
    """Groups: one per kind, those of the run's own settings, and those of a search."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of this source's address."""
        return "dlframe"

    def available(self) -> bool:
        """Say that the registry is always there."""
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the options of one component, with all defaults."""
        group, name = _split(config_path)
        if not self.is_config(config_path):
            raise ConfigLoadError(f"no config is at {config_path!r}")
        package, defaults, options = None, {}, {}
        kind = PARTS.get(group, group)
        if group in SETTINGS:
            options = {o.name: node_of(o) for o in dataclass_options(SETTINGS[group])}
        elif group == SWEEPER:
            options = {"_target_": StringNode(SWEEPER_TARGET)}
            options |= {o.name: node_of(o) for o in dataclass_options(SweepOptions)}
            options["defaults"] = [{part: name} for part, name in _DEFAULT_PARTS.items()]
            options["defaults"] += ["_self_"]
        elif name == AUTO:
            options = {"component": StringNode(AUTO)}
        else:
            entry = registry().find(kind, name)
            options = {"component": StringNode(entry.id)}
            options |= {option.name: node_of(option) for option in load(entry).options}
            defaults = dict(entry.component.defaults)
            if kind in KINDS and KINDS[kind].many:
                package = f"{group}.{entry.component.name}"
        content: dict[str, Any] = dict(options)
        if defaults:
            content["defaults"] = ["_self_"]
            content["defaults"] += [{f"override /{k}@_global_.{k}": v} for k, v in defaults.items()]
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=DictConfig(content),
            header={"package": package},
        )

    def is_group(self, config_path: str) -> bool:
        """Whether the path is the root, a kind, a settings group or one of a search."""
        return config_path.strip("/") in ("", *KINDS, *SETTINGS, SWEEPER, *PARTS)

    def is_config(self, config_path: str) -> bool:
        """Whether the path selects a component; imports nothing."""
        group, name = _split(config_path)
        if group in SETTINGS:
            return name == "default"
        if group == SWEEPER:
            return name == OPTUNA
        if group in AUTO_GROUPS and name == AUTO:
            return True
        # A name that two plugins share is "known": loading it then raises and prints both ids.
        return group in (*KINDS, *PARTS) and registry().knows(PARTS.get(group, group), name)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of groups, or of a group's components."""
        path = config_path.strip("/")
        names: Iterable[str] = ()
        if path == "" and results_filter in (None, ObjectType.GROUP):
            names = (*KINDS, *SETTINGS)
        elif path in SETTINGS and results_filter in (None, ObjectType.CONFIG):
            names = ("default",)
        elif path == SWEEPER:
            groups = [part.rpartition("/")[2] for part in PARTS]
            names = [*([OPTUNA] if results_filter is not ObjectType.GROUP else [])]
            names = [*names, *(groups if results_filter is not ObjectType.CONFIG else [])]
        elif path in (*KINDS, *PARTS) and results_filter in (None, ObjectType.CONFIG):
            names = registry().names(PARTS.get(path, path))
        return sorted(names)


def _split(config_path: str) -> tuple[str, str]:
    """Tell the group from the name, either of which may have a slash."""
    path = config_path.removesuffix(".yaml").strip("/")
    for group in (*PARTS, SWEEPER):
        if path.startswith(f"{group}/"):
            return group, path.removeprefix(f"{group}/")
    group, _, name = path.partition("/")
    return group, name


class ComponentSearchPath(SearchPathPlugin):
    """Searches the user's folder first and the registry last: a user's YAML of the same name wins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder and the registry."""
        search_path.append(provider="dlframe", path="dlframe://components")
        folder = _user_folder.get()
        if folder is not None:
            search_path.prepend(provider="user", path=f"file://{folder.resolve()}")


@contextmanager
def searching(folder: Path | None) -> Iterator[None]:
    """Let compositions in this context find the user's own YAML files in ``folder``."""
    token = _user_folder.set(folder)
    try:
        yield
    finally:
        _user_folder.reset(token)


def register() -> None:
    """Make Hydra know the source; doing so twice is harmless."""
    plugins = Plugins.instance()
    for plugin in (ComponentSource, ComponentSearchPath):
        if plugin not in plugins.discover(plugin.__base__):
            plugins.register(plugin)
