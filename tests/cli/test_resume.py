"""Runs that are killed, stopped or damaged, and gone on with."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_support import (
    dlframe,
    end_delivery,
    environment,
    fresh,
    one_sentence,
    recorded,
    runs_in,
    started,
    status_of,
)
from warm import Forked

from dlframe.training.checkpoint import BEST, LAST, PREVIOUS, read

TRAIN = (
    "train", "trainer.max_epochs=15", "data.batch_size=8", "regularizer=[dropout,mixup]",
    "scheduler=cosine", "optimizer=nadam", "seed=3", "--json",
)  # fmt: skip
OFTEN = "trainer.checkpoint_every=0.02"
CHECKPOINT = f"checkpoints/{LAST}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose ``runs`` the tests of this module record into."""
    folder = tmp_path_factory.mktemp("place")
    yield folder
    end_delivery(folder / "runs")


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, Any]:
    """What a run that nobody interrupts gives, in a process that hashes otherwise than forked ones."""
    done = fresh(*TRAIN, cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def wait_for(path: Path, process: Forked) -> None:
    end = time.monotonic() + 120
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)


def new_run(place: Path, before: list[str], process: Forked, name: str = CHECKPOINT) -> Path:
    """The folder of the run that ``process`` began, once a file, its first checkpoint say, is there."""
    end = time.monotonic() + 120
    while len(runs_in(place / "runs")) == len(before):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    (uid,) = set(runs_in(place / "runs")) - set(before)
    wait_for(place / "runs" / uid / name, process)
    return place / "runs" / uid


def written(folder: Path) -> int:
    """When the last checkpoint was written; from the first on, it is there at every moment."""
    return (folder / "checkpoints" / LAST).stat().st_mtime_ns


def caught(place: Path, words: tuple[str, ...], name: str, number: int) -> tuple[Path, int, str]:
    """Begin a run and send it a signal once a file is there; return its folder, exit code and errors.

    On a busy machine this process may sleep until the run has ended: then it is another one's turn.
    """
    for _ in range(8):
        before = runs_in(place / "runs")
        process = started(*TRAIN, *words, cwd=place)
        folder = new_run(place, before, process, name)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        if process.returncode != 0:
            return folder, process.returncode, err
    raise AssertionError("the runs end too soon to be caught")


def killed(place: Path, *words: str) -> Path:
    """Begin a run, kill it once it has two checkpoints to go on from, and return its folder."""
    folder, code, err = caught(place, (OFTEN, *words), f"checkpoints/{PREVIOUS}", signal.SIGKILL)
    assert code == -signal.SIGKILL, err
    return folder


def metrics(root: Path, uid: str) -> list[tuple[str, int, float]]:
    """Names, steps and values that MLflow holds of a run, but those that tell the time."""
    rows = recorded(
        root,
        "SELECT m.key, m.step, m.value FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
        f"WHERE t.key = 'dlframe.run_uid' AND t.value = '{uid}' AND m.key NOT LIKE 'perf/%' "
        "AND m.key NOT LIKE 'cost/%' AND m.key NOT LIKE 'system/%' ORDER BY 1, 2, 3",
    )
    return [(str(key), int(step), float(value)) for key, step, value in rows]


