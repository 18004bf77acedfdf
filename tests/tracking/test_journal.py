"""The journal: whatever it is cut by, what was recorded before is whole."""

import math
import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fault_scenes import fill, mounted

from dlframe.tracking.entries import entry
from dlframe.tracking.journal import Journal, recover
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import RunInfo, Spool, claim

pytest_plugins = ["tracking_fixtures"]

INFO = RunInfo(uid="u", experiment="e", run_name=None, uri=None, user="me", created=5)
BODIES = [
    {"step": 1, "values": {"a": 0.1, "ü/b": math.inf, "c": 3}},
    {"step": 2, "values": {}},
    {"step": 3, "values": {"odd\0name": 1.0}},
    {"step": 2**70, "values": {"a": 1.0}},
    {"step": 5, "values": {"text": "no number"}},
]


def journal_of(folder: Path) -> Path:
    journal = Journal(folder)
    for number, body in enumerate(BODIES):
        journal.write(entry("metrics", number, body, seq=number + 1))
    journal.write(entry("finish", 9, {"status": "FINISHED", "error": None}, seq=9))
    return folder / "journal-1"


def recovered(folder: Path) -> list[object]:
    with closing(Spool.create(folder, INFO)) as spool:
        recover(folder, spool)
        recover(folder, spool)  # as after another death, in the middle of the first
        assert not list(folder.glob("journal-*"))
        return [record.body for record in spool.read(0, 99)]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    journal_of(tmp_path)
    assert recovered(tmp_path) == [*BODIES, {"status": "FINISHED", "error": None}]


def test_cut_at_any_byte_it_gives_all_that_was_whole(tmp_path: Path) -> None:
    data = journal_of(tmp_path).read_bytes()
    seen = set()
    for length in range(0, len(data), 7):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "journal-1").write_bytes(data[:length])
        found = recovered(folder)
        assert found == BODIES[: len(found)]
        seen.add(len(found))
    assert seen == set(range(len(BODIES) + 1))


def test_what_is_in_the_spool_already_is_not_doubled(tmp_path: Path) -> None:
    journal_of(tmp_path)
    with closing(Spool.create(tmp_path, INFO)) as spool:
        spool.append([entry("metrics", 0, BODIES[0], seq=1)])
    assert len(recovered(tmp_path)) == len(BODIES) + 1


def test_a_full_disk_leaves_no_half_entry(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        journal = Journal(disk)
        filling = fill(disk)
        made = entry("params", 0, {"values": {"a": "x" * 3000}})
        written = 0
        with suppress(OSError):
            while True:
                journal.write(made._replace(seq=written + 1))
                written += 1
        with pytest.raises(OSError, match="No space left"):
            journal.write(made._replace(seq=written + 1))
        filling.unlink()
        journal.write(made._replace(seq=99))
        with closing(Spool.create(disk, INFO)) as spool:
            recover(disk, spool)
            assert [record.seq for record in spool.read(0, 99)] == [*range(1, written + 1), 99]


@pytest.mark.parametrize("free", [4096, 2 * 4096])
def test_an_entry_that_fits_in_part_is_an_error(tmp_path: Path, free: int) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        journal = Journal(disk)
        journal.write(entry("tags", 0, {"values": {"a": "b"}}, seq=1))
        filling = fill(disk)
        os.truncate(filling, filling.stat().st_size - free)
        large = entry("params", 0, {"values": {"a": "x" * (free + 4096)}})
        with pytest.raises(OSError, match="No space left"):
            journal.write(large._replace(seq=2))
        journal.write(entry("tags", 0, {"values": {"c": "d"}}, seq=3))
        filling.unlink()
        with closing(Spool.create(tmp_path, INFO)) as spool:
            recover(disk, spool)
            assert [record.seq for record in spool.read(0, 99)] == [1, 3]


KILLED = """
import os, sys
from pathlib import Path
from dlframe.tracking.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), uri=None, experiment="e", run_name=None, uid="u", deliver=False)
step = 0
while True:
    recorder.metrics({"a": step, "b": 1.0}, step)
    os.write(1, b".")  # it is in the ledger
    step += 1
"""


def test_a_training_that_is_killed_at_any_moment_loses_no_call(root: Path) -> None:
    for kill_at in (1, 700, 5000):
        folder = root / str(kill_at)
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            logged = len(process.stdout.read(kill_at))
            os.kill(process.pid, signal.SIGKILL)
            logged += len(process.stdout.read())
        with claim(folder / "u") as claimed, closing(Spool(folder / "u")) as spool:
            assert claimed is not None
            recover(folder / "u", spool)
            steps = [record.body["step"] for record in spool.read(1, 10**6)]
        assert steps == list(range(len(steps)))
        assert logged <= len(steps) <= logged + 1


def test_a_disk_that_is_slow_holds_nothing_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if each write took longer than it may: calls then stay in memory until the thread takes them.
    monkeypatch.setattr("dlframe.tracking.writer._SPARE_SECONDS", -1000.0)
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, deliver=False)
    before = {path: path.stat().st_size for path in recorder.folder.glob("journal-*")}
    recorder.metrics({"a": 1.0}, 1)
    assert {path: path.stat().st_size for path in before} == dict.fromkeys(before, 0)
    recorder.finish("FINISHED")
    with closing(Spool(recorder.folder)) as spool:
        assert [record.kind for record in spool.read(0, 9)] == ["start", "metrics", "finish"]
    assert not list(recorder.folder.glob("journal-*"))


def test_going_on_with_a_run_takes_over_what_its_journal_holds(root: Path) -> None:
    folder = root / "u"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        os.kill(process.pid, signal.SIGKILL)
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, uid="u", deliver=False)
    recorder.finish("FINISHED")
    with closing(Spool(folder)) as spool:
        records = spool.read(0, 10**6)
    assert len(records) >= 103
    assert [record.kind for record in records[-2:]] == ["start", "finish"]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
