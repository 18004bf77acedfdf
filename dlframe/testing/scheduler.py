"""What a learning-rate schedule must do."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require
from dlframe.testing.common import through_file
from dlframe.training.build import build

__all__ = ["CHECKS"]

_TOTALS = (1, 2, 10, 101)


class _Run:
    """An optimizer with two groups, and its schedule, over ``total`` steps."""

    def __init__(self, case: Case, total: int) -> None:
        self.total, self.per_epoch = total, max(1, total // 5)
        groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in (0.1, 0.01)]
        self.optimizer = torch.optim.SGD(groups, lr=0.1)
        self.schedule: LRScheduler = build(
            "scheduler",
            case.node(),
            optimizer=self.optimizer,
            total_steps=total,
            steps_per_epoch=self.per_epoch,
        )
        self.moves = total if "per_step" in case.tags else math.ceil(total / self.per_epoch)
        self.moved = 0

    def rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def move(self) -> list[float]:
        """Step as the training does; a plateau sees a value that gets worse after a while."""
        self.optimizer.step()
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(abs(self.moved - 2.0))
        else:
            self.schedule.step()
        self.moved += 1
        return self.rates()


def constructs(case: Case) -> None:
    """It is an ``LRScheduler`` bound to the optimizer, and drew no random numbers."""
    made = _Run(case, 10)
    require(
        isinstance(made.schedule, LRScheduler),
        f"it makes a {type(made.schedule).__name__}, not an LRScheduler",
    )
    require(made.schedule.optimizer is made.optimizer, "it is bound to another optimizer")
    draws_nothing(lambda: _Run(case, 10))


def finite_rates(case: Case) -> None:
    """Rates are finite and not negative in every step, for short and long trainings."""
    for total in _TOTALS:
        run = _Run(case, total)
        for step in range(run.moves + 1):
            rates = run.rates()
            require(
                all(math.isfinite(rate) and rate >= 0 for rate in rates),
                f"of {total} steps, step {step} has the learning rates {rates}",
            )
            if step < run.moves:
                run.move()


def groups_keep_their_ratio(case: Case) -> None:
    """Each parameter group starts from its own learning rate."""
    run = _Run(case, 50)
    for step in range(run.moves):
        first, second = run.rates()
        require(
            math.isclose(first, 10 * second, rel_tol=1e-6, abs_tol=1e-12),
            f"groups with rates 0.1 and 0.01 have {first:g} and {second:g} in step {step}",
        )
        run.move()


def resumes_exactly(case: Case) -> None:
    """A schedule restored from ``state_dict`` goes on as the uninterrupted one."""
    for total in _TOTALS[1:]:
        whole, half, rest = (_Run(case, total) for _ in range(3))
        stop = whole.moves // 2
        for _ in range(stop):
            whole.move()
            half.move()
        states = through_file((half.schedule.state_dict(), half.optimizer.state_dict()))
        rest.schedule.load_state_dict(states[0])
        rest.optimizer.load_state_dict(states[1])
        rest.moved = stop
        for _ in range(whole.moves - stop):
            wanted, found = whole.move(), rest.move()
            require(wanted == found, f"the resumed schedule has {found} where it had {wanted}")


CHECKS = (constructs, finite_rates, groups_keep_their_ratio, resumes_exactly)
