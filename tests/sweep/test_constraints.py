"""Constraints of a study at work: what no bound can be compared with costs a trial, not its worker."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from study_support import LOSS, SPACE, made

from dlframe.sweep.definition import Chosen, Stops
from dlframe.sweep.marks import SAID, reason
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.snapshot import snapshot
from dlframe.sweep.stops import why_over
from dlframe.sweep.worker import Worker
from dlframe.training.channel import Report

_SIZES = (100.0, 90.0, math.nan, 110.0, -math.inf)


def of_size(order: Order, report: Report) -> Outcome:
    """Measure another size with each trial; the first trial has the smallest loss."""
    number = int(order.tags["dlframe.trial"])
    metrics = {"best/val_loss": float(number), "cost/size": _SIZES[number]}
    return Outcome(uid=order.uid, state="finished", metrics=metrics)


def _worked(root: Path, constraint: str, **stops: Any) -> optuna.Study:
    study = made(
        root, fixed=(f"tracking.root='{root}'",), space=SPACE[2:3], goals=(LOSS,), pruner=None,
        constraints=(constraint,), execution="inline", sampler=Chosen("dlframe/random"),
        stops=Stops(**{"n_trials": len(_SIZES), **stops}),
    )  # fmt: skip
    Worker(study, entry=f"{__name__}:of_size").work()
    return study


@pytest.mark.parametrize(("constraint", "best"), [("cost/size <= 100", 0), ("cost/size < 100", 1)])
def test_what_cannot_be_compared_fails_and_the_rest_goes_on(
    tmp_path: Path, constraint: str, best: int
) -> None:
    study = _worked(tmp_path, constraint)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) == 3
    for number in (2, 4):
        failed = study.trials[number]
        assert (failed.state, reason(failed)) == (TrialState.FAIL, "value")
        assert failed.user_attrs[SAID].startswith("the constrained metric cost/size is ")
    assert [trial.number for trial in snapshot(study).best] == [best]


def test_the_study_ends_with_a_trial_that_keeps_to_them(tmp_path: Path) -> None:
    study = _worked(tmp_path / "a", "cost/size < 1000", target=1.0)
    assert [trial.number for trial in study.trials] == [0]
    study = _worked(tmp_path / "b", "cost/size < 100", target=1.0)
    assert [trial.number for trial in study.trials] == [0, 1]
    found = snapshot(study)
    assert why_over(found.trials, found.definition) == "trial 1 reached val/loss = 1"
