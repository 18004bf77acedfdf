"""Plugins in the process's registry, for one test: of any kind, samplers and pruners included."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from dlframe.plugin import ALL_KINDS, Component, hookimpl, registry

Declare = Callable[..., None]


@pytest.fixture
def declare() -> Iterator[Declare]:
    """A function that registers components of one kind as a plugin; all are forgotten afterwards."""
    registry.cache_clear()

    def declared(kind: str, *components: Component, plugin: str = "acme") -> None:
        def hook() -> tuple[Component, ...]:
            return components

        registry().add(SimpleNamespace(**{ALL_KINDS[kind].hook: hookimpl(hook)}), plugin)

    yield declared
    registry.cache_clear()
