"""A run that stands for others: whatever is delivered first, each child is under one parent."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fault_support import Server
from tracking_support import end_delivery, sql

from dlframe.tracking import sync
from dlframe.tracking.recorder import Recorder

pytest_plugins = ["tracking_fixtures"]

RUNS = (
    "SELECT uid.value, runs.name, runs.status, parent.value FROM runs "
    "JOIN tags uid ON uid.run_uuid = runs.run_uuid AND uid.key = 'dlframe.run_uid' "
    "LEFT JOIN tags nested ON nested.run_uuid = runs.run_uuid AND nested.key = 'mlflow.parentRunId' "
    "LEFT JOIN tags parent ON parent.run_uuid = nested.value AND parent.key = 'dlframe.run_uid'"
)


def stored(store: Path) -> dict[str, tuple[str, str, str | None]]:
    """Name, status and parent of each run in a store, by the run's own id."""
    rows = sql(store, RUNS)
    assert len({row[0] for row in rows}) == len(rows), f"a run is there twice: {rows}"
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def parent_in(root: Path, uri: str | None = None, *, deliver: bool) -> Recorder:
    return Recorder(root, uri=uri, experiment="e", run_name="both", group=True, deliver=deliver)


def child_in(root: Path, parent: str, uri: str | None = None, *, deliver: bool = True) -> Recorder:
    recorder = Recorder(
        root, uri=uri, experiment="e", run_name="child", parent=parent, deliver=deliver
    )
    recorder.metrics({"test/loss": 1.0}, 0)
    recorder.finish("FINISHED")
    return recorder


def test_a_child_that_is_delivered_first_finds_its_parent(root: Path) -> None:
    """The parent is recorded beside it, still at work: it is made in MLflow for the child's sake."""
    parent = parent_in(root, deliver=False)
    child = child_in(root, parent.uid)
    assert child.wait(120.0).complete
    assert stored(root / "mlflow.db")[child.uid] == ("child", "FINISHED", parent.uid)
    other = child_in(root, parent.uid)
    parent.metrics({"runs/finished": 2.0}, 0)
    parent.finish("FAILED", "one of 3 jobs failed")
    assert parent.wait(120.0).complete
    assert other.wait(120.0).complete
    assert stored(root / "mlflow.db") == {
        parent.uid: ("both", "FAILED", None),
        child.uid: ("child", "FINISHED", parent.uid),
        other.uid: ("child", "FINISHED", parent.uid),
    }


def test_a_parent_takes_in_children_that_came_alone(root: Path, tmp_path: Path) -> None:
    """A child's folder was copied to another place and delivered from there, without its parent."""
    store = tmp_path / "shared.db"
    uri = f"sqlite:///{store}"
    parent = parent_in(root, uri, deliver=False)
    parent.finish("FINISHED")
    child = child_in(root, parent.uid, uri, deliver=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(child.folder, elsewhere / child.uid)
    alone = Recorder(elsewhere, uri=uri, experiment="e", run_name=None, uid=child.uid)
    alone.finish("FINISHED")
    assert alone.wait(120.0).complete
    end_delivery(elsewhere)
    assert stored(store) == {child.uid: ("child", "FINISHED", None)}

    again = Recorder(root, uri=uri, experiment="e", run_name=None, uid=parent.uid)
    again.finish("FINISHED")
    assert again.wait(120.0).complete
    assert stored(store) == {
        parent.uid: ("both", "FINISHED", None),
        child.uid: ("child", "FINISHED", parent.uid),
    }


def test_a_run_that_goes_on_in_another_multirun_moves_there(root: Path) -> None:
    first, second = parent_in(root, deliver=False), parent_in(root, deliver=False)
    child = child_in(root, first.uid)
    assert child.wait(120.0).complete
    again = Recorder(
        root, uri=None, experiment="e", run_name=None, uid=child.uid, parent=second.uid
    )
    again.finish("FINISHED")
    assert again.wait(120.0).complete
    assert stored(root / "mlflow.db")[child.uid] == ("child", "FINISHED", second.uid)
    first.finish("KILLED")
    second.finish("FINISHED")
    found = sync.wait([first.folder, second.folder], 120.0, lambda *_: None)
    assert [delivery.complete for delivery in found.values()] == [True, True]
    assert stored(root / "mlflow.db") == {
        first.uid: ("both", "KILLED", None),
        second.uid: ("both", "FINISHED", None),
        child.uid: ("child", "FINISHED", second.uid),
    }


def test_more_children_than_mlflow_names_at_once_find_their_parent(root: Path) -> None:
    parent = parent_in(root, deliver=True)
    parent.metrics({"a": 1.0}, 0)
    assert parent.wait(120.0).complete
    run = parent.wait(0).mlflow_run_id
    with closing(sqlite3.connect(root / "mlflow.db", timeout=60)) as store, store:
        for number in range(1010):
            store.execute(
                "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, "
                "user_id, experiment_id) SELECT ?, 'child', 'FINISHED', ?, 'active', '', '', "
                "experiment_id FROM runs WHERE run_uuid = ?",
                (f"child-{number}", number, run),
            )
            tags = {"dlframe.run_uid": f"child-{number}", "dlframe.parent_uid": parent.uid}
            if number >= 5:  # the oldest come last, and are still to be taken in
                tags["mlflow.parentRunId"] = str(run)
            store.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(key, value, f"child-{number}") for key, value in tags.items()],
            )
    parent.finish("FINISHED")
    assert parent.wait(120.0).complete
    found = stored(root / "mlflow.db")
    assert {above for _, _, above in found.values()} == {None, parent.uid}
    assert sum(above is not None for _, _, above in found.values()) == 1010


@pytest.mark.slow
def test_a_server_that_comes_late_gets_parent_and_children_once(root: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        parent = parent_in(root, server.uri, deliver=True)
        children = [child_in(root, parent.uid, server.uri) for _ in range(3)]
        parent.finish("FINISHED")
        assert not parent.wait(1.0).complete
        server.start()
        for recorder in (parent, *children):
            assert recorder.wait(120.0).complete
        database = Path(server.database.removeprefix("sqlite:///"))
        expected = {child.uid: ("child", "FINISHED", parent.uid) for child in children}
        assert stored(database) == {parent.uid: ("both", "FINISHED", None), **expected}
    finally:
        server.close()
