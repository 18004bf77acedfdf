"""The kit as test classes, one per kind."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dlframe.errors import ConfigError
from dlframe.interfaces import InputKind
from dlframe.plugin import registry
from dlframe.testing.case import Case, Check, run
from dlframe.testing.checks import checks_of

__all__ = [
    "ActivationTests",
    "ArchitectureTests",
    "ComponentTests",
    "DataTests",
    "InitializerTests",
    "LossTests",
    "OptimizerTests",
    "RegularizerTests",
    "SchedulerTests",
    "TaskTests",
]


class ComponentTests:
    """Tests of one component: derive from the class of its kind and name the component.

    Each check of the kind is a method ``test_<check>``. pytest collects the derived class; nothing
    else is needed.

    Attributes:
        component: id, or short name, of the component.
        options: values of options: those without default, or a variation worth testing.
        off: for a regularizer, the options under which it does nothing.
        expected_failures: reasons by name of the tests that must fail; one that passes is an error.
        inputs: kinds of input to try, where ``options`` fit fewer than the descriptor names.

    Example:
        >>> class TestSwish(ActivationTests):
        ...     component = "swish/swish"
        ...     expected_failures = {"test_elementwise": "normalizes over channels"}
    """

    kind: ClassVar[str] = ""
    component: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    off: ClassVar[Mapping[str, Any] | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}
    inputs: ClassVar[tuple[InputKind, ...]] = ()

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if not cls.kind or not cls.component:
            return
        checks = checks_of(cls.kind)
        known = {f"test_{check.__name__}" for check in checks}
        unknown = sorted(cls.expected_failures.keys() - known)
        if unknown:
            raise ConfigError(
                f"{cls.__name__} expects {unknown[0]!r} to fail, which is no test of a {cls.kind}; "
                f"they are {', '.join(sorted(known))}"
            )
        for check in checks:
            setattr(cls, f"test_{check.__name__}", _method(check))

    @classmethod
    def case(cls) -> Case:
        """Return what is tested: the component and the options stated here."""
        return Case(
            registry().find(cls.kind, cls.component),
            cls.options,
            cls.off,
            {name.removeprefix("test_"): reason for name, reason in cls.expected_failures.items()},
            cls.inputs,
        )


def _method(check: Check) -> Callable[[ComponentTests], None]:
    def test(self: ComponentTests) -> None:
        import pytest

        outcome = run(self.case(), check)
        if outcome.error is not None:
            raise outcome.error
        if outcome.status == "expected":
            pytest.xfail(outcome.reason)
        if outcome.status == "skipped":
            pytest.skip(outcome.reason)
        if not outcome.good:
            pytest.fail(outcome.reason)

    test.__name__, test.__doc__ = f"test_{check.__name__}", check.__doc__
    return test


class ArchitectureTests(ComponentTests):
    """Tests of an architecture."""

    kind = "architecture"


class ActivationTests(ComponentTests):
    """Tests of an activation."""

    kind = "activation"


class LossTests(ComponentTests):
    """Tests of a loss."""

    kind = "loss"


class OptimizerTests(ComponentTests):
    """Tests of an optimizer."""

    kind = "optimizer"


class RegularizerTests(ComponentTests):
    """Tests of a regularizer; state ``off`` too."""

    kind = "regularizer"


class SchedulerTests(ComponentTests):
    """Tests of a learning-rate schedule."""

    kind = "scheduler"


class InitializerTests(ComponentTests):
    """Tests of an initializer."""

    kind = "initializer"


class DataTests(ComponentTests):
    """Tests of a data component; those that need its files are skipped where they are missing."""

    kind = "data"


class TaskTests(ComponentTests):
    """Tests of a task."""

    kind = "task"
