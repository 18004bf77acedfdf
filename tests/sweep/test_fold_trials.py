"""Trials that are the mean over the folds of the data, and over seeds where there are several."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from run_support import QUICK
from study_support import parameter
from worker_entries import objective

import dlframe
from dlframe.analysis.runs import read_local
from dlframe.sweep.definition import Chosen, Definition, Goal, Stops
from dlframe.sweep.marks import DEFINITION, FOLDER, SAID, UID, UIDS, reason
from dlframe.sweep.repetitions import differing, repetitions, words
from dlframe.sweep.storage import journal_of, open_storage, studies_folder
from dlframe.sweep.worker import Worker

_RATE = parameter("optimizer.lr", FloatDistribution(1e-4, 1e-1, log=True))


def _defined(root: Path, **more: Any) -> Definition:
    options: dict[str, Any] = {
        "name": "s", "fixed": ("architecture.hidden=[32]", "data.folds=3", f"tracking.root='{root}'"),
        "space": (_RATE,), "pruner": None, "goals": (Goal("val/loss", "minimize"),), "folds": 3,
        "sampler": Chosen("dlframe/random"), "seed": 3, "root": str(root), "execution": "inline",
        "stops": Stops(n_trials=1),
    } | more  # fmt: skip
    return Definition(**options)


def _done(definition: Definition, entry: str = "worker_entries:evaluate") -> optuna.Study:
    study = optuna.create_study(
        study_name=definition.name,
        storage=open_storage(journal_of(definition.name, Path(definition.root))),
        directions=[goal.direction for goal in definition.goals],
    )
    study.set_user_attr(DEFINITION, definition.to_json())
    study.set_user_attr(FOLDER, str(studies_folder(Path(definition.root)) / definition.name))
    Worker(study, entry=entry).work()
    return study


def test_repetitions_have_names_of_their_own_and_folds_come_first(tmp_path: Path) -> None:
    names = [[each.name for each in repetitions(_defined(tmp_path, seeds=s, folds=f))]
             for s, f in ((1, 1), (2, 1), (1, 2), (2, 2))]  # fmt: skip
    assert names == [[""], ["0", "1"], ["fold0", "fold1"],
                     ["0-fold0", "0-fold1", "1-fold0", "1-fold1"]]  # fmt: skip
    both = _defined(tmp_path, seeds=2)
    assert (both.repeats, words(both), differing(both)) == (
        6,
        "2 seeds x 3 folds",
        {"seed", "data.fold"},
    )
    assert words(_defined(tmp_path, folds=1)) == ""
    found = [each.config({"seed": 7, "data": {"fold": None}}) for each in repetitions(both)]
    assert found[4] == {"seed": 8, "data": {"fold": 1}}
    assert Definition.from_json(both.to_json()) == both


def test_a_trial_is_the_mean_over_seeds_and_folds(tmp_path: Path) -> None:
    [trial] = _done(_defined(tmp_path, seeds=2)).trials
    base = objective(trial.params["optimizer.lr"], 32)
    assert trial.value == pytest.approx(base + 0.5 + 0.1)  # seeds 0 and 1, folds 0, 0.1 and 0.2
    assert list(trial.intermediate_values) == [1, 2, 3, 4, 5, 6]
    assert trial.intermediate_values[3] == pytest.approx(base + 0.1), "all folds of the first seed"
    assert len(trial.user_attrs[UIDS]) == 6
    assert trial.user_attrs[UID] == trial.user_attrs[UIDS][0]


def test_bad_trials_are_dropped_before_their_last_fold(tmp_path: Path) -> None:
    widths = CategoricalDistribution(("[8]", "[32]", "[64]"))
    study = _done(
        _defined(
            tmp_path, fixed=("data.folds=3",), stops=Stops(n_trials=14),
            space=(_RATE, parameter("architecture.hidden", widths)), pruner=Chosen("dlframe/median"),
        )
    )  # fmt: skip
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        if trial.state == TrialState.PRUNED:
            steps = max(trial.intermediate_values)
            assert steps < 3
            assert trial.user_attrs[SAID] == f"its mean over {steps} of 3 folds promised nothing"


def test_a_trial_with_another_number_of_folds_is_refused(tmp_path: Path) -> None:
    [trial] = _done(_defined(tmp_path, folds=5)).trials
    assert reason(trial) == "config"
    assert trial.user_attrs[SAID] == (
        "all trials have the same data.folds; this one has 3: set it on the command line"
    )


def test_real_trainings_on_each_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial's value is the mean of what lone runs with its values reach on each fold."""
    monkeypatch.chdir(tmp_path)
    quick = (*QUICK, "data=iris", "data.batch_size=16", "trainer.max_epochs=2", "data.folds=2",
             "tracking.log_model=false", "tracking.figures=false",
             "trainer.checkpoint=false")  # fmt: skip
    study = _done(
        _defined(tmp_path / "runs", fixed=quick, folds=2), entry="dlframe.sweep.trial:train"
    )
    [trial] = study.trials
    assert trial.state == TrialState.COMPLETE
    rate = f"optimizer.lr={trial.params['optimizer.lr']!r}"
    alone = [
        dlframe.train(*quick, rate, f"data.fold={fold}").metrics["best/val_loss"] for fold in (0, 1)
    ]
    assert trial.value == pytest.approx(sum(alone) / 2, rel=1e-6)
    runs = [read_local(tmp_path / "runs" / uid) for uid in trial.user_attrs[UIDS]]
    assert [run.params["data.fold"] for run in runs] == ["0", "1"]
    assert [run.metrics["best/val_loss"] for run in runs] == pytest.approx(alone, rel=1e-6)
