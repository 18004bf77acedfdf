"""Workers: what they propose, what they tell, when they end."""

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from study_support import parameter
from worker_entries import objective

from dlframe.errors import Stopped
from dlframe.sweep.definition import Chosen, Definition, Goal, Stops
from dlframe.sweep.marks import ATTEMPT, DEFINITION, FOLDER, RETRY_OF, SAID, UID, UIDS, reason
from dlframe.sweep.storage import find_study, journal_of, open_storage, studies_folder
from dlframe.sweep.worker import Worker

_RATE = FloatDistribution(1e-4, 1e-1, log=True)
_WIDTHS = CategoricalDistribution(("[8]", "[32]", "[64]"))
_SPACE = (
    parameter("optimizer", CategoricalDistribution(("adam", "sgd"))),
    parameter("optimizer.lr", _RATE),
    parameter("architecture.hidden", _WIDTHS),
    parameter("optimizer.momentum", FloatDistribution(0.0, 0.9), (("optimizer", "sgd"),)),
)


def _begun(root: Path, trials: int, **more: Any) -> optuna.Study:
    options: dict[str, Any] = {
        "name": "s", "fixed": (f"tracking.root='{root}'",), "space": _SPACE, "pruner": None,
        "goals": (Goal("val/loss", "minimize"),), "sampler": Chosen("dlframe/tpe"), "seed": 3,
        "root": str(root), "execution": "inline", "stops": Stops(n_trials=trials), "epochs": 9,
    } | more  # fmt: skip
    definition = Definition(**options)
    url = journal_of(definition.name, root)
    study = optuna.create_study(
        study_name=definition.name,
        storage=open_storage(url),
        directions=[goal.direction for goal in definition.goals],
    )
    study.set_user_attr(DEFINITION, definition.to_json())
    study.set_user_attr(FOLDER, str(studies_folder(root) / definition.name))
    return study


def _work(study: optuna.Study, entry: str = "evaluate", **options: Any) -> None:
    Worker(study, entry=f"worker_entries:{entry}", **options).work()


def _told(study: optuna.Study, **stops: Any) -> None:
    """Change when a study ends, as another command does."""
    found = Definition.from_json(study.user_attrs[DEFINITION])
    changed = Definition(
        **{name: getattr(found, name) for name in found.__slots__} | {"stops": Stops(**stops)}
    )
    study.set_user_attr(DEFINITION, changed.to_json())


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("tpe", lambda: optuna.samplers.TPESampler(seed=3)),
        ("random", lambda: optuna.samplers.RandomSampler(seed=3)),
        ("nsga2", lambda: optuna.samplers.NSGAIISampler(seed=3)),
    ],
)
def test_one_worker_does_what_optuna_does_by_itself(
    name: str, sampler: Any, tmp_path: Path
) -> None:
    study = _begun(tmp_path, 30, sampler=Chosen(f"dlframe/{name}"))
    _work(study)

    def by_hand(trial: optuna.Trial) -> float:
        optimizer = trial.suggest_categorical("optimizer", ("adam", "sgd"))
        rate = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        width = trial.suggest_categorical("architecture.hidden", ("[8]", "[32]", "[64]"))
        if optimizer == "sgd":
            trial.suggest_float("optimizer.momentum", 0.0, 0.9)
        return objective(rate, int(width[1:-1]))

    plain = optuna.create_study(sampler=sampler())
    plain.optimize(by_hand, n_trials=30)
    assert [t.params for t in study.trials] == [t.params for t in plain.trials]
    assert [t.value for t in study.trials] == [t.value for t in plain.trials]


def test_a_total_is_continued_to_and_proposals_are_new(tmp_path: Path) -> None:
    study = _begun(tmp_path, 4, sampler=Chosen("dlframe/random"))
    _work(study)
    _work(study)  # nothing is left
    assert len(study.trials) == 4
    _told(study, n_trials=9)
    _work(find_study("s", tmp_path, None))
    assert len(study.trials) == 9
    assert len({t.params["optimizer.lr"] for t in study.trials}) == 9


def test_several_slots_do_not_do_more(tmp_path: Path) -> None:
    study = _begun(tmp_path, 11)
    _work(study, "doze", slots=4)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 11


def test_a_pruned_trial(tmp_path: Path) -> None:
    study = _begun(tmp_path, 12, pruner=Chosen("dlframe/median"), sampler=Chosen("dlframe/random"))
    _work(study, "descend")
    states = [t.state for t in study.trials]
    assert states.count(TrialState.PRUNED) >= 2
    assert states.count(TrialState.COMPLETE) >= 5
    assert set(states) == {TrialState.PRUNED, TrialState.COMPLETE}
    [first, *_] = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert reason(first) == "pruned"
    assert first.user_attrs[SAID] == f"it was pruned after epoch {first.last_step}"
    assert first.value == first.intermediate_values[first.last_step or 0]


def test_a_goal_that_is_no_metric_of_the_run(tmp_path: Path) -> None:
    study = _begun(tmp_path, 2)
    _work(study, "nothing")
    assert [reason(t) for t in study.trials] == ["value", "value"]
    assert "there are val/accuracy" in study.trials[0].user_attrs[SAID]


