"""Trials that do nothing, or sleep: apart from the benchmarks, whose imports they have no use for."""

import math
import random
import time
from collections.abc import Callable

from dlframe.sweep.order import Order, Outcome

MEAN = 1.5
SPREAD = 1.0


def nothing(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Do nothing; the value is that of the config."""
    rate = order.config["optimizer"]["lr"]
    return Outcome(uid=order.uid, state="finished", metrics={"val/loss": (rate - 0.01) ** 2})


def sleep(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Sleep as long as the trial of this number does."""
    time.sleep(length(int(order.tags["dlframe.trial"])))
    return nothing(order, report)


def nap(order: Order, report: Callable[[int, dict[str, float]], bool]) -> Outcome:
    """Sleep for half a minute or less: workers that wait for GPUs, not for this machine's cores."""
    time.sleep(random.uniform(8.0, 32.0))
    return nothing(order, report)


def length(number: int) -> float:
    """Return seconds: log-normal, the same for the same number."""
    return random.Random(number).lognormvariate(math.log(MEAN) - SPREAD**2 / 2, SPREAD)
