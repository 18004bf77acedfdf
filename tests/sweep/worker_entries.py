"""What trials of the workers' tests carry out: light, since processes are made to import it."""

import time
from collections.abc import Callable

from dlframe.errors import TrainingDivergedError
from dlframe.sweep.order import Order, Outcome

Report = Callable[[int, dict[str, float]], bool]


def objective(rate: float, width: int) -> float:
    """Return what a training with these values might reach."""
    return (rate - 0.01) ** 2 + (width - 40) ** 2 / 1000


def evaluate(order: Order, report: Report) -> Outcome:
    """Look at the config."""
    [width] = order.config["architecture"]["hidden"]
    loss = objective(order.config["optimizer"]["lr"], width) + order.config["seed"]
    metrics = {"best/val_loss": loss, "cost/parameters": 10.0 * width, "val/loss": loss + 1}
    return Outcome(uid=order.uid, state="finished", metrics=metrics)


def descend(order: Order, report: Report) -> Outcome:
    """Report a curve, and end early if that is wanted."""
    end = evaluate(order, report)
    for epoch in range(1, 10):
        loss = end.metrics["best/val_loss"] + 1 / epoch
        if report(epoch, {"val/loss": loss, "val/accuracy": -loss}):
            said = f"it was pruned after epoch {epoch}"
            return Outcome(uid=order.uid, state="pruned", reason="pruned", said=said)
    return end


def fail(order: Order, report: Report) -> Outcome:
    """Fail as a training does."""
    raise TrainingDivergedError("the loss became NaN")


def nothing(order: Order, report: Report) -> Outcome:
    """Finish without the objective."""
    return Outcome(uid=order.uid, state="finished", metrics={"val/accuracy": 0.5})


def doze(order: Order, report: Report) -> Outcome:
    """Take a while."""
    time.sleep(0.3)
    return evaluate(order, report)
