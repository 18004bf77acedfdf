"""The conformance kit: what every component of a kind must do, as tests for plugin authors.

Derive a class from the one of your component's kind; pytest runs the checks, and so does
``dlframe check``.

Example:
    >>> import dlframe.testing
    >>> class TestSwish(dlframe.testing.ActivationTests):
    ...     component = "swish/swish"
"""

from dlframe.testing.case import Case, Check, CheckFailure, Outcome, run
from dlframe.testing.checks import checks_of
from dlframe.testing.suites import (
    ActivationTests,
    ArchitectureTests,
    ComponentTests,
    DataTests,
    InitializerTests,
    LossTests,
    OptimizerTests,
    RegularizerTests,
    SchedulerTests,
    TaskTests,
)

__all__ = [
    "ActivationTests",
    "ArchitectureTests",
    "Case",
    "Check",
    "CheckFailure",
    "ComponentTests",
    "DataTests",
    "InitializerTests",
    "LossTests",
    "OptimizerTests",
    "Outcome",
    "RegularizerTests",
    "SchedulerTests",
    "TaskTests",
    "checks_of",
    "run",
]
