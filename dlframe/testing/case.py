"""A component under test, and the outcome of one check on it."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
import torch

from dlframe.config.options import REQUIRED, check
from dlframe.config.signature import load
from dlframe.errors import ConfigError
from dlframe.interfaces import InputKind
from dlframe.plugin import Entry
from dlframe.training.build import build

__all__ = ["Case", "Check", "CheckFailure", "Inapplicable", "Outcome", "require", "run", "skip"]


class CheckFailure(AssertionError):
    """The component breaks the promise of its kind; the message says which, and by how much."""


class Inapplicable(Exception):
    """The check says nothing of this component; the message is the reason."""


def require(condition: bool, message: str) -> None:
    """Raise ``CheckFailure`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise CheckFailure(message)


def skip(reason: str) -> NoReturn:
    """Leave the running check, giving the reason."""
    raise Inapplicable(reason)


@dataclass(frozen=True)
class Case:
    """A component with the options under which it is tested.

    Args:
        entry: the component.
        options: values of options; all others keep their defaults.
        off: options under which a regularizer does nothing, such as ``{"weight": 0.0}``.
        expected_failures: reasons by name of the checks that must fail.
        inputs: kinds of input to try; empty means those that the descriptor names, or all.
    """

    entry: Entry
    options: Mapping[str, Any] = field(default_factory=dict)
    off: Mapping[str, Any] | None = None
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputKind, ...] = ()

    @property
    def tags(self) -> frozenset[str]:
        """The descriptor's tags."""
        return self.entry.component.tags

    def node(self, **options: Any) -> dict[str, Any]:
        """Return the component's node of a validated config.

        Args:
            options: values that take precedence over those of the case.
        """
        known = {option.name: option for option in load(self.entry).options}
        given = {**self.options, **options}
        for name in given.keys() - known.keys():
            raise ConfigError(f"{self.entry.id} has no option {name!r}; known are {sorted(known)}")
        values = {name: given.get(name, option.default) for name, option in known.items()}
        missing = [name for name, value in values.items() if value is REQUIRED]
        if missing:
            skip(f"needs a value for {', '.join(missing)}: state it in `options` of the test class")
        checked = {n: check(f"{self.entry.kind}.{n}", v, known[n].hint) for n, v in values.items()}
        return {"component": self.entry.id, **checked}

    def make(self, **runtime: Any) -> Any:
        """Build the component; ``runtime`` holds what dlframe would pass in."""
        return build(self.entry.kind, self.node(), **runtime)


Check = Callable[[Case], None]
Status = Literal["ok", "failed", "expected", "unexpected", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check of one component gave.

    Args:
        check: the check's name.
        status: ``ok``; ``failed``; ``expected``, a failure that was announced; ``unexpected``, an
            announced failure that did not happen; ``skipped``, with a reason.
        reason: why, unless it is ok.
        error: what was raised, where it failed.
    """

    check: str
    status: Status
    reason: str = ""
    error: BaseException | None = None

    @property
    def good(self) -> bool:
        """Whether the component may be published with this outcome."""
        return self.status in ("ok", "expected", "skipped")


def run(case: Case, check: Check) -> Outcome:
    """Run one check with seeded random numbers, and put back the process's global state.

    An exception of any kind fails the check: the component's code may raise anything.
    """
    name = check.__name__
    announced = case.expected_failures.get(name)
    try:
        with _own_state():
            check(case)
    except Inapplicable as reason:
        return Outcome(name, "skipped", str(reason))
    except Exception as error:
        if announced is not None:
            return Outcome(name, "expected", announced)
        text = str(error) if isinstance(error, CheckFailure) else f"{type(error).__name__}: {error}"
        return Outcome(name, "failed", text, error)
    if announced is not None:
        reason_ = f"passes, though it was expected to fail ({announced}); remove the expectation"
        return Outcome(name, "unexpected", reason_)
    return Outcome(name, "ok")


@contextmanager
def _own_state() -> Iterator[None]:
    dtype, python, numpy = torch.get_default_dtype(), random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(python)
        np.random.set_state(numpy)
