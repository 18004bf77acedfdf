"""Which trials of a study count towards its budget, and which are to be begun again."""

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from study_support import defined

from dlframe.sweep.marks import ATTEMPT, INFRASTRUCTURE, REASON, RETRY_OF
from dlframe.sweep.tally import counts, done, superseded, unfinished_retries

DEFINITION = defined(retries=1)


def trial(number: int, state: TrialState, reason: str | None = None, **more: Any) -> FrozenTrial:
    marks = {REASON: reason, ATTEMPT: more.get("attempt"), RETRY_OF: more.get("retry_of")}
    made = create_trial(
        state=state,
        value=1.0 if state == TrialState.COMPLETE else None,
        user_attrs={key: value for key, value in marks.items() if value is not None},
    )
    made.number = number
    return made


@pytest.mark.parametrize(
    ("state", "reason", "counted"),
    [
        (TrialState.COMPLETE, None, True),
        (TrialState.PRUNED, "pruned", True),
        (TrialState.FAIL, "exception", True),
        (TrialState.FAIL, "config", True),
        (TrialState.FAIL, "value", True),
        (TrialState.FAIL, None, True),
        (TrialState.FAIL, "surplus", False),
        (TrialState.RUNNING, None, False),
        (TrialState.WAITING, None, False),
    ],
)
def test_what_is_over_counts(state: TrialState, reason: str | None, counted: bool) -> None:
    assert done([trial(0, state, reason)], DEFINITION) == counted
    assert unfinished_retries([trial(0, state, reason)], DEFINITION) == []


@pytest.mark.parametrize("reason", sorted(INFRASTRUCTURE - {"stopped"}))
def test_a_trial_counts_no_sooner_than_its_last_attempt(reason: str) -> None:
    first = trial(0, TrialState.FAIL, reason)
    assert done([first], DEFINITION) == 0
    assert done([first], defined(retries=0)) == 1, "no retries are allowed"
    assert unfinished_retries([first], DEFINITION) == [first]
    assert unfinished_retries([first], defined(retries=0)) == []

    waiting = trial(1, TrialState.WAITING, attempt=2, retry_of=0)
    assert done([first, waiting], DEFINITION) == 0
    assert unfinished_retries([first, waiting], DEFINITION) == []

    second = trial(1, TrialState.FAIL, reason, attempt=2, retry_of=0)
    assert done([first, second], DEFINITION) == 1
    assert counts(second, DEFINITION, superseded([first, second]))
    assert not counts(first, defined(retries=0), superseded([first, second]))
    assert unfinished_retries([first, second], DEFINITION) == []
    assert done([first, second], defined(retries=2)) == 0
    assert unfinished_retries([first, second], defined(retries=2)) == [second]


def test_what_was_stopped_goes_on_however_often_that_was() -> None:
    stopped = trial(0, TrialState.FAIL, "stopped")
    again = trial(1, TrialState.FAIL, "stopped", attempt=9, retry_of=0)
    assert done([stopped, again], defined(retries=0)) == 0
    assert unfinished_retries([stopped, again], defined(retries=0)) == [again]


def test_a_failure_that_the_user_has_begun_again_counts_no_longer() -> None:
    failed = trial(0, TrialState.FAIL, "exception")
    again = trial(1, TrialState.WAITING, attempt=2, retry_of=0)
    assert done([failed], DEFINITION) == 1
    assert done([failed, again], DEFINITION) == 0
    over = trial(1, TrialState.COMPLETE, attempt=2, retry_of=0)
    assert done([failed, over], DEFINITION) == 1


def test_a_retry_that_was_given_back_takes_nobodys_place() -> None:
    lost = trial(0, TrialState.FAIL, "lost")
    surplus = trial(1, TrialState.FAIL, "surplus", attempt=2, retry_of=0)
    assert unfinished_retries([lost, surplus], DEFINITION) == [lost]
    failed = trial(0, TrialState.FAIL, "exception")
    assert done([failed, surplus], DEFINITION) == 1
