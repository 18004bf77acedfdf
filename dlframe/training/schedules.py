"""When learning rates move: after steps, after epochs, or where a watched value stands still."""

from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

__all__ = ["move"]


def move(schedules: Any, value: float | None = None) -> None:
    """Move the schedules that follow what has just ended.

    Args:
        schedules: Lightning's: one, several or none.
        value: the monitored value, small where it is good, after a validation; None after a step or an
            epoch.
    """
    for schedule in schedules if isinstance(schedules, list) else [schedules]:
        if isinstance(schedule, ReduceLROnPlateau):
            if value is not None:
                schedule.step(value)
        elif schedule is not None and value is None:
            schedule.step()
