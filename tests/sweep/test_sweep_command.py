"""``dlframe train`` with a search: from the plan to the result, as a user types it."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import trouble_support
from _pytest.mark import ParameterSet
from cli_support import end_delivery, environment, one_sentence, recorded, status_of
from optuna.trial import TrialState

from dlframe.sweep.marks import PARENT, UID, reason
from dlframe.sweep.storage import find_study
from dlframe.sweep.worker import cores

_QUICK = (
    "data=iris", "trainer.max_epochs=3", "tracking.log_model=false",
    "tracking.figures=false", "tracking.sample_every=null",
    "architecture.hidden=[4]", "tracking.wait=200",
)  # fmt: skip
_SEARCH = (
    "sweep=random",
    *_QUICK,
    "activation=relu,tanh",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
)


def _slow(words: tuple[str, ...], said: str) -> ParameterSet:
    """Mark a case that other tests have, too, without a whole command."""
    return pytest.param(words, said, marks=pytest.mark.slow)


def _run(
    place: Path, *words: str, command: str = "train", **changes: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*trouble_support.COMMAND[:-1], command, *words], cwd=place, text=True, check=False,
        capture_output=True, timeout=280, env=environment(**changes),
    )  # fmt: skip


def _study(place: Path, name: str) -> optuna.Study:
    return find_study(name, place / "runs", None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a study of four trials, searched by two workers."""
    folder = tmp_path_factory.mktemp("place")
    done = _run(folder, *_SEARCH, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=4",
                "hydra.sweeper.n_workers=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    yield folder
    end_delivery(folder / "runs")


def test_what_is_said(place: Path) -> None:
    said, result = (place / "err.txt").read_text(), (place / "out.txt").read_text()
    for word in ("study s", "relu, tanh", "1e-4 to 0.1, log", "maximize val/accuracy", "4 trials"):
        assert word in said
    assert said.count("complete") + said.count("pruned") >= 4
    for word in ("4 of 4 trials done", "dlframe train +from=s", "dlframe study status s"):
        assert word in result


def test_each_trial_is_a_run_below_the_studys(place: Path) -> None:
    study, root = _study(place, "s"), place / "runs"
    assert status_of(root, study.user_attrs[PARENT]) == "FINISHED"
    for trial in study.trials:
        assert status_of(root, trial.user_attrs[UID]) == "FINISHED"
        place_of = root / trial.user_attrs[UID]
        config = (place_of / "config.yaml").read_text()
        assert f"lr: {trial.params['optimizer.lr']}" in config
    [(children,)] = recorded(
        root,
        "SELECT count(*) FROM tags WHERE key = 'mlflow.parentRunId' AND value = (SELECT run_uuid "
        f"FROM tags WHERE key = 'dlframe.run_uid' AND value = '{study.user_attrs[PARENT]}')",
    )
    assert children == 4
    folder = root / "studies" / "s"
    assert {"best.yaml", "trials.csv", "report.html"} <= {path.name for path in folder.iterdir()}


def test_the_best_is_trained_by_name_and_by_its_command(place: Path) -> None:
    best = _study(place, "s").best_trial
    done = _run(place, "+from=s", "--json", "tracking.wait=0")
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout.splitlines()[-1])
    assert trained["metrics"]["best/val_accuracy"] == best.value
    line = _run(place, "best", "s", "--command", command="study").stdout.strip()
    assert line.startswith("dlframe train ")
    assert f"optimizer.lr={best.params['optimizer.lr']}" in line
    # What is given besides wins.
    done = _run(place, "+from=s", "optimizer.lr=0.5", "--cfg", "job")
    assert "lr: 0.5" in done.stdout


