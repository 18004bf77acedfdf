"""Which checks apply to which kind."""

from collections.abc import Mapping

from dlframe.testing import (
    activation,
    architecture,
    common,
    data,
    initializer,
    loss,
    optimizer,
    regularizer,
    scheduler,
    task,
)
from dlframe.testing.case import Check

__all__ = ["checks_of"]

_OF_KIND: Mapping[str, tuple[Check, ...]] = {
    "architecture": architecture.CHECKS,
    "activation": activation.CHECKS,
    "loss": loss.CHECKS,
    "optimizer": optimizer.CHECKS,
    "regularizer": regularizer.CHECKS,
    "scheduler": scheduler.CHECKS,
    "initializer": initializer.CHECKS,
    "data": data.CHECKS,
    "task": task.CHECKS,
}


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind, those of every kind first."""
    return (*common.CHECKS, *_OF_KIND[kind])
