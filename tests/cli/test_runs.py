"""``dlframe runs``: the list, its filters, one run in full, and closing runs whose process is gone."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_support import end_delivery, environment, one_sentence, recorded, status_of

from dlframe.cli.main import main
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import FILE, Spool

# SQLAlchemy deprecates something that MLflow still uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

Capture = pytest.CaptureFixture[str]

MAKE = """
import sys, time
from pathlib import Path
from dlframe.tracking.recorder import Recorder

root, uid, deliver, uri = sys.argv[1:]
recorder = Recorder(
    Path(root), uri=uri or None, experiment="e", run_name="slow", uid=uid, deliver=deliver == "yes"
)
recorder.metrics({"val/loss": 1.5}, 1)
recorder.tags({"dlframe.host": __import__("socket").gethostname()})
print("recording", flush=True)
time.sleep(300)
"""


def record(
    root: Path, uid: str, lr: float, accuracy: float | None, status: Any = "FINISHED", **more: Any
) -> Path:
    recorder = Recorder(
        root, uri=None, experiment=more.get("experiment", "e"), run_name=f"mlp-lr{lr}", uid=uid,
        parent=more.get("parent"), deliver=False,
    )  # fmt: skip
    optimizer = more.get("optimizer", "adam")
    recorder.params({"optimizer": optimizer, "optimizer.lr": lr, "seed": 0})
    recorder.tags({"dlframe.primary_metric": "val/accuracy", "dlframe.primary_mode": "max"})
    for step in range(3):
        recorder.metrics({"val/accuracy": step / 10, "train/loss": 1.0 - step / 10}, step)
    if accuracy is not None:
        recorder.metrics({"test/accuracy": accuracy, "test/loss": 1 - accuracy}, 0)
    (recorder.folder / "overrides.json").write_text(
        json.dumps([f"optimizer.lr={lr}", "tracking.wait=0"])
    )
    recorder.finish(status, None if status == "FINISHED" else "it broke")
    return recorder.folder


A, B, C, D = (f"2026112{day}-100000-{letter * 4}" for day, letter in enumerate("abcd"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four runs that nobody has delivered."""
    root = tmp_path / "runs"
    record(root, A, 0.1, 0.7)
    record(root, B, 0.01, 0.9)
    record(root, C, 0.001, None, "FAILED")
    record(root, D, 0.1, 0.8, optimizer="sgd", experiment="other")
    return root


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    code = main(["runs", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def listed(capsys: Capture, root: Path, *words: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, *words, "--root", str(root), "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def ids(capsys: Capture, root: Path, *words: str) -> list[str]:
    return [each["id"] for each in listed(capsys, root, *words)]


# --- the list -------------------------------------------------------------------------------------


def test_the_newest_run_comes_first_with_what_matters(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "--root", str(root))
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert " ".join(header.split()) == "id status started metric name differs from the defaults"
    assert [line.split()[0] for line in lines] == [D, C, B, A]
    assert lines[2].split()[1] == "finished"
    assert lines[2].split()[4:] == ["test/accuracy", "0.9", "mlp-lr0.01", "optimizer.lr=0.01"]
    assert lines[1].split()[4:6] == ["val/accuracy", "0.2"], "a run without test shows what it has"


def test_as_json(root: Path, capsys: Capture) -> None:
    first = listed(capsys, root)[2]
    assert abs(first.pop("started") - time.time()) < 600
    assert first == {
        "id": B, "name": "mlp-lr0.01", "status": "FINISHED", "gone": False, "experiment": "e",
        "metric": "test/accuracy", "value": 0.9, "differs": {"optimizer.lr": "0.01"},
        "parent": None, "multirun": False, "mlflow_run_id": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["optimizer=adam"], [C, B, A]),
        (["optimizer==adam"], [C, B, A]),
        (["optimizer!=adam"], [D]),
        (["optimizer.lr>0.005"], [D, B, A]),
        (["optimizer.lr>=1e-2", "optimizer.lr<1e-1"], [B]),
        (["optimizer.lr=1e-1", "optimizer=sgd"], [D]),
        (["metrics.test/accuracy>0.75"], [D, B]),
        (["metrics.train/loss<=0.8"], [D, C, B, A]),
        (["status=FAILED"], [C]),
        (["--status", "failed"], [C]),
        (["status=failed"], [C]),
        (["--experiment", "other"], [D]),
        (["--limit", "2"], [D, C]),
        (["--limit", "0"], [D, C, B, A]),
        (["--sort", "test/accuracy"], [B, D, A, C]),
        (["--sort", "test/loss", "--limit", "1"], [B]),
        (["--sort", "test/accuracy:min", "optimizer=adam"], [A, B, C]),
    ],
)
def test_filters_order_and_number(
    root: Path, capsys: Capture, words: list[str], found: list[str]
) -> None:
    assert ids(capsys, root, *words) == found


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["optimizer=nope"], "no run has optimizer=nope: the values of optimizer are adam, sgd"),
        (
            ["metrics.test/accuracy<=0.1"],
            "no run has metrics.test/accuracy<=0.1: the values of metrics.test/accuracy are 0.7, 0.8, "
            "0.9",
        ),
        (
            ["--status", "killed"],
            "no run has status=KILLED: the values of status are FAILED, FINISHED",
        ),
        (
            ["optimizer=sgd", "status=failed"],
            "each filter holds for some run, but all of them for none",
        ),
    ],
)
def test_where_nothing_is_selected_it_says_why(
    root: Path, capsys: Capture, words: list[str], why: str
) -> None:
    for form, shown in ((["--json"], "[]\n"), ([], "")):
        code, out, err = run(capsys, *words, "--root", str(root), *form)
        assert (code, out) == (0, shown)
        assert one_sentence(err) == f"no run is selected; {why}"