@pytest.mark.slow
def test_the_best_runs_of_an_experiment_are_tried_first(place: Path) -> None:
    best = _study(place, "s").best_trial
    done = _run(place, *_SEARCH, "hydra.sweeper.study_name=w", "hydra.sweeper.from_experiment=dlframe",
                "hydra.sweeper.from_best=1", "hydra.sweeper.n_trials=1", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    trial, summary = map(json.loads, done.stdout.splitlines())
    assert trial["params"] == best.params
    assert trial["values"] == {"val/accuracy": best.value}
    assert (summary["study"], summary["best"][0]["trial"]) == ("w", 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hydra.sweeper.n_trials=3",), "has 4 already; got 3; give a larger"),
        _slow(("hydra.sweeper.direction=minimize",), "exists and is to maximize val/accuracy"),
        (("optimizer=adam,sgd",), "exists with another space"),
        (("hydra.sweeper.objective=val/nothing",), "no run logs the objective 'val/nothing'"),
        (("hydra.sweeper.storage=sqlite:///s.db", "hydra.sweeper.n_workers=2"), "SQLite serves one"),
        (("hydra.sweeper.constraints=['a = b']",), "a constraint reads like"),
        _slow(("hydra.sweeper.constraints=['val/los <= 1']",), "did you mean 'val/loss'"),
        (("hydra.sweeper.study_name=../s",), "a study's name is that of a folder"),
        _slow(("hydra.sweeper.enqueue=[{optimizer.lr: 7}]", "hydra.sweeper.study_name=t"),
              "searched from"),
        _slow(("hydra.sweeper.from_study=u", "hydra.sweeper.study_name=t"), "no study is called 'u'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_any_trial(
    words: tuple[str, ...], said: str, place: Path
) -> None:
    before = sorted(path.name for path in (place / "runs").iterdir())
    done = _run(place, *_SEARCH, "hydra.sweeper.study_name=s", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in one_sentence(done.stderr)
    assert sorted(path.name for path in (place / "runs").iterdir()) == before


def test_a_dry_run_begins_nothing(tmp_path: Path) -> None:
    done = _run(tmp_path, *_SEARCH, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [each["name"] for each in told["space"]] == ["activation", "optimizer.lr"]
    assert told["n_trials"] == 50
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        _slow(("n_trials=9", "max_failures=2"), "the last 2 trials all failed; `dlframe study status"),
        (("n_trials=2",), "no trial of the study 's' has completed, 2 failed; `dlframe study status"),
    ],
)  # fmt: skip
def test_all_trials_failing_is_a_failure_without_a_traceback(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    found = trouble_support.install(tmp_path / "site")
    done = _run(
        tmp_path, *_SEARCH, "regularizer=[trouble]", "regularizer.trouble.how=raise",
        "regularizer.trouble.always=true", *(f"hydra.sweeper.{word}" for word in words),
        "hydra.sweeper.study_name=s", **_with_path(found),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"dlframe: {said}")
    assert "Traceback" not in done.stderr + done.stdout
    study = _study(tmp_path, "s")
    assert [reason(t) for t in study.trials] == ["exception"] * 2
    assert status_of(tmp_path / "runs", study.user_attrs[PARENT]) == "FAILED"
    end_delivery(tmp_path / "runs")


def _with_path(found: dict[str, str]) -> dict[str, str]:
    paths = os.pathsep.join([found["PYTHONPATH"], environment()["PYTHONPATH"]])
    return {**found, "PYTHONPATH": paths}


def _started(place: Path, found: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*trouble_support.COMMAND, *_SEARCH, "regularizer=[trouble]", "regularizer.trouble.seconds=1",
         "hydra.sweeper.study_name=s", "trainer.checkpoint_every=0", *words],
        cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(**_with_path(found)),
    )  # fmt: skip


def _until_trained(place: Path, number: int) -> None:
    """Wait until so many trials have come through their first epoch."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        folder = place / "runs" / "studies" / "s" / "journal.log"
        if folder.is_file():
            trials = _study(place, "s").trials
            if sum(bool(t.intermediate_values) for t in trials) >= number:
                return
        time.sleep(0.1)
    raise AssertionError("no trial came through its first epoch")


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    found = trouble_support.install(tmp_path / "site")
    words = ("hydra.sweeper.n_trials=3", "hydra.sweeper.n_workers=2")
    sweep = _started(tmp_path, found, *words)
    _until_trained(tmp_path, 2)
    sweep.send_signal(signal.SIGINT)
    _, said = sweep.communicate(timeout=120)
    assert sweep.returncode == 130
    assert said.splitlines()[-1] == "dlframe: stopped; the same command goes on with the study"
    study = _study(tmp_path, "s")
    assert [reason(t) for t in study.trials] == ["stopped"] * 2
    runs = {t.user_attrs[UID] for t in study.trials}
    assert status_of(tmp_path / "runs", study.user_attrs[PARENT]) == "KILLED"
    # The same command, twice at once: they share what is left.
    both = [_started(tmp_path, found, *words) for _ in range(2)]
    for each in both:
        _, said = each.communicate(timeout=200)
        assert each.returncode == 0, said
    study = _study(tmp_path, "s")
    complete = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(complete) == 3
    assert runs < {t.user_attrs[UID] for t in complete}
    assert not any(t.state == TrialState.RUNNING for t in study.trials)
    # Of one that was gone on with, no epoch was trained twice.
    for trial in complete:
        assert sorted(trial.intermediate_values) == list(
            range(1, len(trial.intermediate_values) + 1)
        )
    assert status_of(tmp_path / "runs", study.user_attrs[PARENT]) == "FINISHED"
    end_delivery(tmp_path / "runs")


def test_a_study_keeps_the_users_files_and_an_odd_name(tmp_path: Path) -> None:
    preset = tmp_path / "conf" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    root = 'tracking.root="my #1"'
    words = [word for word in _SEARCH if not word.startswith("architecture")]
    for number, hidden in ((1, 8), (2, 128)):
        preset.write_text(f"# @package _global_\narchitecture:\n  hidden: [{hidden}]\n")
        done = _run(tmp_path, *words, root, "experiment=mine", "--config-dir", "conf",
                    'hydra.sweeper.study_name="s#1"', f"hydra.sweeper.n_trials={number}")  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "are not those that the study began with" in done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("train it"))
    best = _run(tmp_path, *shlex.split(line.removeprefix("train it"))[2:], "tracking.wait=0")
    assert best.returncode == 0, best.stderr
    configs = [path.read_text() for path in (tmp_path / "my #1").glob("*/config.yaml")]
    assert len(configs) == 3
    assert all("hidden:\n  - 8\n" in config for config in configs)
    end_delivery(tmp_path / "my #1")


@pytest.mark.slow
def test_two_commands_begin_a_study_at_once(tmp_path: Path) -> None:
    words = (*_SEARCH, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=4")
    enqueue = "hydra.sweeper.enqueue=[{optimizer.lr: 0.042}]"
    both = [
        subprocess.Popen(
            [*trouble_support.COMMAND, *words, enqueue], cwd=tmp_path, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [each.communicate(timeout=200)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    study = _study(tmp_path, "s")
    trials = [t for t in study.trials if reason(t) != "surplus"]
    assert len(trials) == 4
    assert [t.params["optimizer.lr"] for t in trials].count(0.042) == 1
    # All are children of one run.
    [(parents,)] = recorded(
        tmp_path / "runs",
        "SELECT count(DISTINCT value) FROM tags WHERE key = 'mlflow.parentRunId'",
    )
    assert parents == 1
    end_delivery(tmp_path / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_the_jobs_of_a_launcher_share_the_cores_and_keep_what_is_secret(
    launcher: str, tmp_path: Path
) -> None:
    done = _run(
        tmp_path, *_SEARCH, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=2", "tracking.wait=0",
        "hydra.sweeper.n_workers=2", f"hydra/launcher={launcher}",
        "tracking.uri=http://me:hunter2secret@127.0.0.1:9",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    root = tmp_path / "runs"
    for trial in _study(tmp_path, "s").trials:
        found = (root / trial.user_attrs[UID] / "environment.json").read_text()
        assert re.findall(r'"threads": (\d+)', found) == [str(max(1, cores() // 2))]
    holding = [p for p in root.rglob("*") if p.is_file() and b"hunter2secret" in p.read_bytes()]
    assert (root / "studies" / "s" / "journal.log") in holding
    for path in holding:
        inside = [path, *(each for each in path.parents if root in each.parents)]
        assert any(each.stat().st_mode & 0o077 == 0 for each in inside), path
    end_delivery(root)


@pytest.mark.slow
def test_the_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    found = trouble_support.install(tmp_path / "site")
    sweep = _started(
        tmp_path, found, "regularizer.trouble.how=hang", "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_workers=2", "--fresh",
    )  # fmt: skip
    _until_trained(tmp_path, 2)
    time.sleep(1)  # now both hang
    sweep.send_signal(signal.SIGINT)
    time.sleep(1)
    assert sweep.poll() is None
    sweep.send_signal(signal.SIGINT)
    _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    advice = "the same command without --fresh goes on with the study s"
    assert said.splitlines()[-1] == f"dlframe: stopped; {advice}"
    study = _study(tmp_path, "s")
    assert not any(t.state == TrialState.RUNNING for t in study.trials)
    end_delivery(tmp_path / "runs")
