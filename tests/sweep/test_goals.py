"""What a trial is judged by, and what ends a study."""

from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState
from study_support import BEGAN, defined, trial

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Goal, Stops
from dlframe.sweep.goals import Broken, broken_by, read_constraint, values_of
from dlframe.sweep.stops import gave_up, why_over

_RUN = {"val/loss": 0.4, "best/val_loss": 0.3, "test/loss": 0.5, "cost/parameters": 90.0}


def test_a_validation_metric_is_that_of_the_best_epoch() -> None:
    goals = (Goal("val/loss", "minimize"), Goal("cost/parameters", "minimize"))
    assert values_of(goals, _RUN) == [0.3, 90.0]
    assert values_of((Goal("test/loss", "minimize"),), _RUN) == [0.5]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (_RUN, "'val/accuracy' was not recorded; .*there are best/val_loss"),
        ({"val/accuracy": float("nan")}, "val/accuracy is nan"),
        ({"val/accuracy": float("inf")}, "val/accuracy is inf"),
    ],
)
def test_a_value_that_is_none(metrics: dict[str, float], said: str) -> None:
    with pytest.raises(Broken, match=said):
        values_of((Goal("val/accuracy", "maximize"),), metrics)


def test_constraints() -> None:
    assert broken_by("cost/parameters <= 100", _RUN) == pytest.approx(-10)
    assert broken_by("cost/parameters>=100", _RUN) == pytest.approx(10)
    assert broken_by("val/loss < 2e-1", _RUN) == pytest.approx(0.1)
    with pytest.raises(Broken, match="was not recorded"):
        broken_by("cost/x <= 1", _RUN)


@pytest.mark.parametrize("text", ["", "cost/parameters", "a <= b", "a == 1", "a <= 1e", "1 <= a"])
def test_a_constraint_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="a constraint reads like"):
        read_constraint(text)


def _numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    for number, each in enumerate(trials):
        each.number = number
        each.datetime_complete = BEGAN + timedelta(seconds=number)
    return list(trials)


def _complete(*values: float) -> list[FrozenTrial]:
    return [trial(values=value) for value in values]


def _failed(reason: str) -> FrozenTrial:
    return trial(TrialState.FAIL, reason=reason)


def test_a_number_of_trials_ends_a_study() -> None:
    definition = defined(stops=Stops(n_trials=2))
    assert why_over(_numbered(*_complete(1.0)), definition) is None
    assert why_over(_numbered(*_complete(1.0, 2.0)), definition) == "all 2 trials are done"
    # What is begun again counts once, and what was asked for in vain not at all.
    again = _numbered(*_complete(1.0), _failed("killed"), _failed("surplus"))
    assert why_over(again, definition) is None


def test_a_target_ends_a_study() -> None:
    stops = Stops(target=0.5)
    assert why_over(_numbered(*_complete(0.9, 0.6)), defined(stops=stops)) is None
    said = why_over(_numbered(*_complete(0.9, 0.4)), defined(stops=stops))
    assert said == "trial 1 reached val/loss = 0.4"
    largest = defined(stops=stops, goals=(Goal("val/accuracy", "maximize"),))
    assert why_over(_numbered(*_complete(0.4)), largest) is None
    assert why_over(_numbered(*_complete(0.6)), largest) is not None


def test_stagnation_ends_a_study() -> None:
    definition = defined(stops=Stops(patience=3))
    assert why_over(_numbered(*_complete(0.5, 0.6, 0.7)), definition) is None
    assert why_over(_numbered(*_complete(0.5, 0.6, 0.7, 0.4)), definition) is None
    said = why_over(_numbered(*_complete(0.5, 0.6, 0.5, 0.9)), definition)
    assert said == "3 trials in a row were no better than trial 0"


def test_a_study_whose_trials_all_fail_is_given_up() -> None:
    definition = defined(stops=Stops(max_failures=2))
    bad = _numbered(*_complete(1.0), _failed("exception"), _failed("config"))
    assert gave_up(bad, definition) == "the last 2 trials all failed"
    assert gave_up(_numbered(_failed("exception"), *_complete(1.0)), definition) is None
    stopped = _numbered(_failed("stopped"), _failed("stopped"), _failed("exception"))
    assert gave_up(stopped, definition) is None
    # Failures of before the command say nothing: their cause may have been mended.
    assert gave_up(bad, definition, datetime(2026, 11, 21, 13).timestamp()) is None
