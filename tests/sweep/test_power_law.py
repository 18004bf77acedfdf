"""The pruner that extrapolates: on curves whose end is known."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import optuna
import pytest
from optuna.pruners import BasePruner, NopPruner

from dlframe.sweep.definition import Chosen
from dlframe.sweep.pruners import make_pruner

EPOCHS = 64
Curve = Callable[[int], float]
Direction = Literal["minimize", "maximize"]


def made(**options: float) -> BasePruner:
    return make_pruner(Chosen("power_law", dict(options)), max_resource=EPOCHS)


def ends(
    curves: Sequence[Curve], pruner: BasePruner, direction: Direction = "minimize"
) -> list[int]:
    """Epoch at which each trial ended, one after the other."""
    study = optuna.create_study(pruner=pruner, direction=direction)
    found = []
    for curve in curves:
        trial = study.ask()
        pruned = False
        for epoch in range(1, EPOCHS + 1):
            trial.report(curve(epoch), epoch)
            if pruned := trial.should_prune():
                break
        values = [value for value in map(curve, range(1, epoch + 1)) if not math.isnan(value)]
        best = None if pruned else (min if direction == "minimize" else max)(values)
        study.tell(trial, best, state=optuna.trial.TrialState.PRUNED if pruned else None)
        found.append(epoch)
    return found


def power(start: float, exponent: float) -> Curve:
    return lambda epoch: start * math.pow(epoch, -exponent)


def test_a_power_law_is_ended_exactly_where_it_will_not_reach_the_best() -> None:
    best = power(1.0, 0.5)  # ends at 1/8
    slower, faster = power(2.0, 0.5), power(4.0, 0.9)  # end at 1/4 and at 0.095
    assert ends([best, slower, faster], made()) == [EPOCHS, 4, EPOCHS]
    # Trusted with twice its pace, the slower one would reach it until there is no time left for that.
    assert ends([best, slower], made(optimism=2.0)) == [EPOCHS, 17]


def test_a_trial_that_is_ahead_goes_on_whatever_its_pace() -> None:
    flat: Curve = lambda epoch: 0.1  # noqa: E731
    assert ends([power(1.0, 0.5), flat], made()) == [EPOCHS, EPOCHS]


def test_a_trial_that_stands_still_ends() -> None:
    def stuck(epoch: int) -> float:
        return max(0.3, math.pow(epoch, -0.9))

    # It reached 0.3 in epoch 4; what it gained by its last doubling would still do for some time.
    found = ends([power(1.0, 0.5), stuck], made(stall=0.34, optimism=10.0))
    assert found == [EPOCHS, 7]
    assert ends([power(1.0, 0.5), stuck], made(stall=0.9, optimism=10.0))[1] > 7


def test_accuracies_are_extrapolated_by_their_errors() -> None:
    def accuracy(start: float, exponent: float) -> Curve:
        return lambda epoch: 1 - start * math.pow(epoch, -exponent)

    best, slower, faster = accuracy(0.9, 0.5), accuracy(0.99, 0.3), accuracy(0.99, 0.7)
    assert ends([best, slower, faster], made(), "maximize") == [EPOCHS, 4, EPOCHS]


def test_a_perfect_accuracy_has_no_logarithm_and_ends_nothing_ahead() -> None:
    perfect: Curve = lambda epoch: 1.0  # noqa: E731
    good: Curve = lambda epoch: 0.9  # noqa: E731
    assert ends([perfect, perfect, good], made(), "maximize") == [EPOCHS, EPOCHS, 4]


def test_values_of_any_sign_are_taken_as_they_are() -> None:
    def falling(by: float) -> Curve:
        return lambda epoch: 3 - by * math.log2(epoch)

    best, worse = falling(1.0), falling(0.9)  # end at -3 and -2.4
    assert ends([best, worse, falling(1.1)], made()) == [EPOCHS, 4, EPOCHS]


@pytest.mark.filterwarnings("ignore:The value nan is not acceptable")
def test_values_that_are_no_numbers_end_a_trial_unless_there_are_others() -> None:
    broken: Curve = lambda epoch: math.nan  # noqa: E731

    def late(epoch: int) -> float:
        return math.nan if epoch < 6 else math.pow(epoch, -0.9)

    assert ends([power(1.0, 0.5), broken], made()) == [EPOCHS, 4]
    assert ends([power(1.0, 0.5), late], made(n_warmup_steps=6))[1] == EPOCHS


@pytest.mark.parametrize(("startup", "ended"), [(1, 4), (2, EPOCHS)])
def test_some_trials_complete_first(startup: int, ended: int) -> None:
    found = ends([power(1.0, 0.5), power(2.0, 0.5)], made(n_startup_trials=startup))
    assert found == [EPOCHS, ended]


def test_a_single_epoch_is_never_pruned() -> None:
    assert isinstance(make_pruner(Chosen("power_law"), max_resource=1), NopPruner)
