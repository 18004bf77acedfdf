"""The descriptor by which a plugin declares a component without importing it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

__all__ = ["Component"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One named implementation of a kind; the target is imported when the component is first used.

    Args:
        name: short name, lower case with underscores: the word in configs and on the command line.
        target: where the class or function is, as ``"package.module:Name"``.
        summary: one line for ``dlframe ls``.
        tasks: short names of the tasks it fits; empty means any. For data: the tasks it offers.
            For a task: other tasks whose data, networks and losses it can use as well.
        inputs: kinds of input it fits (``"features"``, ``"image"``, ``"sequence"``, ``"tokens"``);
            empty means any. For data: what it provides.
        defaults: choices it brings along for other kinds, such as ``{"loss": "mse"}``; what the user
            selects wins.
        tags: facts that dlframe and the conformance kit rely on. Known tags: ``per_step`` (a scheduler
            that moves after each optimizer step), ``axiswise`` (an activation that mixes values along
            an axis), ``stochastic`` (draws random numbers in evaluation too), ``unsupervised`` (a task
            that uses no labels, so that it fits any data), ``untrained`` (an architecture without
            parameters, such as a naive forecast: it is evaluated and recorded after 0 steps).
        reference: arXiv id or DOI of the source.

    Raises:
        ValueError: a malformed name, target or summary.

    Example:
        >>> Component(name="swish", target="acme.layers:Swish", summary="x * sigmoid(x)").name
        'swish'
    """

    name: str
    target: str
    summary: str
    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tags: frozenset[str] = frozenset()
    reference: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be selected or listed later."""
        if not _NAME.fullmatch(str(self.name)):
            raise ValueError(
                f"a component's name must be lower-case letters, digits and underscores; "
                f"got {self.name!r}"
            )
        if not _TARGET.fullmatch(str(self.target)):
            raise ValueError(
                f"the target of {self.name!r} must read 'package.module:Name'; got {self.target!r}"
            )
        if not str(self.summary).strip() or "\n" in str(self.summary):
            raise ValueError(f"the summary of {self.name!r} must be one line; got {self.summary!r}")
        for names in ("tasks", "inputs"):
            if isinstance(getattr(self, names), str):
                raise ValueError(
                    f"`{names}` of {self.name!r} must be a tuple of names, not the string "
                    f"{getattr(self, names)!r}"
                )

    def load(self) -> Any:
        """Import and return the target.

        Raises:
            ImportError: the module cannot be imported.
            AttributeError: the module has no such name.
        """
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)
