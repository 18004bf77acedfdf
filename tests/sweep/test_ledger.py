"""Workers of one study: real processes that share a storage, some of which are killed."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import pytest
from fault_support import another_database, postgres
from optuna.trial import FrozenTrial, TrialState, create_trial
from study_support import defined

from dlframe.sweep.definition import Stops
from dlframe.sweep.ledger import Ledger
from dlframe.sweep.marks import ATTEMPT, DEFINITION, OWNER, RETRY_OF, UID, WORKER, reason
from dlframe.sweep.patience import patient
from dlframe.sweep.storage import journal_of, open_storage
from dlframe.sweep.tally import done
from dlframe.sweep.workers import sign_of_life

_FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as url:
        yield another_database(url, "studies")


@pytest.fixture(params=["journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "journal":
        return journal_of("s", tmp_path)
    return str(request.getfixturevalue("database"))


def _study(url: str, name: str, **more: object) -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=open_storage(url))
    study.set_user_attr(DEFINITION, defined(name=name, **more).to_json())
    return study


def _ledger(url: str, name: str, worker: str, **more: object) -> Ledger:
    study = optuna.load_study(
        study_name=name,
        storage=open_storage(url),
        sampler=optuna.samplers.RandomSampler(),
    )
    return Ledger(study, defined(name=name, **more), worker, lease=1.0)


def _loop(ledger: Ledger, hang_at: int | None = None) -> None:
    """Work like a worker whose trials take no time; one of them takes for ever."""
    ledger.beat()
    mine = 0
    while ledger.over() is None:
        trial = ledger.take()
        if trial is None:
            time.sleep(0.02)
            continue
        if mine == hang_at:
            time.sleep(600)
        mine += 1
        ledger.complete(trial.number, [trial.suggest_float("x", 0, 1)])
    ledger.beat(last=True)


def _worker(url: str, name: str, worker: str, stops: Stops, hang_at: int | None) -> None:
    _loop(_ledger(url, name, worker, stops=stops), hang_at)


def _start(
    url: str, name: str, stops: Stops, places: Iterable[int] = range(4), hang_at: int | None = None
) -> list[BaseProcess]:
    started: list[BaseProcess] = []
    for place in places:
        arguments = (url, name, f"w{place}", stops, hang_at)
        process = _FORK.Process(target=_worker, args=arguments, daemon=True)
        process.start()
        started.append(process)
    return started


def test_workers_do_exactly_as_many_trials_as_there_are_to_be(url: str) -> None:
    stops = Stops(n_trials=30)
    study = _study(url, "many", stops=stops)
    for process in _start(url, "many", stops):
        process.join(120)
        assert process.exitcode == 0
    trials = study.get_trials()
    counted = Counter(reason(t) or t.state.name for t in trials)
    assert counted["COMPLETE"] == 30
    assert counted["surplus"] == len(trials) - 30 <= 3
    assert len({t.user_attrs[OWNER] for t in trials if t.state == TrialState.COMPLETE}) > 1


def test_a_killed_workers_trial_is_begun_again_by_another(url: str) -> None:
    stops = Stops(n_trials=12)
    study = _study(url, "killed", stops=stops)
    [victim] = _start(url, "killed", stops, [0], hang_at=1)

    def held() -> list[optuna.trial.FrozenTrial]:
        return study.get_trials(states=(TrialState.RUNNING,))

    _wait(lambda: len(study.get_trials()) == 2 and OWNER in held()[0].user_attrs)
    others = _start(url, "killed", stops, [1, 2, 3])
    _wait(lambda: len(study.get_trials()) >= 12 and len(held()) == 1)
    # Nobody takes the trial of a worker that lives, however long it takes.
    time.sleep(3)
    [left] = held()
    assert left.user_attrs[OWNER] == "w0"
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    for process in others:
        process.join(120)
        assert process.exitcode == 0
    trials = study.get_trials()
    assert all(t.state.is_finished() for t in trials)
    assert done(trials, defined(stops=stops)) == 12
    assert reason(trials[left.number]) == "lost"
    # All of them may have found it lost at once: who comes second says so and trains nothing.
    begun = [t for t in trials if t.user_attrs.get(RETRY_OF) == left.number]
    [again] = [t for t in begun if reason(t) != "surplus"]
    assert (again.state, again.user_attrs[ATTEMPT]) == (TrialState.COMPLETE, 2)


def _wait(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_who_was_killed_before_signing_leaves_nothing_behind(tmp_path: Path) -> None:
    url, stops = journal_of("s", tmp_path), Stops(n_trials=2)
    study = _study(url, "s", stops=stops)
    study.ask()  # and dies
    ledger = _ledger(url, "s", "w", stops=stops)
    _loop(ledger)
    assert [reason(t) or t.state.name for t in study.get_trials()].count("COMPLETE") == 2
    assert reason(study.get_trials()[0]) == "surplus"


def _watched(ledger: Ledger, seconds: float) -> list[int]:
    """Look for the lost again and again, as a worker does; return what was found."""
    end, found = time.monotonic() + seconds, list[int]()
    while time.monotonic() < end and not found:
        found = ledger.reap()
        time.sleep(0.05)
    return found


def _elsewhere(study: optuna.Study, beat: int) -> None:
    """Give the sign of life of a worker on a machine that cannot be looked into."""
    sign = {**sign_of_life(0.0, beat, ended=False), "host": "elsewhere"}
    study.set_user_attr(f"{WORKER}far", sign)


def test_a_worker_elsewhere_is_given_up_when_it_gives_no_sign_of_life(tmp_path: Path) -> None:
    url, stops = journal_of("s", tmp_path), Stops(n_trials=1)
    _study(url, "s", stops=stops)
    far = _ledger(url, "s", "far", stops=stops)
    assert far.take() is not None
    _elsewhere(far.study, 1)
    near = _ledger(url, "s", "near", stops=stops)
    assert _watched(near, 0.7) == []
    _elsewhere(far.study, 2)
    assert _watched(near, 0.7) == []
    assert _watched(near, 5) == [0]
    # Who comes back is told that the trial is no longer its own.
    assert far.complete(0, [1.0]) is False


def test_nobody_is_given_up_for_a_time_in_which_nobody_could_see(tmp_path: Path) -> None:
    url, stops = journal_of("s", tmp_path), Stops(n_trials=1)
    _study(url, "s", stops=stops)
    far = _ledger(url, "s", "far", stops=stops)
    assert far.take() is not None
    _elsewhere(far.study, 1)
    near = _ledger(url, "s", "near", stops=stops)
    assert _watched(near, 0.5) == []
    time.sleep(2)  # the storage does not answer: neither of them gets through to it
    assert _watched(near, 0.7) == []
    _elsewhere(far.study, 2)
    assert _watched(near, 0.7) == []


def test_workers_that_begin_at_once_have_places_of_their_own(url: str) -> None:
    study = _study(url, "places")
    barrier, places = _FORK.Barrier(6), _FORK.SimpleQueue()

    def join(number: int) -> None:
        ledger = _ledger(url, "places", f"w{number}")
        barrier.wait(60)
        ledger.beat()
        places.put(ledger.place())

    processes = [_FORK.Process(target=join, args=(number,)) for number in range(6)]
    for process in processes:
        process.start()
    found = [places.get() for _ in processes]
    for process in processes:
        process.join(60)
    assert len(set(found)) == 6
    later = _ledger(url, "places", "later")
    later.beat()
    assert later.place() == (6, 6)
    assert sum(key.startswith(WORKER) for key in study.user_attrs) == 7


class _Slow(optuna.samplers.RandomSampler):
    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        time.sleep(0.5)


def test_a_trial_is_not_lost_while_it_is_being_taken(tmp_path: Path) -> None:
    url, stops = journal_of("s", tmp_path), Stops(n_trials=1)
    _study(url, "s", stops=stops)
    ledger = _ledger(url, "s", "w", stops=stops)
    first = ledger.take()
    assert first is not None
    ledger.fail(first.number, "killed", "by somebody")
    ledger.study.sampler = _Slow()
    with ThreadPoolExecutor() as threads:
        taking = threads.submit(ledger.take)
        while not taking.done():
            assert ledger.reap() == []
        again = taking.result()
    assert again is not None
    assert ledger.reap() == []
    assert ledger.complete(again.number, [1.0])


def test_a_trial_that_nobody_asked_for_twice_costs_no_attempt(tmp_path: Path) -> None:
    """As when the reply was lost to what had made it, and it was made again."""
    url, stops = journal_of("s", tmp_path), Stops(n_trials=1)
    study = _study(url, "s", stops=stops)
    ledger = _ledger(url, "s", "w", stops=stops)
    first = ledger.take()
    assert first is not None
    ledger.fail(first.number, "killed", "by somebody")
    marks = {OWNER: "w", RETRY_OF: 0, ATTEMPT: 2}
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=marks))
    assert ledger.reap() == [1]
    again = ledger.take()
    assert again is not None
    assert again.user_attrs[ATTEMPT] == 2
    assert ledger.complete(again.number, [1.0])
    assert ledger.over() == "all 1 trials are done"


def test_given_values_outlive_who_took_them(tmp_path: Path) -> None:
    url, stops = journal_of("s", tmp_path), Stops(n_trials=2)
    study = _study(url, "s", stops=stops)
    study.enqueue_trial({"x": 0.25})
    study.enqueue_trial({"x": 0.75}, user_attrs={RETRY_OF: 9, ATTEMPT: 2})
    # Two workers die: one before it has drawn anything, one before it has signed.
    gone = _ledger(url, "s", "gone", stops=stops)
    gone.beat()
    assert gone.take() is not None
    gone.beat(last=True)
    gone.study.ask()
    ledger = _ledger(url, "s", "w", stops=stops)
    assert sorted([*_watched(ledger, 0.2), *_watched(ledger, 5)]) == [0, 1]
    _loop(ledger)
    ended = study.get_trials(states=(TrialState.COMPLETE,))
    assert sorted(t.params["x"] for t in ended) == [0.25, 0.75]
    [retried] = [t for t in ended if t.params["x"] == 0.75]
    assert (retried.user_attrs[RETRY_OF], retried.user_attrs[ATTEMPT]) == (9, 2)


def test_an_attempt_keeps_its_run_and_stopping_costs_none(tmp_path: Path) -> None:
    url = journal_of("s", tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    ledger = Ledger(study, defined(retries=1, stops=Stops(n_trials=1)), "w")
    for why, attempt in (("stopped", 1), ("stopped", 1), ("killed", 1), ("killed", 2)):
        trial = ledger.take()
        assert trial is not None
        assert trial.user_attrs.get(ATTEMPT, 1) == attempt
        if UID not in trial.user_attrs:
            trial.set_user_attr(UID, "run")
        assert trial.user_attrs[UID] == "run"
        ledger.fail(trial.number, why, "so it was")  # type: ignore[arg-type]
    assert ledger.take() is None
    assert ledger.over() == "all 1 trials are done"


class _Counting(optuna.storages.InMemoryStorage):
    """A storage that counts how often it is asked for all trials."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self.asked += 1
        return super().get_all_trials(study_id, deepcopy, states)


def test_a_proposal_reads_the_trials_once_and_is_optunas_own() -> None:
    counting = _Counting()
    mine = optuna.create_study(
        storage=patient(counting), sampler=optuna.samplers.TPESampler(seed=0)
    )
    bare = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    ledger = Ledger(mine, defined(name="s", stops=Stops(n_trials=30)), "me")
    ledger.beat()
    for number in range(25):
        counting.asked = 0
        trial, other = ledger.take(), bare.ask()
        assert trial is not None
        values = [(t.suggest_float("x", 0, 1), t.suggest_float("y", 1, 9)) for t in (trial, other)]
        assert counting.asked == 1, number
        assert values[0] == values[1]
        ledger.complete(trial.number, [values[0][0] + values[0][1]])
        bare.tell(other, values[0][0] + values[0][1])
