"""``dlframe study``: the list, how one stands, its best trial, its files, failures begun again."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_support import environment, fresh, one_sentence
from optuna.trial import TrialState
from study_support import LOSS, made, searched, trial

from dlframe.cli.main import main
from dlframe.sweep.definition import Goal, Stops
from dlframe.sweep.marks import ATTEMPT, DEFINITION, RETRY_OF, UID, WORKER
from dlframe.sweep.snapshot import snapshot
from dlframe.sweep.storage import journal_of, open_storage
from dlframe.sweep.workers import sign_of_life

Capture = pytest.CaptureFixture[str]
FAIL, RUNNING = TrialState.FAIL, TrialState.RUNNING
GOALS = (Goal("test/accuracy", "maximize"), Goal("cost/parameters", "minimize"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies: one that was searched, one of two goals, one of which nothing completed."""
    root = tmp_path_factory.mktemp("studies") / "runs"
    searched(root, 40)
    values = [(0.5, 10.0), (0.9, 30.0), (0.8, 40.0)]
    made(root, [trial(values=each, params={"optimizer": "sgd"}) for each in values],
         name="two-goals", goals=GOALS, stops=Stops(n_trials=3))  # fmt: skip
    made(root, [trial(FAIL, reason="exception", said="it\nbroke")], name="broken")
    return root


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    code = main(["study", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(capsys: Capture, *words: str) -> Any:
    code, out, err = run(capsys, *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


# --- the list -------------------------------------------------------------------------------------


def test_all_studies_are_listed(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "--root", str(root))
    assert (code, err) == (0, "")
    header, *lines = (line.split() for line in out.splitlines())
    assert header == ["study", "trials", "state", "best", "goal"]
    assert lines[0] == ["broken", "1/50", "unfinished", "minimize", "val/loss"]
    assert lines[1][:3] == ["study", "39/40", "unfinished"]
    assert lines[2][:4] == ["two-goals", "3/3", "done", "2"], "two are on the front"


def test_the_list_as_json(root: Path, capsys: Capture) -> None:
    broken, study, two = as_json(capsys, "--root", str(root))
    assert broken == {
        "study": "broken", "state": "unfinished", "done": 1, "total": 50, "complete": 0, "pruned": 0,
        "failed": 1, "retried": 0, "running": 0, "waiting": 0, "reasons": {"exception": 1},
        "goals": {"val/loss": "minimize"}, "best": [], "folder": str(root / "studies" / "broken"),
    }  # fmt: skip
    assert [each["trial"] for each in study["best"]] == [32]
    assert two["best"] == [
        {"trial": 1, "values": {"test/accuracy": 0.9, "cost/parameters": 30.0}},
        {"trial": 0, "values": {"test/accuracy": 0.5, "cost/parameters": 10.0}},
    ]


def test_without_studies_it_says_how_to_begin_one(tmp_path: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "--root", str(tmp_path))
    assert (code, out) == (0, "")
    assert "there are no studies in" in one_sentence(err)
    assert run(capsys, "--root", str(tmp_path), "--json")[1] == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_be_read_hides_no_other(tmp_path: Path, capsys: Capture) -> None:
    made(tmp_path, [trial(values=1.0)], name="good")
    made(tmp_path, name="bad").set_user_attr(DEFINITION, "{}")
    code, out, err = run(capsys, "--root", str(tmp_path))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["study", "good"]
    assert one_sentence(err).startswith("bad: the study's definition cannot be read")


def test_a_storage_of_ones_own(tmp_path: Path, capsys: Capture) -> None:
    """Studies in a database, one of which somebody else has made."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    own = made(tmp_path / "runs", [trial(values=1.0)], name="mine")
    storage = optuna.storages.get_storage(url)
    optuna.copy_study(
        from_study_name="mine", from_storage=own._storage, to_storage=storage, to_study_name="mine"
    )
    optuna.create_study(study_name="theirs", storage=storage)
    code, out, err = run(capsys, "--storage", url)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["study", "mine"])
    assert "'theirs' was not made by dlframe" in one_sentence(err)
    code, out, err = run(capsys, "best", "mi", "--storage", url)
    assert (code, err) == (0, "")
    assert f"hydra.sweeper.storage={url}" in out


# --- status ---------------------------------------------------------------------------------------


def test_status_says_what_matters(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "status", "stu", "--root", str(root))
    assert (code, err) == (0, "")
    for said in (
        "trials      39 of 40 trials done: 18 complete, 19 pruned, 2 failed (2 exception)",
        "goal        minimize val/loss", "in trial 32", "workers busy 80% of their time",
        "failed      2 exception, such as trial 17: the loss became NaN at step 12; try a smaller",
        f"folder      {root / 'studies' / 'study'}", f"dlframe study best study --root {root}",
    ):  # fmt: skip
        assert said in out, said


def test_what_is_at_work_is_shown_with_its_worker(tmp_path: Path, capsys: Capture) -> None:
    """A worker that lives, one that is dead, one whose number another process has, one elsewhere."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = sign_of_life(0.0, 1, ended=False)
    signs = {
        "alive": mine,
        "ended": {**mine, "ended": True},
        "dead": {**mine, "pid": dead.pid},
        "other": {**mine, "started": 1.0},
        "far": {**mine, "host": "elsewhere"},
    }
    study = made(tmp_path, [
        trial(RUNNING, worker=name, params={"optimizer.lr": 0.01}, curve=(3.0, 2.5)) for name in signs
    ])  # fmt: skip
    for name, sign in signs.items():
        study.set_user_attr(WORKER + name, sign)
    found = as_json(capsys, "status", "study", "--root", str(tmp_path))
    gone = {each["worker"]: each["gone"] for each in found["running_trials"]}
    assert gone == {"alive": False, "ended": True, "dead": True, "other": True, "far": False}
    assert found["state"] == "running"
    _, out, _ = run(capsys, "status", "study", "--root", str(tmp_path))
    lines = [line.split() for line in out.splitlines()]
    [line] = [line for line in lines if line[-2:-1] == ["alive"]]
    assert line[0] == "0"
    assert line[-5:] == ["2.5", "at", "2", "alive", "optimizer.lr=0.01"]
    [line] = [line for line in lines if "dead" in line]
    assert line[-2] == "(gone)"
    for name in signs:
        study.set_user_attr(WORKER + name, signs["dead"])
    found = as_json(capsys, "status", "study", "--root", str(tmp_path))
    assert found["state"] == "interrupted"


def test_status_as_json(root: Path, capsys: Capture) -> None:
    found = as_json(capsys, "status", "study", "--root", str(root))
    assert (found["done"], found["reasons"]) == (39, {"exception": 2})
    assert found["best"][0]["trial"] == 32
    assert (found["per_hour"], found["seconds_left"], found["running_trials"]) == (None, None, [])
    assert 0 < found["utilisation"] < 1


# --- best -----------------------------------------------------------------------------------------


def test_the_best_and_how_to_train_it(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "best", "study", "--root", str(root))
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line[0] != " ")
    assert lines["trial"] == "32 (complete)"
    assert lines["run"] == "20261121-123200-abcdefgh"
    assert lines["optimizer"] in ("adam", "sgd")
    assert f"dlframe train +from=study tracking.root={root}" in out
    assert f"dlframe predict 20261121-123200-abcdefgh FILE --root {root}" in out


def test_the_command_is_one_line_that_a_shell_takes(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "best", "study", "--root", str(root), "--command")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert shlex.split(out)[:4] == ["dlframe", "train", "data=iris", 'tracking.run_name="a $b; c"']
    [best] = as_json(capsys, "best", "study", "--root", str(root))["trials"]
    assert best["command"] == out.strip()
    own = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", f"{out.strip()} --cfg job"], cwd=root, text=True, capture_output=True,
        env=environment(PATH=f"{own}:{os.environ['PATH']}"), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "run_name: a $b; c" in done.stdout
    assert f"lr: {best['params']['optimizer.lr']}" in done.stdout


def test_any_other_trial_can_be_asked_for(root: Path, capsys: Capture) -> None:
    words = ("best", "study", "--root", str(root), "--trial", "17")
    assert "17 (failed)" in run(capsys, *words)[1]
    command = run(capsys, *words, "--command")[1]
    [found] = as_json(capsys, *words)["trials"]
    assert f"optimizer.lr={found['params']['optimizer.lr']!r}" in command


def test_of_several_goals_one_is_to_be_chosen(root: Path, capsys: Capture) -> None:
    words = ("best", "two-goals", "--root", str(root))
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["1", "0"]
    assert "dlframe study best two-goals --trial N --command" in out
    code, out, err = run(capsys, *words, "--command")
    assert (code, out) == (1, "")
    assert "are on its Pareto front; choose one with --trial: 1, 0" in one_sentence(err)
    code, out, err = run(capsys, *words, "--command", "--trial", "0")
    assert (code, err) == (0, "")
    assert out.endswith("optimizer=sgd\n")


def test_where_all_break_a_constraint_it_says_so(tmp_path: Path, capsys: Capture) -> None:
    made(tmp_path, [trial(values=1.0, constraints={"a <= 1": 0.5})], constraints=("a <= 1",))
    _, out, _ = run(capsys, "status", "study", "--root", str(tmp_path))
    assert "best        none: no trial keeps to a <= 1" in out
    code, out, err = run(capsys, "best", "study", "--root", str(tmp_path))
    assert (code, out) == (1, "")
    assert "none of the 1 trials of the study 'study' that completed keeps to its" in one_sentence(
        err
    )


# --- trials and importances -----------------------------------------------------------------------


def test_trials_are_listed(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "trials", "study", "--root", str(root), "--limit", "3")
    assert code == 0
    assert one_sentence(err) == "3 of 41 trials; --limit 0 shows all"
    assert [line.split()[0] for line in out.splitlines()] == ["trial", "38", "39", "40"]
    code, out, err = run(capsys, "trials", "study", "--root", str(root), "--state", "failed")
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["9", "failed", "(exception)"], ["17", "failed", "(exception)"],
    ]  # fmt: skip


def test_trials_as_json(root: Path, capsys: Capture) -> None:
    rows = as_json(capsys, "trials", "study", "--root", str(root))
    assert [row["trial"] for row in rows] == list(range(41)), "the surplus one is left out"
    again = rows[40]
    assert (again["retry_of"], again["attempt"], again["state"]) == (6, 2, "complete")
    assert again["values"] == {"val/loss": 0.9}
    assert again["worker"].startswith("host-")


def test_importances(root: Path, capsys: Capture) -> None:
    found = as_json(capsys, "importance", "study", "--root", str(root))
    assert found["trials"] == 18
    assert sum(found["importances"].values()) == pytest.approx(1.0)
    code, out, err = run(capsys, "importance", "study", "--root", str(root))
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(found["importances"])


# --- export ---------------------------------------------------------------------------------------


def test_export_writes_where_it_is_told_to(root: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("export", "two-goals", "--root", str(root))
    paths = as_json(capsys, *words, "--out", str(tmp_path / "out"))
    assert {Path(path).name for path in paths} >= {"pareto.yaml", "report.html", "pareto_front.png"}
    assert all(Path(path).is_file() and Path(path).is_relative_to(tmp_path) for path in paths)
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == str(root / "studies" / "two-goals" / "report.html")


# --- retry ----------------------------------------------------------------------------------------


def failures(root: Path) -> optuna.Study:
    """One that raised an error, one that was killed and will be begun again, one that was already."""
    one = {"optimizer.lr": 0.01}
    return made(root, [
        trial(FAIL, reason="exception", params=one, uid="run-0"),
        trial(FAIL, reason="killed", params={"optimizer.lr": 0.02}, uid="run-1"),
        trial(FAIL, reason="memory", params={"optimizer.lr": 0.03}, uid="run-2"),
        trial(values=1.0, retry_of=2, attempt=2, params={"optimizer.lr": 0.03}),
    ], stops=Stops(n_trials=2))  # fmt: skip


def test_failed_trials_are_begun_again(tmp_path: Path, capsys: Capture) -> None:
    study = failures(tmp_path)
    assert snapshot(study).numbers.done == 2
    code, out, err = run(capsys, "retry", "study", "--root", str(tmp_path))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "trial 0 is begun again as trial 4",
        "trial 1 is begun again as trial 5",
        "no worker is at work; the command that began the study goes on with them",
    ]
    again = optuna.load_study(study_name="study", storage=study._storage)
    found = snapshot(again)
    assert found.numbers.done == 1, "what is begun again counts no longer"
    assert (found.numbers.waiting, found.numbers.left) == (2, 1)
    marks = [trial.user_attrs for trial in again.trials[4:]]
    assert marks == [
        {RETRY_OF: 0, ATTEMPT: 2},
        {RETRY_OF: 1, ATTEMPT: 2, UID: "run-1"},  # it goes on from its checkpoint
    ]
    # A worker that asks gets the same values, in the same order.
    asked = again.ask()
    assert (asked.number, asked.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)) == (4, 0.01)
    assert "no trial of the study study is to be begun again" in run(
        capsys, "retry", "study", "--root", str(tmp_path)
    )[1]  # fmt: skip


