"""What the first trial would be like: its metrics, which of them matters, how long it trains."""

import json
from collections.abc import Callable
from pathlib import Path

from dlframe.sweep.order import Order, Outcome
from dlframe.tracking.whole import write_whole

__all__ = ["FACTS", "describe"]

FACTS = "facts"
"""The tag of an order that says where the facts go."""
_COSTS = ("seconds", "steps", "parameters", "peak_memory_mib", "epochs")


def describe(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Build all parts of a training, and write down what is to be known of them; train nothing."""
    from dlframe.training.fit import Fit
    from dlframe.training.prepare import prepare

    fit = Fit(prepare(order.config), Path(order.config["tracking"]["root"]), lambda *_: None)
    task, options = fit.parts.task, fit.options
    metrics = [f"{part}/{n}" for part in ("val", "test") for n in ("loss", *task.metrics(part))]
    facts = {
        "monitor": task.monitor,
        "mode": task.mode,
        "metrics": sorted({*metrics, *(f"cost/{name}" for name in _COSTS)}),
        "epochs": max(0, options["max_epochs"]),  # by which reports are numbered, however rare
    }
    write_whole(Path(order.tags[FACTS]), json.dumps(facts))
    return Outcome(state="finished", metrics={}, uid=order.uid)
