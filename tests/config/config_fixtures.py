"""Plugins in the process's registry, for one test."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from dlframe.plugin import Component, hookimpl, registry
from dlframe.plugin.kinds import KINDS

Add = Callable[..., None]


@pytest.fixture
def add() -> Iterator[Add]:
    """A function that registers components of one kind as a plugin; all are forgotten afterwards."""
    registry.cache_clear()

    def added(kind: str, *components: Component, plugin: str = "acme") -> None:
        def hook() -> tuple[Component, ...]:
            return components

        registry().add(SimpleNamespace(**{KINDS[kind].hook: hookimpl(hook)}), plugin)

    yield added
    registry.cache_clear()