def assert_same(undisturbed: dict[str, Any], result: dict[str, Any]) -> None:
    """Weights and recorded metrics are equal to the last bit, and recorded once."""
    roots = [Path(each["folder"]).parent for each in (result, undisturbed)]
    assert status_of(roots[0], result["run"]) == "FINISHED"
    assert metrics(roots[0], result["run"]) == metrics(roots[1], undisturbed["run"])
    for name in (BEST, LAST):
        mine, other = (
            read(Path(each["folder"]) / "checkpoints" / name) for each in (result, undisturbed)
        )
        assert mine["state_dict"].keys() == other["state_dict"].keys()
        for key, value in mine["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), (name, key)
    tests = {k: v for k, v in undisturbed["metrics"].items() if k.startswith(("test/", "best/"))}
    assert tests == {k: v for k, v in result["metrics"].items() if k in tests}


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_again_and_again_a_run_ends_as_if_undisturbed(
    place: Path, undisturbed: dict[str, Any], kills: int
) -> None:
    draw = random.Random(kills)
    folder, done = killed(place), 1
    process = started("resume", folder.name, "--json", cwd=place)
    while done < kills:
        # After the first checkpoint that this attempt writes: at a random moment of what it has left.
        stamp = written(folder)
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if written(folder) != stamp:
                break
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 2.0 / kills))
        process.kill()
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:  # it had reached its end
            break
        assert process.returncode == -signal.SIGKILL, err
        done += 1
        process = started("resume", folder.name, "--json", cwd=place)
    else:
        out, err = process.communicate(timeout=280)
    assert (process.returncode, err) == (0, "")
    result = json.loads(out)
    assert result["run"] == folder.name
    assert_same(undisturbed, result)
    attempts = recorded(
        place / "runs",
        "SELECT value FROM tags WHERE key = 'dlframe.attempts' AND run_uuid = "
        f"'{result['mlflow_run_id']}'",
    )
    assert attempts == [(str(done + 1),)]