def test_what_is_sorted_by_is_shown(root: Path, capsys: Capture) -> None:
    first = listed(capsys, root, "--sort", "train/loss")[0]
    assert (first["metric"], first["value"]) == ("train/loss", 0.8)


def test_a_terminal_is_not_flooded(root: Path, capsys: Capture) -> None:
    for number in range(30):
        record(root, f"20261201-1000{number:02d}-wxyz", 0.1, 0.5)
    code, out, err = run(capsys, "--root", str(root))
    assert (code, len(out.splitlines())) == (0, 21)
    assert one_sentence(err) == "20 of 34 runs; --limit 0 shows all"
    assert len(ids(capsys, root)) == 34


def test_a_multirun_is_listed_with_its_number_of_runs(root: Path, capsys: Capture) -> None:
    parent = Recorder(
        root, uri=None, experiment="e", run_name="mlp by lr", uid="20261201-000000-pppp",
        group=True, deliver=False,
    )  # fmt: skip
    for letter in "rs":
        record(root, f"20261201-000001-{letter * 4}", 0.1, 0.5, parent=parent.uid)
    parent.finish("FINISHED")
    out = run(capsys, "--root", str(root))[1]
    [line] = [line for line in out.splitlines() if line.startswith(parent.uid)]
    assert line.rstrip().endswith("multirun of 2 runs")
    children = [each for each in listed(capsys, root) if each["parent"] == parent.uid]
    assert len(children) == 2


def test_a_broken_spool_hides_no_other_run(root: Path, capsys: Capture) -> None:
    (root / C / FILE).write_bytes(b"no database" * 500)
    code, out, err = run(capsys, "--root", str(root), "--json")
    assert code == 0
    assert [each["id"] for each in json.loads(out)] == [D, B, A]
    assert f"{str(root / C / FILE)!r} cannot be read (" in one_sentence(err)


def test_a_copied_folder_is_no_further_run(root: Path, capsys: Capture) -> None:
    copy = root / f"{B}-backup"
    shutil.copytree(root / B, copy)
    code, out, err = run(capsys, "--root", str(root), "--json")
    assert code == 0
    assert [each["id"] for each in json.loads(out)] == [D, C, B, A]
    assert one_sentence(err) == (
        f"{str(copy)!r} is a copy of run {B}, which is in {str(root / B)!r}, and does not count"
    )
    # Whatever the folders are called, one of the two is the run.
    (root / B).rename(root / "renamed")
    code, out, err = run(capsys, "--root", str(root), "--json")
    assert [each["id"] for each in json.loads(out)] == [D, C, B, A]
    assert f"is a copy of run {B}" in one_sentence(err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer"], "'optimizer' is no filter; a filter reads optimizer.lr>1e-3"),
        (["=adam"], "'=adam' is no filter"),
        (["optimiser=adam"], "no run has 'optimiser' to filter by; did you mean 'optimizer'"),
        (["metrics.test/acc>1"], "did you mean 'metrics.test/accuracy'"),
        (["optimizer.lr>high"], "> compares numbers, but 'optimizer.lr>high' has 'high'"),
        (["--experiment", "othre"], "no run here is of experiment 'othre'; did you mean 'other'"),
        (["--sort", "test/acc"], "no run has a value of 'test/acc' to sort by; did you mean"),
        (["show", "zzzz"], "no run answers to 'zzzz'"),
        (["show", "2026112"], "4 runs answer to '2026112'"),
        (["--uri", "http://127.0.0.1:9"], "http://127.0.0.1:9 cannot be searched for runs"),
    ],
)
def test_what_a_user_can_get_wrong(
    root: Path, capsys: Capture, words: list[str], said: str
) -> None:
    code, out, err = run(capsys, *words, "--root", str(root))
    assert (code, out) == (1, "")
    assert said in one_sentence(err)


