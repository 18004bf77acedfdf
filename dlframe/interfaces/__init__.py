"""What each kind of component must do: small bases, with shapes in the docstrings.

Import from here; torch is imported only when a class that needs it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlframe.interfaces.options import DataOptions, Range
from dlframe.interfaces.spec import Batch, InputKind, Spec

if TYPE_CHECKING:
    from dlframe.interfaces.activation import Activation
    from dlframe.interfaces.architecture import (
        Architecture,
        Autoencoder,
        GenerativeAdversarial,
        LanguageModel,
    )
    from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
    from dlframe.interfaces.initializer import Initializer
    from dlframe.interfaces.loss import Loss
    from dlframe.interfaces.optimizer import Optimizer
    from dlframe.interfaces.regularizer import Regularizer
    from dlframe.interfaces.scheduler import Scheduler
    from dlframe.interfaces.task import Stage, Step, Task

__all__ = [
    "Activation",
    "Architecture",
    "Autoencoder",
    "Batch",
    "Data",
    "DataOptions",
    "Examples",
    "GenerativeAdversarial",
    "Initializer",
    "InputKind",
    "LanguageModel",
    "Loss",
    "Optimizer",
    "Preprocessor",
    "Range",
    "Regularizer",
    "Rows",
    "Scheduler",
    "Spec",
    "Stage",
    "Step",
    "Task",
]

_HOME = {
    "Activation": "activation",
    "Architecture": "architecture",
    "Autoencoder": "architecture",
    "Data": "data",
    "Examples": "data",
    "GenerativeAdversarial": "architecture",
    "Initializer": "initializer",
    "LanguageModel": "architecture",
    "Loss": "loss",
    "Optimizer": "optimizer",
    "Preprocessor": "data",
    "Regularizer": "regularizer",
    "Rows": "data",
    "Scheduler": "scheduler",
    "Stage": "task",
    "Step": "task",
    "Task": "task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
