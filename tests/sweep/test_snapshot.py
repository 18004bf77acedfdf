"""How a study stands: the best trial, how many stand how, how fast it gets on."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from study_support import BEGAN, LOSS, made, searched, trial

from dlframe.errors import ConfigError
from dlframe.sweep.definition import Goal, Limits, Stops
from dlframe.sweep.pace import busy_seconds, commands, pace, told, utilisation
from dlframe.sweep.snapshot import Snapshot, snapshot

FAIL, PRUNED, RUNNING = TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING


def standing(root: Path, *trials: FrozenTrial, **more: Any) -> Snapshot:
    return snapshot(made(root, trials, **more))


# --- the best -------------------------------------------------------------------------------------


def test_the_best_is_what_optuna_says(tmp_path: Path) -> None:
    study = searched(tmp_path)
    found = snapshot(study)
    assert [trial.number for trial in found.best] == [study.best_trial.number]


@pytest.mark.parametrize("state", [FAIL, PRUNED, RUNNING, TrialState.WAITING])
def test_where_none_completed_none_is_the_best(tmp_path: Path, state: TrialState) -> None:
    found = standing(tmp_path, trial(state, reason="exception"))
    assert found.best == []


def test_a_trial_that_breaks_a_constraint_is_not_the_best(tmp_path: Path) -> None:
    trials = [
        trial(values=0.1, constraints={"cost/parameters <= 10": 5.0}),
        trial(values=0.3, constraints={"cost/parameters <= 10": -5.0}),
        trial(values=0.2, constraints={"cost/parameters <= 10": 0.0}),
    ]
    found = standing(tmp_path / "some", *trials)
    assert [each.number for each in found.best] == [2]
    assert standing(tmp_path / "none", trials[0]).best == []


def test_the_larger_is_the_better_where_the_goal_says_so(tmp_path: Path) -> None:
    goal = Goal("val/accuracy", "maximize")
    found = standing(tmp_path, *map(trial_of, (0.5, 0.9, 0.7)), goals=(goal,))
    assert [each.number for each in found.best] == [1]


def trial_of(*values: float) -> FrozenTrial:
    return trial(values=values)


def test_of_several_goals_the_front_is_what_optuna_says(tmp_path: Path) -> None:
    goals = (Goal("test/accuracy", "maximize"), Goal("cost/parameters", "minimize"))
    study = searched(tmp_path, 30, goals=goals)
    front = {trial.number for trial in study.best_trials}
    assert len(front) > 1
    found = [trial.number for trial in snapshot(study).best]
    assert set(found) == front
    best_first = [study.trials[number].values[0] for number in found]
    assert best_first == sorted(best_first, reverse=True)


@pytest.mark.parametrize("many", [2, 3, 4])
def test_values_that_are_often_equal_change_nothing(tmp_path: Path, many: int) -> None:
    numbers = np.random.default_rng(many)
    goals = tuple(
        Goal(f"test/{i}", "maximize" if numbers.integers(2) else "minimize") for i in range(many)
    )
    values = numbers.integers(0, 6, (80, many)).astype(float)
    study = made(tmp_path, [trial_of(*map(float, each)) for each in values], goals=goals)
    found = [trial.number for trial in snapshot(study).best]
    assert sorted(found) == [trial.number for trial in study.best_trials]
    signs = [1 if goal.direction == "minimize" else -1 for goal in goals]
    losses = [tuple(signs * values[number]) for number in found]
    assert losses == sorted(losses), "the best by the first goal comes first"


def test_equal_trials_are_all_on_the_front(tmp_path: Path) -> None:
    goals = (LOSS, Goal("cost/parameters", "minimize"))
    found = standing(tmp_path, *(trial_of(1.0, v) for v in (2.0, 2.0, 3.0)), goals=goals)
    assert [each.number for each in found.best] == [0, 1]


# --- numbers --------------------------------------------------------------------------------------


def test_how_many_stand_how(tmp_path: Path) -> None:
    found = standing(
        tmp_path,
        trial(values=0.5),
        trial(PRUNED, reason="pruned"),
        trial(FAIL, reason="exception"),
        trial(FAIL, reason="memory"),
        trial(RUNNING, retry_of=3, attempt=2),
        trial(FAIL, reason="lost"),
        trial(FAIL, reason="killed", attempt=2),
        trial(FAIL),
        trial(TrialState.WAITING),
        trial(FAIL, reason="surplus", worker=None),
        stops=Stops(n_trials=20),
    )
    numbers = found.numbers
    assert numbers.plain() == {
        "done": 5, "total": 20, "complete": 1, "pruned": 1, "failed": 3, "retried": 2, "running": 1,
        "waiting": 1, "reasons": {"exception": 1, "killed": 1, "unknown": 1},
    }  # fmt: skip
    assert numbers.left == 15
    assert numbers.line() == (
        "5 of 20 trials done: 1 complete, 1 pruned, 3 failed (1 exception, 1 killed, 1 unknown), "
        "2 begun again, 1 running, 1 waiting"
    )
    assert [each.number for each in found.trials] == list(range(9)), "nobody needed the last one"
    assert sum(len(found.of(how)) for how in set(found.standings.values())) == 9


def test_without_a_limit_nothing_is_left(tmp_path: Path) -> None:
    numbers = standing(tmp_path, trial(values=0.5), stops=Stops(n_trials=None)).numbers
    assert (numbers.left, numbers.line()) == (None, "1 trial done: 1 complete")


def test_a_study_of_somebody_else_is_refused(tmp_path: Path) -> None:
    study = made(tmp_path)
    other = optuna.create_study(study_name="other", storage=study._storage)
    with pytest.raises(ConfigError, match="the study 'other' was not made by dlframe"):
        snapshot(other)
    other.set_user_attr("dlframe:definition", '{"format": 99}')
    with pytest.raises(ConfigError, match="written by another version of dlframe"):
        snapshot(other)


# --- how fast it gets on --------------------------------------------------------------------------


def test_workers_that_wait_at_the_end_count(tmp_path: Path) -> None:
    found = standing(
        tmp_path,
        trial(values=1.0, begins=0, takes=30, worker="a"),
        trial(FAIL, begins=0, takes=10, worker="b", reason="exception"),
        trial(PRUNED, begins=10, takes=10, worker="b", reason="pruned"),
        trial(values=1.0, begins=0, takes=0, worker=None),  # taken over from another study
    )
    [command] = commands(found)
    assert [(name, [t.number for t in lane]) for name, lane in command.lanes] == [
        ("a", [0]), ("b", [1, 2]),
    ]  # fmt: skip
    assert busy_seconds(found) == 50
    assert utilisation(found) == pytest.approx(50 / 60)


def test_one_worker_may_run_several_at_a_time(tmp_path: Path) -> None:
    found = standing(
        tmp_path,
        trial(values=1.0, begins=0, takes=10),
        trial(values=1.0, begins=2, takes=10),
        trial(values=1.0, begins=10, takes=10),
        trial(values=1.0, begins=12, takes=6),
    )
    [command] = commands(found)
    assert [[t.number for t in lane] for _, lane in command.lanes] == [[0, 2], [1, 3]]
    assert utilisation(found) == pytest.approx(36 / 40)


def test_the_night_between_two_commands_is_nobodys_time(tmp_path: Path) -> None:
    found = standing(
        tmp_path,
        trial(values=1.0, begins=0, takes=20, worker="a"),
        trial(values=1.0, begins=50_000, takes=10, worker="b"),
        trial(values=1.0, begins=50_000, takes=20, worker="c"),
    )
    assert [len(command.lanes) for command in commands(found)] == [1, 2]
    assert utilisation(found) == pytest.approx(50 / 60)


def test_the_rest_takes_as_long_as_the_latest_trials_did(tmp_path: Path) -> None:
    ended = [trial(values=1.0, begins=10 * i, takes=10, worker="a") for i in range(4)]
    running = [trial(RUNNING, begins=40, worker=each) for each in ("a", "b")]
    found = standing(tmp_path, *ended, *running, stops=Stops(n_trials=10))
    found = replace(found, taken=BEGAN + timedelta(seconds=44))
    speed = pace(found)
    assert (speed.running, speed.each, speed.per_hour) == (2, 10, 720)
    assert speed.left == (6 * 10 - 2 * 4) / 2
    slow = replace(found, taken=BEGAN + timedelta(seconds=4000))
    assert pace(slow).left == (6 * 10 - 2 * 10) / 2, "a slow one is not said to take negative time"


def test_where_nobody_is_at_work_no_time_is_said(tmp_path: Path) -> None:
    over = standing(tmp_path / "over", trial(values=1.0))
    assert (pace(over).per_hour, pace(over).left) == (None, None)
    began = standing(tmp_path / "began", trial(RUNNING))
    assert (pace(began).each, pace(began).left) == (None, None)


def test_attempts_that_were_killed_say_nothing_of_how_long_one_takes(tmp_path: Path) -> None:
    found = standing(
        tmp_path,
        trial(values=1.0, takes=10),
        trial(FAIL, reason="killed", takes=500),
        trial(RUNNING, begins=600),
        limits=Limits(retries=1),
    )
    assert pace(found).each == 10


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.41, "0.41 s"), (45.2, "45 s"), (700, "12 min"), (12_000, "3 h 20 min"),
     (200_000, "2 d 7 h")],
)  # fmt: skip
def test_times_as_one_says_them(seconds: float, words: str) -> None:
    assert told(seconds) == words
