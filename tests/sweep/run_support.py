"""What the tests of trials share that train: orders for them, and what is recorded of their runs."""

from contextlib import closing
from pathlib import Path
from typing import Any

from dlframe.api import compose
from dlframe.sweep.order import Order
from dlframe.tracking.recorder import new_uid
from dlframe.tracking.spool import Spool

QUICK = ("data.limit=300", "tracking.offline=true", "tracking.sample_every=null")


def ignore(step: int, values: dict[str, float]) -> bool:
    """Hear a report that decides nothing."""
    return False


def training(root: Path, *overrides: str, **options: Any) -> Order:
    """An order to train on the digits."""
    words = (*QUICK, f"tracking.root={root}", *overrides)
    return Order(config=compose(*words), overrides=list(words), uid=new_uid(), **options)


def bodies(folder: Path, *kinds: Any) -> list[dict[str, Any]]:
    """What is recorded of a run in records of some kinds."""
    with closing(Spool(folder)) as spool:
        return [record.body for record in spool.of_kinds(*kinds)]


def tags(folder: Path) -> dict[str, Any]:
    """The tags that are recorded of a run."""
    return {key: value for body in bodies(folder, "tags") for key, value in body["values"].items()}


def measured(folder: Path, metric: str) -> list[tuple[int, float]]:
    """Steps and values that are recorded of a metric."""
    return [
        (body["step"], body["values"][metric])
        for body in bodies(folder, "metrics")
        if metric in body["values"]
    ]
