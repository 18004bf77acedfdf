"""What becomes of trials that go wrong, with each launcher: real trainings, real signals."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest
import trouble_support
from optuna.trial import FrozenTrial, TrialState

from dlframe.sweep.marks import RETRY_OF, reason
from dlframe.sweep.storage import find_study

_WAYS = ("none", "raise", "exit", "vanish", "kill", "memory", "hang", "stop", "nan")
_BASE = (
    "sweep=grid", "hydra.sweeper.study_name=s", "trainer.max_epochs=3", "data=iris",
    "trainer.checkpoint_every=0", "tracking.log_model=false", "hydra.sweeper.n_workers=2",
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


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_each_failure_ends_as_it_should(launcher: str, tmp_path: Path) -> None:
    found = trouble_support.install(tmp_path / "site")
    done, study = _sweep(
        tmp_path, f"hydra/launcher={launcher}", f"regularizer.trouble.how={','.join(_WAYS)}",
        "hydra.sweeper.n_trials=9", "hydra.sweeper.trial_timeout=20",
        "hydra.sweeper.trial_memory=2000", "--json", **found,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = study.get_trials()
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    for how, why in (
        ("exit", "killed"), ("vanish", "killed"), ("kill", "killed"), ("memory", "memory"),
        ("hang", "timeout"), ("stop", "killed"),
    ):  # fmt: skip
        first, again = _of(trials, how)
        assert (first.state, reason(first)) == (TrialState.FAIL, why), how
        assert again.state == TrialState.COMPLETE, how
        assert again.user_attrs[RETRY_OF] == first.number
    [raised] = _of(trials, "raise")
    assert (raised.state, reason(raised)) == (TrialState.FAIL, "exception")
    assert "trouble was asked for" in raised.user_attrs["dlframe:said"]
    [nan] = _of(trials, "nan")
    assert nan.state == TrialState.FAIL
    [fine] = _of(trials, "none")
    assert fine.state == TrialState.COMPLETE
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert summary["study"] == "s"
