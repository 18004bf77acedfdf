"""Schedules against their closed forms and torch's own."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from dlframe.components.schedulers import COMPONENTS
from dlframe.components.schedulers.per_epoch import (
    constant,
    exponential,
    multi_step,
    plateau,
    step,
)
from dlframe.components.schedulers.per_step import (
    cosine,
    linear,
    one_cycle,
    polynomial,
    warmup_cosine,
)
from dlframe.errors import ConfigError

LR = 0.5
TARGETS = {component.name: component.load() for component in COMPONENTS}
PER_STEP = sorted(c.name for c in COMPONENTS if "per_step" in c.tags)
# The share of the rate that each schedule promises at the end, with its defaults.
END = {"cosine": 0.0, "warmup_cosine": 0.0, "linear": 0.0, "polynomial": 0.0, "one_cycle": 4e-6}


def optimizer() -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=LR)


def rates(make: Callable[..., LRScheduler], steps: int, **arguments: Any) -> list[float]:
    """Return the rate before the first step and after each of ``steps`` steps."""
    moved = optimizer()
    schedule = make(moved, **arguments)
    seen = [moved.param_groups[0]["lr"]]
    for _ in range(steps):
        moved.step()
        schedule.step()
        seen.append(moved.param_groups[0]["lr"])
    return seen


def test_tags_name_the_schedules_that_need_the_number_of_steps() -> None:
    assert sorted(END) == PER_STEP


@pytest.mark.parametrize(
    ("make", "options", "formula"),
    [
        (constant, {}, lambda e: LR),
        (step, {"step_size": 3, "gamma": 0.5}, lambda e: LR * 0.5 ** (e // 3)),
        (exponential, {"gamma": 0.9}, lambda e: LR * 0.9**e),
        (
            multi_step,
            {"milestones": [2, 5], "gamma": 0.1},
            lambda e: LR * 0.1 ** ((e >= 2) + (e >= 5)),
        ),
    ],
)
def test_epoch_schedules_follow_their_formula(
    make: Callable[..., LRScheduler], options: dict[str, Any], formula: Callable[[int], float]
) -> None:
    assert rates(make, 12, **options) == pytest.approx([formula(e) for e in range(13)])


def test_plateau_waits_for_its_patience_and_stops_at_its_floor() -> None:
    moved = optimizer()
    schedule = plateau(moved, factor=0.5, patience=1, threshold=0.1, min_lr=0.2)
    assert isinstance(schedule, ReduceLROnPlateau)
    seen = []
    for value in (-1.0, -1.05, -1.05, -1.3, -1.3, -1.3, -1.3, -1.3):
        schedule.step(value)
        seen.append(moved.param_groups[0]["lr"])
    assert seen == [0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_cosine(total: int, floor: float) -> None:
    expected = [
        LR * (floor + (1 - floor) * (1 + math.cos(math.pi * t / total)) / 2)
        for t in range(total + 1)
    ]
    assert rates(cosine, total, total_steps=total, min_factor=floor) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("total", [1, 2, 50])
def test_polynomial_equals_torchs(total: int, power: float) -> None:
    def reference(moved: SGD) -> LRScheduler:
        return torch.optim.lr_scheduler.PolynomialLR(moved, total_iters=total, power=power)

    ours = rates(polynomial, total + 3, total_steps=total, power=power)
    assert ours == pytest.approx(rates(reference, total + 3), abs=1e-12)


@pytest.mark.parametrize("warmup_steps", [0, 1, 4, 19])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_warm_up_rises_to_the_peak_and_falls_to_the_floor(shape: str, warmup_steps: int) -> None:
    make = warmup_cosine if shape == "cosine" else linear
    seen = rates(make, 20, total_steps=20, warmup_steps=warmup_steps, min_factor=0.1)
    rise = [LR * (t + 1) / (warmup_steps + 1) for t in range(warmup_steps)]
    assert seen[:warmup_steps] == pytest.approx(rise)
    assert seen[warmup_steps] == LR
    for t in range(warmup_steps, 21):
        left = 1 - (t - warmup_steps) / (20 - warmup_steps)
        height = left if shape == "linear" else (1 - math.cos(math.pi * left)) / 2
        assert seen[t] == pytest.approx(LR * (0.1 + 0.9 * height))


@pytest.mark.parametrize("make", [warmup_cosine, linear])
def test_the_share_of_warm_up_counts_steps(make: Callable[..., LRScheduler]) -> None:
    assert rates(make, 20, total_steps=20, warmup=0.25) == rates(
        make, 20, total_steps=20, warmup_steps=5
    )


@pytest.mark.parametrize("make", [warmup_cosine, linear])
@pytest.mark.parametrize("warmup_steps", [10, 11])
def test_a_warm_up_as_long_as_the_training_is_refused(
    make: Callable[..., LRScheduler], warmup_steps: int
) -> None:
    with pytest.raises(ConfigError, match="less than the 10 optimizer steps"):
        make(optimizer(), total_steps=10, warmup_steps=warmup_steps)


@pytest.mark.parametrize(("total", "rise"), [(10, 3), (100, 30), (4, 1)])
def test_one_cycle_equals_torchs(total: int, rise: int) -> None:
    def reference(moved: SGD) -> LRScheduler:
        # torch counts the last value among its steps, dlframe reaches it after them.
        return OneCycleLR(
            moved,
            max_lr=LR,
            total_steps=total + 1,
            pct_start=(rise + 1) / (total + 1),
            cycle_momentum=False,
        )

    assert rates(one_cycle, total, total_steps=total) == pytest.approx(rates(reference, total))


@pytest.mark.parametrize("name", PER_STEP)
@pytest.mark.parametrize("total", [1, 2, 3, 11, 1000])
def test_ends_where_it_promises_and_stays_there(name: str, total: int) -> None:
    seen = rates(TARGETS[name], total + 5, total_steps=total)
    assert all(0 <= rate <= LR for rate in seen)
    assert max(seen) == pytest.approx(LR)
    assert all(rate > 0 for rate in seen[:total])
    assert seen[total:] == pytest.approx([LR * END[name]] * 6, abs=1e-12)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_resumed_schedule_goes_on_as_the_undisturbed_one(name: str) -> None:
    arguments = {"total_steps": 12} if name in PER_STEP else {}
    values: tuple[Any, ...] = (1.0,) * 12 if name == "plateau" else ()

    def move(schedule: LRScheduler, moved: SGD, epochs: range) -> list[float]:
        seen = []
        for e in epochs:
            moved.step()
            schedule.step(*values[e : e + 1])
            seen.append(moved.param_groups[0]["lr"])
        return seen

    moved = optimizer()
    schedule = TARGETS[name](moved, **arguments)
    move(schedule, moved, range(5))
    state, optimizer_state = schedule.state_dict(), moved.state_dict()
    resumed = optimizer()
    again = TARGETS[name](resumed, **arguments)
    resumed.load_state_dict(optimizer_state)
    again.load_state_dict(state)
    assert move(again, resumed, range(5, 12)) == move(schedule, moved, range(5, 12))


@pytest.mark.parametrize("milestones", [(0, 5), (5, 5), (9, 3)])
def test_milestones_must_rise(milestones: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="rising order"):
        multi_step(optimizer(), milestones=milestones)
