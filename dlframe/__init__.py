"""dlframe: deep-learning experiments from named parts. ``import dlframe`` imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlframe.errors import DlframeError
from dlframe.plugin.component import Component
from dlframe.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from dlframe.analysis.comparison import Comparison
    from dlframe.api import compare, compose, cross_validate, load, train
    from dlframe.training.outcome import Run
    from dlframe.training.predictor import Predictor

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Component",
    "DlframeError",
    "Predictor",
    "Run",
    "__version__",
    "compare",
    "compose",
    "cross_validate",
    "hookimpl",
    "load",
    "train",
]

_HOME = {
    "Comparison": "dlframe.analysis.comparison",
    "Predictor": "dlframe.training.predictor",
    "Run": "dlframe.training.outcome",
    "compare": "dlframe.api",
    "compose": "dlframe.api",
    "cross_validate": "dlframe.api",
    "load": "dlframe.api",
    "train": "dlframe.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dlframe' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
