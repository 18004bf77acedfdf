"""Who provides what: descriptors, hooks, discovery and conflicts (standard library and pluggy only)."""

from dlframe.plugin.component import Component
from dlframe.plugin.hookspecs import hookimpl
from dlframe.plugin.kinds import ALL_KINDS, KINDS, PRUNER, SAMPLER, SINK, Kind, kind_named
from dlframe.plugin.registry import BUILTIN, Entry, Plugin, Registry, registry

__all__ = [
    "ALL_KINDS",
    "BUILTIN",
    "KINDS",
    "PRUNER",
    "SAMPLER",
    "SINK",
    "Component",
    "Entry",
    "Kind",
    "Plugin",
    "Registry",
    "hookimpl",
    "kind_named",
    "registry",
]
