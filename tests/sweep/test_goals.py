"""What a trial is judged by, and what ends a study."""

import math
from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState
from study_support import BEGAN, defined, trial

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Goal, Stops
from dlframe.sweep.goals import Broken, broken_by, read_constraint, values_of
from dlframe.sweep.marks import COPIED
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


@pytest.mark.parametrize("bound", ["100", "-0.1", "0", "1e-300"])
def test_the_bound_itself_is_allowed_by_some_and_not_by_others(bound: str) -> None:
    run = {"a": float(bound)}
    for sign in "<>":
        assert broken_by(f"a {sign}= {bound}", run) == 0
        assert broken_by(f"a {sign} {bound}", run) > 0
    assert broken_by(f"a < {bound}", {"a": math.nextafter(run["a"], -math.inf)}) <= 0
    assert broken_by(f"a > {bound}", {"a": math.nextafter(run["a"], math.inf)}) <= 0


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (_RUN, "'cost/paramters' was not recorded; did you mean 'cost/parameters'"),
        ({"cost/paramters": math.nan}, "the constrained metric cost/paramters is nan"),
        ({"cost/paramters": -math.inf}, "the constrained metric cost/paramters is -inf"),
    ],
)
def test_what_a_constraint_cannot_be_compared_with(metrics: dict[str, float], said: str) -> None:
    with pytest.raises(Broken, match=said):
        broken_by("cost/paramters <= 1", metrics)


@pytest.mark.parametrize(
    "text", ["", "cost/parameters", "a <= b", "a == 1", "a <= 1e", "1 <= a", "a <= 1e999"]
)
def test_a_constraint_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="a constraint reads like"):
        read_constraint(text)


def _numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    for number, each in enumerate(trials):
        each.number = number
        each.datetime_complete = BEGAN + timedelta(seconds=number)
    return list(trials)


def _complete(*values: float, missed_by: float = 0.0) -> list[FrozenTrial]:
    return [trial(values=value, constraints={"a <= 1": missed_by}) for value in values]


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


def test_trials_that_break_a_constraint_end_no_study() -> None:
    bad = _complete(0.1, missed_by=5.0)
    wanted = defined(stops=Stops(target=0.5))
    assert why_over(_numbered(*bad, *_complete(0.9)), wanted) is None
    said = why_over(_numbered(*bad, *_complete(0.9, 0.4)), wanted)
    assert said == "trial 2 reached val/loss = 0.4"

    patient = defined(stops=Stops(patience=2))
    assert why_over(_numbered(*bad, *_complete(0.9, 0.4)), patient) is None
    assert why_over(_numbered(*_complete(0.1, 0.1, 0.1, missed_by=5.0)), patient) is None
    said = why_over(_numbered(*_complete(0.9), *_complete(0.1, 0.1, missed_by=5.0)), patient)
    assert said == "2 trials in a row were no better than trial 0"


def test_what_was_taken_over_from_another_study_ends_none() -> None:
    copied = trial(values=0.1)
    copied.user_attrs[COPIED] = ["other", 3]
    both = defined(stops=Stops(target=0.5, patience=1))
    assert why_over(_numbered(copied, *_complete(0.9)), both) is None


def test_a_study_whose_trials_all_fail_is_given_up() -> None:
    definition = defined(stops=Stops(max_failures=2))
    bad = _numbered(*_complete(1.0), _failed("exception"), _failed("config"))
    assert gave_up(bad, definition) == "the last 2 trials all failed"
    assert gave_up(_numbered(_failed("exception"), *_complete(1.0)), definition) is None
    stopped = _numbered(_failed("stopped"), _failed("stopped"), _failed("exception"))
    assert gave_up(stopped, definition) is None
    # Failures of before the command say nothing: their cause may have been mended.
    assert gave_up(bad, definition, datetime(2026, 11, 21, 13).timestamp()) is None
