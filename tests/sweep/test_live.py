"""A study while it is at work: what is said of each trial that ends."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from study_support import made, trial

from dlframe.cli.main import main
from dlframe.sweep.definition import Goal, Stops
from dlframe.sweep.live import Watch
from dlframe.sweep.snapshot import snapshot

Capture = pytest.CaptureFixture[str]


def test_a_trial_is_one_form_of_json_everywhere(tmp_path: Path, capsys: Capture) -> None:
    study = made(tmp_path, [trial(values=0.9)])
    lr = {"optimizer": "sgd", "optimizer.lr": 0.01}
    with Watch(study, as_json=True):
        study.add_trial(trial(values=0.5, params=lr, curve=(0.7, 0.5), uid="run-1"))
        study.add_trial(trial(TrialState.FAIL, reason="memory", said="it was killed"))
        study.add_trial(trial(values=0.1, params=lr, constraints={"a <= 1": 2.0}))
        study.add_trial(trial(TrialState.FAIL, reason="surplus"))
        study.add_trial(trial(TrialState.RUNNING))
    said = capsys.readouterr()
    watched = [json.loads(line) for line in said.out.splitlines()]
    assert [each["trial"] for each in watched] == [1, 2, 3], "the first had ended before"
    assert watched[0]["values"] == {"val/loss": 0.5}
    assert main(["study", "trials", "study", "--root", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1:4] == watched
    assert main(["study", "status", "study", "--root", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == [watched[0]]
    assert main(["study", "best", "study", "--root", str(tmp_path), "--json"]) == 0
    [best] = json.loads(capsys.readouterr().out)["trials"]
    assert watched[0].items() <= best.items()


def test_each_trial_that_ends_is_a_line(tmp_path: Path, capsys: Capture) -> None:
    study = made(tmp_path, stops=Stops(n_trials=4))
    with Watch(study):
        study.add_trial(trial(values=0.5))
        study.add_trial(trial(TrialState.FAIL, reason="exception", said="the loss became NaN"))
        study.add_trial(trial(TrialState.PRUNED, reason="pruned"))
    said = capsys.readouterr()
    assert said.out == ""
    words = [line.split() for line in said.err.splitlines()]
    assert [each[:3] for each in words] == [
        ["trial", "0", "complete"], ["trial", "1", "failed"], ["trial", "2", "pruned"],
    ]  # fmt: skip
    assert "val/loss 0.5" in said.err
    assert "the loss became NaN" in said.err
    assert said.err.rstrip().endswith("[3/4, best 0.5 in trial 0]")


def test_of_several_goals_none_is_called_the_best(tmp_path: Path, capsys: Capture) -> None:
    goals = (Goal("val/loss", "minimize"), Goal("cost/parameters", "minimize"))
    study = made(tmp_path, goals=goals)
    with Watch(study):
        study.add_trial(trial(values=(0.5, 20.0)))
    assert "val/loss 0.5, cost/parameters 20  [1/50]" in capsys.readouterr().err
    assert [each.number for each in snapshot(study).best] == [0]
