"""What trials of the workers' tests carry out: light, since processes are made to import it."""

import time
from collections.abc import Callable
from pathlib import Path

from dlframe.errors import TrainingDivergedError
from dlframe.sweep.order import Order, Outcome
from dlframe.tracking.spool import FILE

Report = Callable[[int, dict[str, float]], bool]


def objective(rate: float, width: int) -> float:
    """Return what a training with these values might reach."""
    return (rate - 0.01) ** 2 + (width - 40) ** 2 / 1000


def evaluate(order: Order, report: Report) -> Outcome:
    """Look at the config."""
    [width] = order.config["architecture"]["hidden"]
    loss = objective(order.config["optimizer"]["lr"], width) + order.config["seed"]
    loss += (order.config["data"]["fold"] or 0) / 10
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


def crawl(order: Order, report: Report) -> Outcome:
    """Report slowly."""
    for epoch in range(1, 5):
        time.sleep(0.1)
        report(epoch, {"val/loss": 1.0, "val/accuracy": 0.5})
    return evaluate(order, report)


def die_at_the_third(order: Order, report: Report) -> Outcome:
    """Record which run begins, and be killed in that with the third seed, once."""
    root, seed = Path(order.config["tracking"]["root"]), order.config["seed"]
    (root / order.uid).mkdir(exist_ok=True)
    (root / order.uid / FILE).touch()
    with (root / "begun.txt").open("a") as begun:
        begun.write(f"{seed} {order.uid}\n")
    if seed == 2 and (root / "begun.txt").read_text().count("\n") == 3:
        return Outcome(uid=order.uid, state="failed", reason="killed", said="by somebody")
    return evaluate(order, report)
