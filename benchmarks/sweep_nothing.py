"""A trial that does nothing, or sleeps: apart from the benchmarks, whose imports it has no use for."""

import time
from collections.abc import Callable

from dlframe.sweep.order import Order, Outcome


def nothing(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Do nothing; the value is that of the config."""
    rate = order.config["optimizer"]["lr"]
    return Outcome(uid=order.uid, state="finished", metrics={"val/loss": (rate - 0.01) ** 2})


def sleep(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Sleep for as many seconds as the config's maximum of time says."""
    time.sleep(float(order.config["trainer"]["gradient_clip"]))
    return nothing(order, report)
