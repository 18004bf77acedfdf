"""Which runs `resume=auto` goes on with, and what is said of those that cannot be gone on with."""

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from dlframe.api import compose
from dlframe.cli.main import main
from dlframe.errors import CheckpointError, DlframeError, RunTakenError, StorageError
from dlframe.tracking.entries import entry
from dlframe.tracking.spool import FILE, Spool, take
from dlframe.training.checkpoint import LAST
from dlframe.training.resume import unfinished_like
from dlframe.training.run import resume

TINY = (
    "data=iris",
    "trainer.max_epochs=2",
    "tracking.wait=0",
    "tracking.log_model=false",
    "tracking.figures=false",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run as its process leaves it that is killed at its very end: its record has none."""
    assert main(["train", *TINY, f"tracking.root={tmp_path}", "tracking.offline=true"]) == 0
    (spool,) = tmp_path.glob(f"*/{FILE}")
    with closing(sqlite3.connect(spool)) as connection, connection:
        connection.execute("DELETE FROM records WHERE kind = 'finish'")
    return spool.parent


def found(root: Path, *overrides: str) -> list[Path]:
    return list(unfinished_like(compose(*TINY, f"tracking.root={root}", *overrides)))


def test_a_run_of_the_same_config_is_found(folder: Path) -> None:
    assert found(folder.parent) == [folder]
    assert found(folder.parent, "seed=5") == []
    assert found(folder.parent, "tracking.experiment=other") == []


@pytest.mark.parametrize("content", ["{", "", "[1", "- a\n"])
def test_a_damaged_config_stops_nobody(folder: Path, content: str) -> None:
    (folder / "config.yaml").write_text(content)
    assert found(folder.parent) == []
    with pytest.raises(StorageError, match=r"config\.yaml' cannot be read .*; restore it, or"):
        resume(folder)


@pytest.mark.parametrize("name", ["splits.json", "environment.json"])
def test_a_damaged_record_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{")
    with pytest.raises(StorageError, match=f"{name}' cannot be read .*; restore it, or train anew"):
        resume(folder)


def test_a_run_that_another_process_finishes_meanwhile_is_left_alone(folder: Path) -> None:
    said: list[DlframeError] = []

    def go_on() -> None:
        try:
            resume(folder)
        except DlframeError as error:
            said.append(error)

    other = take(folder)
    assert other is not None
    before = (folder / "checkpoints" / LAST).read_bytes()
    thread = threading.Thread(target=go_on)
    thread.start()
    time.sleep(1.0)  # it now waits for the other; if it is slow, it will see that the run has ended
    with closing(Spool(folder)) as spool:
        last = spool.last()
        assert last is not None
        spool.append([entry("finish", last[2], {"status": "FINISHED", "error": None}, last[0] + 1)])
    os.close(other)
    thread.join(120.0)
    assert [type(error) in (RunTakenError, CheckpointError) for error in said] == [True]
    assert (folder / "checkpoints" / LAST).read_bytes() == before
    with closing(Spool(folder)) as spool:
        assert spool.of_kinds("finish")[-1].body["status"] == "FINISHED"


def test_a_run_that_diverged_is_not_trained_into_the_same_wall(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e30", "tracking.offline=true")
    assert main(["train", *TINY, f"tracking.root={tmp_path}", *words]) == 1
    assert "the training loss became" in capsys.readouterr().err
    assert found(tmp_path, *words) == []
