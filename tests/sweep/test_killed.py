"""Sweeps that are killed at any moment: the same command goes on, to exactly as many trials."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import optuna
import psutil
import pytest
import trouble_support
from optuna.trial import TrialState

from dlframe.sweep.marks import is_idle, reason
from dlframe.sweep.snapshot import snapshot
from dlframe.sweep.storage import find_study

_COMMAND = [
    *trouble_support.COMMAND, "sweep=random", "hydra.sweeper.study_name=s", "data=iris",
    "trainer.max_epochs=4", "trainer.checkpoint_every=0", "tracking.log_model=false",
    "tracking.figures=false",
    "tracking.sample_every=null", "architecture.hidden=[4]", "hydra.sweeper.n_workers=2",
    "hydra.sweeper.retries=100", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "regularizer=[trouble]",
    "regularizer.trouble.seconds=0.3",
]  # fmt: skip


def _processes(place: Path) -> list[psutil.Process]:
    """Return the sweep's processes, by what they are: the sweep, the server, the trials."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(place) and (
            "dlframe train" in words or "forkserver" in words
        ):
            found.append(process)
    return found


def _study(place: Path) -> optuna.Study | None:
    if not (place / "runs" / "studies" / "s" / "journal.log").is_file():
        return None
    return find_study("s", place / "runs", None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_is_lost_by_killing(kills: int, tmp_path: Path) -> None:
    found = trouble_support.install(tmp_path / "site")
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **found}
    choice, number = random.Random(kills), 6 + 2 * kills
    command = [*_COMMAND, f"hydra.sweeper.n_trials={number}"]
    killed, best, done_before = 0, float("-inf"), 0
    while True:
        with (tmp_path / "log.txt").open("ab") as log:
            sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        while sweep.poll() is None and killed < kills:
            time.sleep(choice.uniform(0.2, 2.5))
            study, victims = _study(tmp_path), _processes(tmp_path)
            if study is None or not study.trials or not victims:  # it is not at work yet
                continue
            sweeps = [sweep.pid] * len(victims)  # as often it as any other
            with suppress(ProcessLookupError):
                os.kill(choice.choice([*sweeps, *(each.pid for each in victims)]), signal.SIGKILL)
                killed += 1
        code = sweep.wait(timeout=280)
        found_study = _study(tmp_path)
        assert found_study is not None
        now = snapshot(found_study)
        assert now.numbers.done >= done_before
        done_before = now.numbers.done
        if now.best:
            value = now.best[0].value
            assert value is not None
            assert value >= best
            best = value
        if code == 0:
            break
    assert killed == kills, "it was over too soon"
    trials = [t for t in found_study.trials if not is_idle(t)]
    assert not any(t.state == TrialState.RUNNING for t in trials)
    over = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(over) == number
    assert {reason(t) for t in trials if t.state == TrialState.FAIL} <= {
        "lost",
        "killed",
        "stopped",
    }
    end = time.monotonic() + 30
    while _processes(tmp_path) and time.monotonic() < end:
        time.sleep(0.2)
    assert _processes(tmp_path) == []
    runs = [t.user_attrs["dlframe:uid"] for t in over]
    assert len(set(runs)) == number
    for uid in runs:
        assert (tmp_path / "runs" / uid / "config.yaml").is_file()