def test_values_that_do_not_go_together(tmp_path: Path) -> None:
    space = (parameter("data.batch_size", IntDistribution(0, 1)), *_SPACE[1:3])
    study = _begun(tmp_path, 6, space=space, sampler=Chosen("dlframe/random"))
    _work(study)
    wrong = [t for t in study.trials if t.params["data.batch_size"] == 0]
    assert wrong
    assert {reason(t) for t in wrong} == {"config"}
    assert "data.batch_size must be" in wrong[0].user_attrs[SAID]
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == 6 - len(wrong)


def test_a_study_is_given_up_when_all_fails(tmp_path: Path) -> None:
    study = _begun(tmp_path, 50, stops=Stops(n_trials=50, max_failures=3))
    _work(study, "fail")
    assert [reason(t) for t in study.trials] == ["exception"] * 3
    assert study.trials[0].user_attrs[SAID] == "the loss became NaN"


def test_several_goals_and_constraints(tmp_path: Path) -> None:
    goals = (Goal("val/loss", "minimize"), Goal("cost/parameters", "minimize"))
    study = _begun(tmp_path, 12, goals=goals, constraints=("cost/parameters <= 400",))
    _work(study)
    for trial in study.trials:
        assert trial.values is not None
        assert trial.values[1] == 10 * int(trial.params["architecture.hidden"][1:-1])
        [broken] = trial.constraints.values()
        assert broken == trial.values[1] - 400
    assert all((t.values or [math.inf])[1] <= 400 for t in study.best_trials)


def test_several_seeds_have_their_mean_and_bad_ones_are_dropped(tmp_path: Path) -> None:
    study = _begun(
        tmp_path, 16, seeds=3, pruner=Chosen("dlframe/median"), sampler=Chosen("dlframe/random")
    )
    _work(study)
    for trial in study.trials:
        width = int(trial.params["architecture.hidden"][1:-1])
        mean = objective(trial.params["optimizer.lr"], width)
        steps = trial.intermediate_values
        if trial.state == TrialState.COMPLETE:
            assert trial.value == pytest.approx(mean + 1)  # seeds 0, 1 and 2
            assert list(steps) == [1, 2, 3]
        else:
            assert len(steps) < 3
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_the_time_of_a_command(tmp_path: Path) -> None:
    study = _begun(tmp_path, 500, stops=Stops(n_trials=500, timeout=1.0))
    _work(study, "doze")
    assert 1 <= len(study.trials) < 100
    assert not any(t.state == TrialState.RUNNING for t in study.trials)


def test_a_command_that_starts_its_workers_again_has_one_time(tmp_path: Path) -> None:
    study = _begun(tmp_path, 500, stops=Stops(n_trials=500, timeout=3600.0))
    _work(study, "doze", until=time.time() + 1.0)
    assert 1 <= len(study.trials) < 100


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_no_trial_running(tmp_path: Path, number: int) -> None:
    study = _begun(tmp_path, 500)

    def stop() -> None:
        end = time.monotonic() + 60
        while len(study.get_trials(deepcopy=False)) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop).start()
    with pytest.raises(Stopped) as raised:
        _work(study, "doze", slots=2)
    assert raised.value.number == number
    assert len(study.trials) < 100
    assert not any(t.state == TrialState.RUNNING for t in study.trials)


def test_a_trial_that_somebody_else_has_closed_costs_only_itself(tmp_path: Path) -> None:
    study = _begun(tmp_path, 5)
    other = find_study("s", tmp_path, None)

    def close() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if running := other.get_trials(states=(TrialState.RUNNING,)):
                time.sleep(0.1)
                other.tell(running[0].number, state=TrialState.FAIL)
                return

    closing = threading.Thread(target=close)
    closing.start()
    _work(study, "crawl")
    closing.join()
    states = [t.state for t in study.trials]
    assert (states.count(TrialState.FAIL), states.count(TrialState.COMPLETE)) == (1, 4)


def test_a_retry_from_the_beginning_has_no_curve_yet(tmp_path: Path) -> None:
    study = _begun(tmp_path, 2)
    failed = study.ask()
    for epoch in range(1, 4):
        failed.report(1e9, epoch)
    study.tell(failed, state=TrialState.FAIL)
    values = {"optimizer": "adam", "optimizer.lr": 0.01, "architecture.hidden": "[32]"}
    study.enqueue_trial(values, user_attrs={RETRY_OF: 0, ATTEMPT: 2})
    _work(study, "descend")
    assert max(study.trials[1].intermediate_values.values()) < 10


def test_seeds_that_were_trained_are_not_trained_again(tmp_path: Path) -> None:
    study = _begun(tmp_path, 1, seeds=3)
    _work(study, "die_at_the_third")
    first, again = study.trials
    assert (reason(first), again.state) == ("killed", TrialState.COMPLETE)
    begun = [line.split() for line in (tmp_path / "begun.txt").read_text().splitlines()]
    assert [seed for seed, _ in begun] == ["0", "1", "2", "0", "1", "2"]
    uids = [uid for _, uid in begun]
    assert uids[:3] == uids[3:] == again.user_attrs[UIDS]
    assert again.user_attrs[UID] == uids[0]