DIES_AT_THE_END = """
import os, signal, sys
from dlframe.tracking.recorder import Recorder

def model(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

Recorder.model = model  # the last but the end; metrics and checkpoints are recorded by then
from dlframe.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_as_its_result_is_recorded_a_run_has_it_once(
    place: Path, undisturbed: dict[str, Any]
) -> None:
    before = runs_in(place / "runs")
    process = subprocess.run(
        [sys.executable, "-c", DIES_AT_THE_END, *TRAIN], cwd=place, env=environment(), check=False
    )
    assert process.returncode == -signal.SIGKILL
    (uid,) = set(runs_in(place / "runs")) - set(before)
    done = fresh("resume", uid, "--json", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(undisturbed, json.loads(done.stdout))
    models = recorded(
        place / "runs",
        "SELECT count(*) FROM logged_model_tags WHERE tag_key = 'dlframe.run_uid' "
        f"AND tag_value = '{uid}'",
    )
    assert models == [(2,)]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_run_goes_on_from_where_it_was_stopped(
    place: Path, undisturbed: dict[str, Any], number: int
) -> None:
    """No checkpoint is due for an hour: the one that is there was written because of the signal."""
    folder, code, err = caught(
        place, ("trainer.checkpoint_every=3600",), f"checkpoints/{BEST}", number
    )
    assert code == 128 + number
    assert "stopping after this step" in err
    assert read(folder / "checkpoints" / LAST)["dlframe"]["steps"] > 0
    assert status_of(place / "runs", folder.name) == "KILLED"
    done = dlframe("resume", "last", "--json", cwd=place)
    assert (done.stderr, done.returncode) == ("", 0)
    assert_same(undisturbed, json.loads(done.stdout))


def test_a_damaged_checkpoint_is_named_and_the_older_one_used(
    place: Path, undisturbed: dict[str, Any]
) -> None:
    folder = killed(place)
    last = folder / "checkpoints" / LAST
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(bytes(content))
    done = dlframe("resume", folder.name, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    said = one_sentence(done.stderr)
    assert f"{LAST}' is damaged" in said
    assert f"{PREVIOUS} is used instead" in said
    assert_same(undisturbed, json.loads(done.stdout))


def test_the_same_command_goes_on_with_resume_auto(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    try:
        folder = killed(tmp_path, "resume=auto")
        other = dlframe(*TRAIN, "resume=auto", "seed=4", "trainer.max_epochs=1", cwd=tmp_path)
        assert other.returncode == 0, other.stderr
        assert json.loads(other.stdout)["run"] != folder.name
        done = dlframe(*TRAIN, OFTEN, "resume=auto", cwd=tmp_path)
        assert (done.stderr, done.returncode) == ("", 0)
        result = json.loads(done.stdout)
        assert result["run"] == folder.name
        assert_same(undisturbed, result)
    finally:
        end_delivery(tmp_path / "runs")


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_together(tmp_path: Path) -> None:
    """Random numbers, sums and running statistics differ by process; each gets its own back."""
    words = ("trainer=ddp_cpu", "architecture=cnn", "data.limit=600", "trainer.max_epochs=6")
    try:
        whole = fresh(*TRAIN, *words, cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        folder = killed(tmp_path, *words)
        done = dlframe("resume", folder.name, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert_same(json.loads(whole.stdout), json.loads(done.stdout))
    finally:
        end_delivery(tmp_path / "runs")


def test_an_attempt_on_other_code_is_said_and_recorded(tmp_path: Path) -> None:
    """A run is begun at one commit, killed, and gone on with at another."""

    def commit(content: str) -> str:
        (tmp_path / "code.py").write_text(content)
        known = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        for words in (("init", "-q"), ("add", "code.py"), (*known, "commit", "-qm", content)):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
        head = ["git", "rev-parse", "HEAD"]
        return subprocess.check_output(head, cwd=tmp_path, text=True).strip()

    commits = [commit("first")]
    try:
        folder, _, _ = caught(tmp_path, (OFTEN,), "code/workdir.json", signal.SIGKILL)
        commits.append(commit("second"))
        done = dlframe("resume", folder.name, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said = f"the commit was {commits[0][:12]}, is {commits[1][:12]}"
        assert one_sentence(done.stderr) == said
        result = json.loads(done.stdout)
        assert status_of(tmp_path / "runs", folder.name) == "FINISHED"
        tags = recorded(
            tmp_path / "runs",
            f"SELECT key, value FROM tags WHERE run_uuid = '{result['mlflow_run_id']}' "
            "AND key IN ('dlframe.drift', 'mlflow.source.git.commit') ORDER BY key",
        )
        assert tags == [("dlframe.drift", said), ("mlflow.source.git.commit", commits[0])]
        (kept,) = (tmp_path / "runs" / "artifacts").glob("*/artifacts/attempts/2")
        assert {path.name for path in kept.iterdir()} >= {
            "attempt.json",
            "environment.json",
            "code",
        }
        assert json.loads((kept / "attempt.json").read_text()) == {
            "attempt": 2,
            "command": f"dlframe resume {folder.name} --json",
            "drift": [said],
        }
        assert json.loads((kept / "code" / "workdir.json").read_text())["commit"] == commits[1]
    finally:
        end_delivery(tmp_path / "runs")


def test_two_that_are_told_to_go_on_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    processes = [started(*TRAIN, OFTEN, "resume=auto", cwd=tmp_path) for _ in range(2)]
    try:
        ends = [process.communicate(timeout=280) for process in processes]
        assert [
            (process.returncode, err) for process, (_, err) in zip(processes, ends, strict=True)
        ] == [(0, "")] * 2
        runs = {json.loads(out)["run"] for out, _ in ends}
        assert len(runs) == 2
        assert folder.name in runs
    finally:
        end_delivery(tmp_path / "runs")


def test_what_cannot_be_gone_on_with(place: Path, undisturbed: dict[str, Any]) -> None:
    done = dlframe("resume", undisturbed["run"], cwd=place)
    assert done.returncode == 1
    assert "is finished, there is nothing to go on with" in one_sentence(done.stderr)
    assert Path(undisturbed["folder"]).is_dir()
    done = dlframe("resume", "no-such-run", cwd=place)
    assert done.returncode == 1
    assert one_sentence(done.stderr).startswith("no run answers to 'no-such-run'")


def test_a_run_that_is_being_trained_is_left_alone(place: Path) -> None:
    before = runs_in(place / "runs")
    process = started(*TRAIN, OFTEN, "trainer.max_epochs=100000", cwd=place)
    try:
        folder = new_run(place, before, process)
        done = dlframe("resume", folder.name, cwd=place)
        assert done.returncode == 1
        assert "is being recorded by another process" in one_sentence(done.stderr)
        assert (folder / "checkpoints" / LAST).is_file()
    finally:
        process.kill()
        process.communicate(timeout=60)
