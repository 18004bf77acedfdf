"""What becomes of trials that go wrong, with each launcher: real trainings, real signals."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest
import trouble_support
from cli_support import recorded, status_of
from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.marks import RETRY_OF, SAID, UID, reason
from dlframe.sweep.storage import find_study

_WAYS = {
    "none": None, "raise": "exception", "exit": "killed", "vanish": "killed", "kill": "killed",
    "memory": "memory", "hang": "timeout", "stop": "killed", "diverge": "exception",
}  # fmt: skip
"""What goes wrong, and the reason that is told of it."""
_SAID = {"raise": "trouble was asked for", "diverge": "the training loss became nan"}
_BASE = (
    "sweep=grid", "hydra.sweeper.study_name=s", "trainer.max_epochs=3", "data=iris",
    "trainer.checkpoint_every=0", "tracking.log_model=false",
    "tracking.figures=false", "hydra.sweeper.n_workers=2",
    "tracking.sample_every=null", "architecture.hidden=[4]",
)  # fmt: skip


def _sweep(
    place: Path, *words: str, **changes: str
) -> "tuple[subprocess.CompletedProcess[str], optuna.Study]":
    done = subprocess.run(
        [*trouble_support.COMMAND, *_BASE, *words], cwd=place, text=True, capture_output=True,

        check=False, timeout=280,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **changes},
    )  # fmt: skip
    return done, find_study("s", place / "runs", None)


def _of(trials: list[FrozenTrial], how: str) -> list[FrozenTrial]:
    return [t for t in trials if t.params["regularizer.trouble.how"] == how]


@pytest.mark.parametrize(
    ("launcher", "ways"),
    [
        ("basic", tuple(_WAYS)),
        pytest.param("joblib", tuple(_WAYS), marks=pytest.mark.slow),
        pytest.param("submitit_local", tuple(_WAYS), marks=pytest.mark.slow),
    ],
)
def test_each_failure_ends_as_it_should(
    launcher: str, ways: tuple[str, ...], tmp_path: Path
) -> None:
    found = trouble_support.install(tmp_path / "site")
    done, study = _sweep(
        tmp_path, f"hydra/launcher={launcher}", f"regularizer.trouble.how={','.join(ways)}",
        f"hydra.sweeper.n_trials={len(ways)}", "hydra.sweeper.trial_timeout=10",
        "hydra.sweeper.trial_memory=2000", "--json", **found,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = study.get_trials()
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    for how in ways:
        why = _WAYS[how]
        first, *rest = _of(trials, how)
        if why is None:
            assert (first.state, rest) == (TrialState.COMPLETE, []), how
            continue
        assert (first.state, reason(first)) == (TrialState.FAIL, why), how
        if why == "exception":
            assert rest == [], how
            assert _SAID[how] in first.user_attrs[SAID]
            continue
        [again] = rest
        assert again.state == TrialState.COMPLETE, how
        assert again.user_attrs[RETRY_OF] == first.number
        assert again.user_attrs[UID] == first.user_attrs[UID]
    _check_recorded(tmp_path / "runs", trials)
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert summary["study"] == "s"


def _check_recorded(root: Path, trials: list[FrozenTrial]) -> None:
    """Each trial has a run of its own in MLflow, below the study's, with its true status."""
    last = {t.user_attrs[UID]: t for t in trials}
    for uid, trial in last.items():
        status = "FINISHED" if trial.state == TrialState.COMPLETE else "FAILED"
        assert status_of(root, uid) == status
    [(parent,)] = recorded(
        root,
        "SELECT run_uuid FROM tags WHERE key = 'dlframe.multirun' OR key = 'mlflow.runName' "
        "AND value = 's' GROUP BY run_uuid",
    )
    children = recorded(
        root, f"SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = '{parent}'"
    )
    assert len(children) == len(last)