def test_without_runs_it_says_so(tmp_path: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "--root", str(tmp_path))
    assert (code, out) == (1, "")
    assert "there are no runs in" in one_sentence(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["metrics.train/loss<1"], ["show", "last"]])
def test_reading_runs_imports_nothing_heavy(root: Path, words: list[str]) -> None:
    code = (
        "import sys\nfrom dlframe.cli.main import main\n"
        f"assert main(['runs', *{words!r}, '--root', {str(root)!r}]) == 0\n"
        "heavy = {'torch', 'lightning', 'mlflow', 'hydra', 'pandas', 'scipy', 'numpy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- one run --------------------------------------------------------------------------------------


def test_show_has_everything_as_json(root: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "show", "bbbb", "--root", str(root), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["id"] == B
    assert found["status"] == "FINISHED"
    assert found["folder"] == str(root / B)
    assert found["tracking_uri"] == f"sqlite:///{root / 'mlflow.db'}"
    assert found["params"] == {"optimizer": "adam", "optimizer.lr": "0.01", "seed": "0"}
    assert found["differs"] == {"optimizer.lr": "0.01"}
    assert found["metrics"] == {
        "val/accuracy": 0.2, "train/loss": 0.8, "test/accuracy": 0.9,
        "test/loss": pytest.approx(0.1),
    }  # fmt: skip
    assert (found["mlflow_run_id"], found["link"]) == (None, None)


def test_show_on_a_terminal(root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    code, out, err = run(capsys, "show", "last")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["run", D]
    assert ["status", "finished"] in lines
    assert ["MLflow", "UI", "dlframe", "ui"] in lines
    assert ["optimizer.lr", "0.1"] in lines
    assert ["test/accuracy", "0.8"] in lines
    out = run(capsys, "show", "cccc", "--root", str(root))[1]
    assert "status      failed" in out
    assert "it broke" in out


# --- runs in MLflow -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with two runs that MLflow has, and whose folders are gone."""
    root = tmp_path_factory.mktemp("delivered") / "runs"
    for uid, lr, accuracy in ((A, 0.1, 0.7), (B, 0.01, 0.9)):
        record(root, uid, lr, accuracy)
    last = Recorder(root, uri=None, experiment="e", run_name="last", uid=D)
    last.finish("FINISHED")
    assert last.wait(250.0).complete
    assert (status_of(root, A), status_of(root, B)) == ("FINISHED", "FINISHED")
    yield root
    end_delivery(root)


def test_runs_of_another_machine_are_read_from_the_store(
    delivered: Path, tmp_path: Path, capsys: Capture
) -> None:
    uri = f"sqlite:///{delivered / 'mlflow.db'}"
    words = ("--uri", uri, "metrics.test/accuracy>0.5", "--sort", "test/accuracy")
    found = listed(capsys, tmp_path, *words)
    assert [each["id"] for each in found] == [B, A]
    assert [each["value"] for each in found] == [0.9, 0.7]
    assert all(each["mlflow_run_id"] for each in found)
    code, out, err = run(capsys, "show", "bbbb", "--uri", uri, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert shown["params"] == {"optimizer": "adam", "optimizer.lr": "0.01", "seed": "0"}
    assert shown["metrics"]["test/accuracy"] == 0.9
    assert run(capsys, "show", "zzzz", "--uri", uri)[0] == 1


# --- reap -----------------------------------------------------------------------------------------


def recording(root: Path, uid: str, *, deliver: bool, uri: str = "") -> "subprocess.Popen[str]":
    """A process that records a run and does not end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(root), uid, "yes" if deliver else "no", uri],
        env=environment(), text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "recording\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_run_whose_process_is_gone_is_closed(root: Path, capsys: Capture) -> None:
    dead, alive = "20261130-000000-dead", "20261130-000001-live"
    processes = [recording(root, uid, deliver=False) for uid in (dead, alive)]
    try:
        assert not any(each["gone"] for each in listed(capsys, root))
        end(processes[0])
        assert [each["id"] for each in listed(capsys, root) if each["gone"]] == [dead]
        _, out, err = run(capsys, "--root", str(root))
        assert [line.split()[1] for line in out.splitlines()[1:3]] == ["running", "gone"]
        assert "`dlframe runs reap` closes them" in one_sentence(err)

        code, out, err = run(capsys, "reap", "--root", str(root))
        assert (code, out, err) == (0, f"{dead}  closed: its process is gone\n", "")
        states = {each["id"]: each["status"] for each in listed(capsys, root)}
        assert (states[dead], states[alive], states[A]) == ("KILLED", "RUNNING", "FINISHED")
        assert status_of(root, dead) == "KILLED", "it is delivered too"
        with closing(Spool(root / alive)) as spool:
            assert spool.latest("finish") is None
        code, out, _ = run(capsys, "reap", "--root", str(root), "--json")
        assert json.loads(out)["closed"] == []
    finally:
        for process in processes:
            end(process)
        end_delivery(root)


def test_a_run_that_only_mlflow_knows_is_closed_if_it_was_ours(
    delivered: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Recorded from another root, whose folder is removed; one from another host; one alive."""
    uri, other = f"sqlite:///{delivered / 'mlflow.db'}", tmp_path / "other"
    uids = dead, foreign, alive = [f"20261130-00000{n}-{n}xyz" for n in range(3)]
    processes = [recording(other, uid, deliver=True, uri=uri) for uid in uids]
    try:
        for uid in uids:
            wait_for_host(delivered, uid)
        end_delivery(other)
        for process in processes[:2]:
            end(process)
        for uid in (dead, foreign):
            shutil.rmtree(other / uid)
        set_host(delivered, foreign, "elsewhere")
        code, out, err = run(capsys, "reap", "--root", str(delivered), "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "closed": [dead], "error": None,
            "left": {
                foreign: "recorded on elsewhere",
                alive: f"process {processes[2].pid} records it",
            },
        }  # fmt: skip
        assert [status_of(delivered, uid, 0.5) for uid in uids] == ["KILLED", "RUNNING", "RUNNING"]
        set_host(delivered, foreign, os.uname().nodename)  # to be closed with the test
        assert f"{foreign}  closed in MLflow" in run(capsys, "reap", "--root", str(delivered))[1]
    finally:
        for process in processes:
            end(process)
        end_delivery(other)


def wait_for_host(root: Path, uid: str) -> None:
    """Wait until the run is in MLflow with the host that recorded it."""
    limit = time.monotonic() + 250
    while not recorded(root, host_of(uid)):
        assert time.monotonic() < limit
        time.sleep(0.1)


def host_of(uid: str) -> str:
    return (
        "SELECT host.run_uuid FROM tags host JOIN tags uid ON uid.run_uuid = host.run_uuid "
        f"WHERE uid.value = '{uid}' AND host.key = 'dlframe.host'"
    )


def set_host(root: Path, uid: str, host: str) -> None:
    from mlflow.tracking import MlflowClient

    [(run_id,)] = recorded(root, host_of(uid))
    MlflowClient(f"sqlite:///{root / 'mlflow.db'}").set_tag(run_id, "dlframe.host", host)


def test_what_was_closed_is_said_though_the_store_does_not_answer(
    tmp_path: Path, capsys: Capture
) -> None:
    root, uid = tmp_path / "runs", "20261130-000000-dead"
    process = recording(root, uid, deliver=False)
    end(process)
    words = ("reap", "--root", str(root), "--uri", "http://127.0.0.1:9")
    try:
        code, out, err = run(capsys, *words)
        assert (code, out) == (1, f"{uid}  closed: its process is gone\n")
        assert "http://127.0.0.1:9 cannot be searched for runs" in one_sentence(err)
        code, out, err = run(capsys, *words, "--json")
        assert (code, err) == (1, "")
        assert "cannot be searched" in json.loads(out)["error"]
    finally:
        end_delivery(root)
