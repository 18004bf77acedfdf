"""A study in a database, begun by a command, to which further processes come from anywhere."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import trouble_support
from cli_support import end_delivery, environment
from fault_support import another_database, postgres
from optuna.trial import TrialState

from dlframe.sweep.marks import OWNER, RETRY_OF, UID, reason
from dlframe.sweep.storage import find_study

_QUICK = (
    "data=iris", "trainer.max_epochs=3", "tracking.log_model=false",
    "tracking.figures=false", "tracking.sample_every=null",
    "architecture.hidden=[4]", "regularizer=[trouble]", "regularizer.trouble.seconds=0.5",
    "trainer.checkpoint_every=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as given:
        yield another_database(given, "workers")


def _began(place: Path, found: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([found["PYTHONPATH"], environment()["PYTHONPATH"]])
    return subprocess.Popen(
        [*trouble_support.COMMAND[:-1], *words], cwd=place, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment(**{**found, "PYTHONPATH": paths}),
    )  # fmt: skip


@pytest.mark.slow
def test_workers_come_and_are_killed(url: str, tmp_path: Path) -> None:
    found = trouble_support.install(tmp_path / "site")
    sweep = _began(
        tmp_path, found, "train", "sweep=random", *_QUICK, "optimizer.lr=interval(0.001,0.1)",
        "hydra.sweeper.n_trials=8", "hydra/sweeper/pruner=none", "hydra.sweeper.study_name=many",
        f"hydra.sweeper.storage='{url}'",
    )  # fmt: skip
    study = _study(url, lambda study: len(study.trials) > 0)
    (tmp_path / "elsewhere").mkdir()
    workers = [
        _began(place, found, "worker", "many", "--storage", url, "--threads", "1")
        for place in (tmp_path, tmp_path / "elsewhere", tmp_path)
    ]
    victim, leaving = workers[0], workers[2]

    def busy() -> bool:
        trials = study.get_trials(deepcopy=False)
        return any(
            f"-{victim.pid}-" in str(t.user_attrs.get(OWNER))
            for t in trials
            if not t.state.is_finished()
        )

    end = time.monotonic() + 100
    while not busy() and victim.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert victim.poll() is None, victim.communicate()[0]
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    while not any(f"-{leaving.pid}-" in key for key in study.user_attrs):
        assert leaving.poll() is None
        time.sleep(0.1)
    leaving.send_signal(signal.SIGUSR1)  # its scheduler wants the machine back
    said, _ = leaving.communicate(timeout=200)
    assert leaving.returncode == 0, said
    for process in (sweep, workers[1]):
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
    trials = study.get_trials()
    states = Counter(t.state.name for t in trials if reason(t) != "surplus")
    assert states["COMPLETE"] == 8
    assert states["RUNNING"] == states["WAITING"] == 0
    owners = {t.user_attrs[OWNER] for t in trials if t.state == TrialState.COMPLETE}
    assert len(owners) >= 2
    assert "lost" in {reason(t) for t in trials}
    begun_again = {t.number for t in trials if reason(t) in ("lost", "stopped")}
    assert {t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs} == begun_again
    runs = {t.user_attrs[UID] for t in trials if t.state == TrialState.COMPLETE}
    assert all((tmp_path / "runs" / uid).is_dir() for uid in runs), "wherever a worker was started"
    assert not list((tmp_path / "elsewhere").iterdir())
    end_delivery(tmp_path / "runs")


def _study(url: str, ready: Callable[[optuna.Study], bool]) -> optuna.Study:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        try:
            study = find_study("many", Path(), url)
            if ready(study):
                return study
        except ValueError:  # not begun yet
            pass
        time.sleep(0.2)
    raise AssertionError("the study did not begin")
