"""Addresses of stores that are none: whoever only wants to look makes nothing there."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_support import dlframe, one_sentence
from fault_support import postgres
from sqlalchemy import create_engine, inspect

from dlframe.cli.main import main
from dlframe.tracking.recorder import Recorder

READERS = [
    ["compare"], ["runs"], ["runs", "show", "zzzz"], ["runs", "reap"], ["replay", "zzzz"],
    ["test", "zzzz"], ["ui"],
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run that was not delivered, an empty file, and a database of something else."""
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(Path("runs"), uri=None, experiment="e", run_name=None, deliver=False)
    recorder.finish("FINISHED")
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE studies (study_id INTEGER)")
    return tmp_path


def files(place: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in place.rglob("*")}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:///nope.db", "there is no store '{}/nope.db'; give --uri one that exists"),
        (
            "sqlite:///empty.db",
            "sqlite:///{}/empty.db holds no runs of MLflow's; give --uri the store",
        ),
        (
            "sqlite:///other.db",
            "sqlite:///{}/other.db holds no runs of MLflow's; give --uri the store",
        ),
        ("sqlite://", "--uri 'sqlite://' is no database"),
        ("sqlite:///:memory:", "there is no store '{}/:memory:'"),
        ("", "--uri '' is no database"),
        ("runs/mlflow.db", "--uri 'runs/mlflow.db' is no database"),
    ],
)
@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_what_is_no_store_is_told_and_left_alone(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], uri: str, said: str
) -> None:
    before = files(place)
    assert main([*words, "--uri", uri]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert one_sentence(told.err).startswith(said.format(place))
    assert files(place) == before


def test_mlflow_prints_nothing_of_its_own(place: Path) -> None:
    done = dlframe("runs", "--uri", "sqlite:///nope.db", cwd=place)
    assert (done.returncode, done.stdout) == (1, "")
    assert one_sentence(done.stderr).startswith("there is no store")


def test_an_empty_database_of_a_server_stays_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgres() as uri:
        assert main(["runs", "--uri", uri, "--root", str(tmp_path)]) == 1
        said = one_sentence(capsys.readouterr().err)
        assert said.endswith("holds no runs of MLflow's; give --uri the store that they are in")
        with closing(create_engine(uri).connect()) as connection:
            assert inspect(connection).get_table_names() == []