def test_only_some_are_begun_again(tmp_path: Path, capsys: Capture) -> None:
    failures(tmp_path)
    words = ("retry", "study", "--root", str(tmp_path), "--trial", "1", "1")
    assert as_json(capsys, *words) == {
        "study": "study", "retried": [{"trial": 1, "begun_again_as": 4}],
    }  # fmt: skip
    for number, said in (
        ("1", "trial 1 was begun again already, and only trials that failed are begun again; those "
         "are 0"),
        ("3", "trial 3 is complete already"),
        ("99", "the study 'study' has no trial 99; those that failed are 0"),
    ):  # fmt: skip
        code, out, err = run(capsys, *words[:5], number)
        assert (code, out) == (1, "")
        assert said in one_sentence(err)
    study = optuna.load_study(
        study_name="study", storage=open_storage(journal_of("study", tmp_path))
    )
    assert snapshot(study).numbers.waiting == 1


# --- what a user can get wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu", "study"], "there is no `dlframe study statsu`; did you mean 'status'"),
        (["status", "stduy"], "no study is called 'stduy'"),
        (["status", "stduy"], "did you mean 'study'"),
        (["best", "broken"], "no trial of the study 'broken' has completed; `dlframe study status"),
        (["best", "study", "--trial", "99"], "the study 'study' has no trial 99"),
        (
            ["importance", "two-goals"],
            "importances need 10 completed trials; the study 'two-goals'",
        ),
        (["status", "study", "--storage", "nope://x"], "a storage is one of journal:///"),
    ],
)
def test_mistakes_are_one_sentence(
    root: Path, capsys: Capture, words: list[str], said: str
) -> None:
    code, out, err = run(capsys, *words, "--root", str(root))
    assert (code, out) == (1, "")
    assert said in one_sentence(err)


@pytest.mark.parametrize("action", ["status", "best", "trials", "importance", "export", "retry"])
def test_each_has_help_with_an_example(capsys: Capture, action: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["study", action, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"dlframe study {action}" in out.partition("examples:\n")[2]
    for option in ("--json", "--root", "--storage"):
        assert option in out


def test_looking_imports_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom dlframe.cli.main import main\n"
        f"for words in (['status', 'study'], ['best', 'study'], ['trials', 'study'], []):\n"
        f"    assert main(['study', *words, '--root', {str(root)!r}]) == 0\n"
        "heavy = {'torch', 'lightning', 'mlflow', 'pandas', 'matplotlib', 'scipy', 'sqlalchemy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_runs_in_a_process_of_its_own(root: Path) -> None:
    done = fresh("study", "status", "study", cwd=root.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert "39 of 40 trials done" in done.stdout
    assert LOSS.metric in done.stdout
