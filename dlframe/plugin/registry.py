"""Who provides what: discovery, names, conflicts and failures.

No plugin can stop dlframe: each is loaded and asked on its own, and a failing one is kept as *broken*
with its error. pluggy's stock loader would let one bad import end the program.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Literal, NamedTuple

import pluggy

from dlframe.errors import (
    AmbiguousNameError,
    BrokenPluginError,
    ComponentNotFoundError,
    DlframeError,
    did_you_mean,
)
from dlframe.plugin.component import Component
from dlframe.plugin.hookspecs import PROJECT, Specs
from dlframe.plugin.kinds import ALL_KINDS, KINDS

__all__ = ["BUILTIN", "Entry", "Plugin", "Registry", "registry"]

BUILTIN = "dlframe"
_IN_MEMORY = "(in memory)"
Status = Literal["ok", "broken", "blocked"]


class Entry(NamedTuple):
    """A component together with the plugin that provides it."""

    kind: str
    plugin: str
    component: Component

    @property
    def id(self) -> str:
        """The permanent id, ``plugin/name``."""
        return f"{self.plugin}/{self.component.name}"


@dataclass(slots=True)
class Plugin:
    """What is known of one plugin.

    Args:
        name: the entry point's name; the first half of its components' ids.
        distribution: the installed distribution, or ``"(in memory)"``.
        version: the distribution's version.
        status: ``ok``, ``broken`` or ``blocked``.
        error: why it is broken.
        eager: whether loading it imported torch, which slows every command down.
        entries: what it provides.
        notes: remarks that are no errors, such as a short name that is taken.
    """

    name: str
    distribution: str
    version: str
    status: Status = "ok"
    error: BaseException | None = None
    eager: bool = False
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()

    def explain(self) -> str:
        """Say in one line why the plugin is broken and how to block it."""
        error = self.error
        reason = f"{type(error).__name__}: {error}".splitlines()[0] if error else "unknown"
        return (
            f"plugin {self.name!r} ({self.distribution} {self.version}) is broken and was skipped: "
            f"{reason} (block it with DLFRAME_BLOCK={self.name})"
        )


class Registry:
    """All plugins and their components.

    Args:
        only: names of the plugins to load; None loads all. The built-ins are always loaded.
        block: names of plugins that must not even be imported.
        strict: raise a plugin's error instead of marking it as broken.
        discover: whether to look for installed plugins.
    """

    def __init__(
        self,
        *,
        only: Collection[str] | None = None,
        block: Collection[str] = (),
        strict: bool = False,
        discover: bool = True,
    ) -> None:
        self.plugins: list[Plugin] = []
        self._strict = strict
        self._table: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Specs)
        builtin = Plugin(BUILTIN, "dlframe", version("dlframe"))
        self._add(builtin, lambda: import_module("dlframe.components"))
        if discover:
            self._discover(only, block)

    @classmethod
    def from_environment(cls) -> "Registry":
        """Read ``DLFRAME_PLUGINS`` (only these), ``DLFRAME_BLOCK`` and ``DLFRAME_STRICT_PLUGINS``."""
        only = os.environ.get("DLFRAME_PLUGINS")
        return cls(
            only=None if only is None else _words(only),
            block=_words(os.environ.get("DLFRAME_BLOCK", "")),
            strict=os.environ.get("DLFRAME_STRICT_PLUGINS", "") not in ("", "0"),
        )

    def _discover(self, only: Collection[str] | None, block: Collection[str]) -> None:
        seen: set[EntryPoint] = set()
        for point in sorted(entry_points(group=PROJECT), key=lambda point: point.name):
            if point in seen:  # one distribution found twice on sys.path
                continue
            seen.add(point)
            facts = (
                point.dist.metadata if point.dist else None
            )  # parsed anew each time it is asked for
            name, release = (facts["Name"], facts["Version"]) if facts else ("(unknown)", "")
            plugin = Plugin(point.name, name, release)
            if point.name in block or (only is not None and point.name not in only):
                plugin.status = "blocked"
                self.plugins.append(plugin)
            else:
                self._add(plugin, point.load)

    def add(self, module: object, name: str) -> Plugin:
        """Register a plugin that is not installed, as a notebook or a test would.

        Adding one of the same name again replaces it, as when a cell is run twice.

        Args:
            module: a module, or any object with hook implementations.
            name: the plugin's name.

        Raises:
            DlframeError: the plugin is malformed or the name is taken.
        """
        for old in self.plugins:
            if old.name == name and old.distribution == _IN_MEMORY:
                self._remove(old)
                break
        plugin = self._add(Plugin(name, _IN_MEMORY, ""), lambda: module)
        if plugin.error is not None:
            self.plugins.remove(plugin)
            raise DlframeError(f"plugin {name!r} cannot be added: {plugin.error}") from plugin.error
        return plugin

    def _remove(self, plugin: Plugin) -> None:
        self.plugins.remove(plugin)
        self._manager.unregister(name=plugin.name)
        for entries in self._table.values():
            entries[:] = [entry for entry in entries if entry.plugin != plugin.name]

    def _add(self, plugin: Plugin, load: Callable[[], object]) -> Plugin:
        had_torch, module = "torch" in sys.modules, None
        try:
            if self._manager.has_plugin(plugin.name):
                raise DlframeError(f"two plugins are called {plugin.name!r}; uninstall one of them")
            module = load()
            self._manager.register(module, name=plugin.name)
            plugin.entries = tuple(self._ask(plugin.name, module))
        # A plugin may raise anything at import, SystemExit included: it is kept and shown, not lost.
        except (Exception, SystemExit) as error:
            if self._strict:
                raise
            if module is not None and self._manager.get_plugin(plugin.name) is module:
                self._manager.unregister(module)
            plugin.status, plugin.error, plugin.entries = "broken", error, ()
        plugin.eager = not had_torch and "torch" in sys.modules
        self._enter(plugin)
        self.plugins.append(plugin)
        return plugin

    def _ask(self, name: str, module: object) -> Iterator[Entry]:
        """Call one plugin's own hooks, which keeps provenance and isolates its errors."""
        hooks = {kind.hook for kind in ALL_KINDS.values()}
        unknown = sorted(
            hook for hook in dir(module) if hook.startswith("dlframe_") and hook not in hooks
            and hasattr(getattr(module, hook), f"{PROJECT}_impl")
        )  # fmt: skip
        if unknown:
            raise DlframeError(
                f"no hook is called {unknown[0]!r}; "
                f"{did_you_mean(unknown[0], hooks)}the hooks are {', '.join(sorted(hooks))}"
            )
        seen: set[tuple[str, str]] = set()
        for kind in ALL_KINDS.values():
            for impl in getattr(self._manager.hook, kind.hook).get_hookimpls():
                if impl.plugin is not module:
                    continue
                for item in impl.function():
                    if not isinstance(item, Component):
                        raise DlframeError(
                            f"{kind.hook} must yield dlframe.Component; got {type(item).__name__}"
                        )
                    if (kind.name, item.name) in seen:
                        raise DlframeError(f"the {kind.name} {item.name!r} is declared twice")
                    seen.add((kind.name, item.name))
                    yield Entry(kind.name, name, item)

    def _enter(self, plugin: Plugin) -> None:
        for entry in plugin.entries:
            short = self._table[entry.kind, entry.component.name]
            if short and short[0].plugin == BUILTIN:
                plugin.notes += (
                    f"the short name {entry.component.name!r} belongs to dlframe; "
                    f"select yours with {entry.kind}={entry.id}",
                )
            else:
                short.append(entry)
            self._table[entry.kind, entry.id].append(entry)

    def find(self, kind: str, name: str) -> Entry:
        """Return the component of ``kind`` that ``name``, short or ``plugin/name``, selects.

        Raises:
            AmbiguousNameError: several plugins share the short name.
            BrokenPluginError: the plugin named in the id is broken.
            ComponentNotFoundError: nobody provides it; the message lists the nearest names.
        """
        entries = self._table.get((kind, name), ())
        if len(entries) == 1:
            return entries[0]
        if entries:
            ids = " and ".join(f"{kind}={entry.id}" for entry in entries)
            raise AmbiguousNameError(
                f"{kind} {name!r} is provided by {len(entries)} plugins; select one by its id: {ids}"
            )
        prefix = name.partition("/")[0] if "/" in name else None
        for plugin in self.plugins:
            if plugin.name == prefix and plugin.status == "broken":
                raise BrokenPluginError(plugin.explain()) from plugin.error
            if plugin.name == prefix and plugin.status == "blocked":
                raise BrokenPluginError(
                    f"plugin {prefix!r} is blocked by DLFRAME_PLUGINS or DLFRAME_BLOCK; "
                    f"unblock it to use {name!r}"
                )
        known = self.names(kind)
        reasons = [plugin.explain() for plugin in self.plugins if plugin.status == "broken"]
        if prefix is not None and prefix not in {plugin.name for plugin in self.plugins}:
            reasons.insert(0, f"plugin {prefix!r} is not installed; install it, or add it by hand")
        broken = "; ".join(reasons)
        raise ComponentNotFoundError(
            f"no {kind} is called {name!r}; {did_you_mean(name, known)}"
            f"`dlframe ls {kind}` lists all {len(known)}" + (f" ({broken})" if broken else "")
        )

    def knows(self, kind: str, name: str) -> bool:
        """Whether ``name`` selects at least one component of ``kind``."""
        return bool(self._table.get((kind, name)))

    def names(self, kind: str) -> list[str]:
        """All words that select a component of ``kind``: short names, and ids where they are needed."""
        return sorted({self.word(entry) for entry in self.entries(kind)})

    def word(self, entry: Entry) -> str:
        """The shortest word that selects a component: its short name, or its id where that is taken."""
        name = entry.component.name
        return name if self._table.get((entry.kind, name), ()) == [entry] else entry.id

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All components, of one kind or of all that train, ordered by kind and name."""
        order = list(KINDS) if kind is None else [kind]
        found = [
            entry for plugin in self.plugins for entry in plugin.entries if entry.kind in order
        ]
        return sorted(found, key=lambda e: (order.index(e.kind), e.component.name, e.plugin))

    def in_memory(self, name: str) -> bool:
        """Whether the plugin was added by hand, so that its code may change while dlframe runs."""
        return any(p.name == name and p.distribution == _IN_MEMORY for p in self.plugins)

    def plugin(self, name: str) -> Plugin:
        """Return the plugin called ``name``.

        Raises:
            DlframeError: no installed plugin has that name.
        """
        for plugin in self.plugins:
            if plugin.name == name:
                return plugin
        known = [plugin.name for plugin in self.plugins]
        raise DlframeError(
            f"no plugin is called {name!r}; {did_you_mean(name, known)}`dlframe plugins` lists all"
        )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@cache
def registry() -> Registry:
    """The process's registry, made on first use from the environment; broken plugins are told once."""
    made = Registry.from_environment()
    for line in _remarks(made.plugins):
        print(f"dlframe: {line}", file=sys.stderr)
    return made


def _remarks(plugins: Iterable[Plugin]) -> Iterator[str]:
    for plugin in plugins:
        if plugin.status == "broken":
            yield plugin.explain()
        for note in plugin.notes:
            yield f"plugin {plugin.name!r}: {note}"
