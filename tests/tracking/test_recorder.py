import os
import re
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dlframe.errors import StorageError
from dlframe.tracking.recorder import Recorder, new_uid
from dlframe.tracking.spool import MARKER, Spool, claim

pytest_plugins = ["tracking_fixtures"]


def quiet(root: Path, uid: str | None = None) -> Recorder:
    return Recorder(root, uri=None, experiment="e", run_name=None, uid=uid, deliver=False)


def test_uids_are_short_sortable_and_new() -> None:
    uids = {new_uid() for _ in range(50)}
    assert len(uids) == 50
    assert all(re.fullmatch(r"\d{8}-\d{6}-[a-z2-9]{8}", uid) for uid in uids)


def test_new_uids_leave_seeded_random_numbers_alone() -> None:
    import random

    random.seed(3)
    before = random.getstate()
    new_uid()
    assert random.getstate() == before


def test_what_is_recorded_reaches_the_spool_within_a_second(root: Path) -> None:
    recorder = quiet(root)
    recorder.metrics({"a": 1.0}, 3)
    spool = Spool(recorder.folder)
    end = time.monotonic() + 60
    while spool.count(0) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert [(r.kind, r.body) for r in spool.read(1, 9)] == [
        ("metrics", {"step": 3, "values": {"a": 1.0}})
    ]
    spool.close()
    recorder.finish("FINISHED")


def test_a_value_changed_after_the_call_is_recorded_as_it_was(root: Path) -> None:
    recorder = quiet(root)
    values = {"a": 1.0}
    recorder.metrics(values, 0)
    values["a"] = 2.0
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    assert spool.read(1, 1)[0].body["values"] == {"a": 1.0}
    spool.close()


def test_many_threads_record_without_losing_a_row(root: Path) -> None:
    recorder = quiet(root)

    def work(number: int) -> None:
        for step in range(500):
            recorder.metrics({f"t{number}": float(step)}, step)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    rows = [(k, r.body["step"]) for r in spool.read(1, 9999) if r.kind == "metrics"
            for k in r.body["values"]]  # fmt: skip
    assert len(rows) == len(set(rows)) == 8 * 500
    spool.close()


def test_a_full_disk_keeps_training_alive_and_is_told_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = quiet(root)
    connection = recorder._writer.spool._connection
    connection.execute("PRAGMA max_page_count=12")  # SQLite then acts as on a full disk
    for step in range(2000):
        recorder.metrics({f"metric/{i}": 1.0 for i in range(20)}, step)
    recorder.wait(0)
    recorder.wait(0)
    delivery = recorder.wait(0)
    assert not delivery.complete
    assert delivery.backlog >= 2000
    assert delivery.error is not None
    assert "full" in delivery.error
    assert capsys.readouterr().err.count("could not be written") == 1
    connection.execute("PRAGMA max_page_count=100000")
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    assert spool.count(0) == 2002  # nothing was lost: start, metrics, finish
    spool.close()


def test_what_cannot_be_written_is_left_out_alone_and_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = quiet(root)
    recorder.metrics({"a": 1.0}, 0)
    recorder.metrics({("a", "tuple"): 1.0}, 1)  # type: ignore[dict-item]
    recorder.metrics({"a": 2.0}, 2)
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    assert [r.body["step"] for r in spool.read(1, 9) if r.kind == "metrics"] == [0, 2]
    spool.close()
    assert recorder.wait(0).lost == 1
    assert "metrics could not be recorded: keys must be str" in capsys.readouterr().err


class Odd:
    def item(self) -> float:
        raise RuntimeError("a tensor of two numbers is no number")


@pytest.mark.parametrize("value", [10**400, Odd()])
def test_a_value_that_is_no_number_does_not_end_the_training(
    root: Path, capsys: pytest.CaptureFixture[str], value: Any
) -> None:
    recorder = quiet(root)
    recorder.metrics({"a": value}, 0)
    recorder.tags({"a": Odd()})  # type: ignore[dict-item]
    recorder.metrics({"a": 2.0}, 2)
    recorder.finish("FINISHED")
    with closing(Spool(recorder.folder)) as spool:
        kinds = [r.kind for r in spool.read(1, 9)]
    assert kinds[-2:] == ["metrics", "finish"]
    assert recorder.wait(0).lost >= 1
    assert "could not be recorded" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc/dlframe", "file/runs"])
def test_a_root_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be recorded in .* choose another folder"):
        quiet(tmp_path / place)


def test_a_run_has_one_recorder(root: Path) -> None:
    recorder = quiet(root)
    recorder.metrics({"a": 1.0}, 0)
    with pytest.raises(StorageError, match="being recorded by another process"):
        quiet(root, recorder.uid)
    assert (recorder.folder / "spool.db").is_file()
    recorder.finish("FINISHED")


def test_a_finished_run_takes_no_more_and_gives_up_its_claim(root: Path) -> None:
    recorder = quiet(root)
    recorder.finish("FAILED", "the loss became NaN")
    with pytest.raises(RuntimeError, match="has been finished"):
        recorder.metrics({"a": 1.0}, 1)
    with claim(recorder.folder) as claimed:
        assert claimed is not None


def test_the_end_is_kept_while_another_thread_moves_entries(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorders = [quiet(root, f"run-{number}") for number in range(200)]
    at_work = list(recorders)

    def move() -> None:
        while at_work:
            for recorder in at_work[:1]:
                recorder.wait(0)

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number, recorder in enumerate(recorders):
        recorder.metrics({"a": 1.0}, number)
        time.sleep(number * 5e-6)  # the end comes at any moment of the moving
        recorder.finish("FINISHED")
        at_work.remove(recorder)
    for thread in threads:
        thread.join()
    for recorder in recorders:
        spool = Spool(recorder.folder)
        assert [each.kind for each in spool.read(0, 9)] == ["start", "metrics", "finish"]
        spool.close()
        assert not list(recorder.folder.glob("journal*"))
    assert capsys.readouterr().err == ""


def test_a_forked_worker_records_nothing_and_does_not_keep_the_run_alive(root: Path) -> None:
    recorder = quiet(root)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        recorder.metrics({"child": 1.0}, 1)
        recorder.wait(0)
        os.write(write, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(read, 1)
        recorder.finish("FINISHED")
        with claim(recorder.folder) as claimed:
            assert claimed is not None  # although the child still lives
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    spool = Spool(recorder.folder)
    assert [r.kind for r in spool.read(0, 9)] == ["start", "finish"]
    spool.close()


def test_a_disabled_recorder_writes_nothing(root: Path) -> None:
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, enabled=False)
    recorder.params({"a": 1})
    recorder.finish("FINISHED")
    assert recorder.wait(0).complete
    assert not list(root.iterdir())


def test_paths_inside_the_run_folder_are_kept_relative(root: Path, tmp_path: Path) -> None:
    recorder = quiet(root)
    recorder.artifact(recorder.folder / "config.yaml")
    recorder.artifact(tmp_path / "elsewhere")
    recorder.finish("FINISHED")
    spool = Spool(recorder.folder)
    assert [r.body["path"] for r in spool.read(1, 2)] == [
        "config.yaml",
        str(tmp_path / "elsewhere"),
    ]
    spool.close()


def test_a_relative_sqlite_uri_becomes_absolute(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    recorder = Recorder(root, uri="sqlite:///mine.db", experiment="e", run_name=None, enabled=False)
    assert recorder.uri == f"sqlite:///{root / 'mine.db'}"
    assert not (root / MARKER).exists()
