"""Storages: addresses, a journal whose writers are killed, a database that goes away and comes back."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dlframe.errors import ConfigError, StorageError
from dlframe.sweep.patience import Patient
from dlframe.sweep.storage import find_study, journal_of, open_storage, study_names


def _search(study: optuna.Study, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1) ** 2)


def _made(root: Path, name: str = "mlp-digits") -> optuna.Study:
    return optuna.create_study(study_name=name, storage=open_storage(journal_of(name, root)))


def test_a_study_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    _search(_made(tmp_path), 2)
    _made(tmp_path, "cnn-digits")
    assert study_names(tmp_path, None) == ["cnn-digits", "mlp-digits"]
    assert len(find_study("mlp", tmp_path, None).trials) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [("mpl-digits", "did you mean 'mlp-digits'"), ("mlp", "2 studies begin with 'mlp'")],
)
def test_a_study_that_is_not_there_or_not_alone(name: str, said: str, tmp_path: Path) -> None:
    for each in ("mlp-digits", "mlp-iris"):
        _made(tmp_path, each)
    with pytest.raises(ConfigError, match=said):
        find_study(name, tmp_path, None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("study.db", "a storage is one of journal:///"),
        ("journal://study.log", "three slashes"),
        ("sqlite://study.db", "as in sqlite:///study.db, with three slashes"),
        ("grpc://localhost", "grpc://host:port"),
    ],
)
def test_an_address_that_is_none(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_storage(url)


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/study.db", "postgresql://me:hidden@localhost:1/base"]
)
def test_a_storage_that_cannot_be_reached_is_told_in_one_sentence(url: str) -> None:
    with pytest.raises(StorageError, match="cannot be opened") as raised:
        open_storage(url)
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_a_killed_writer_left_of_a_line_is_removed(tmp_path: Path) -> None:
    study = _made(tmp_path)
    _search(study, 2)
    path = tmp_path / "studies" / "mlp-digits" / "journal.log"
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x')
    _search(find_study("mlp-digits", tmp_path, None), 2)
    # Others read it, too: Optuna's own storage, as its dashboard has it.
    storage = JournalStorage(JournalFileBackend(str(path)))
    assert len(optuna.load_study(study_name="mlp-digits", storage=storage).trials) == 4


def _hold(url: str, held: "multiprocessing.synchronize.Event") -> None:
    storage = open_storage(url)
    assert isinstance(storage, Patient)
    storage._storage._backend._lock.acquire()  # type: ignore[attr-defined]
    held.set()
    time.sleep(60)


def test_the_lock_of_a_killed_writer_is_not_waited_for(tmp_path: Path) -> None:
    study = _made(tmp_path)
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(journal_of("mlp-digits", tmp_path), held))
    holder.start()
    assert held.wait(30)
    done = threading.Event()

    def write() -> None:
        _search(study, 1)
        done.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert not done.wait(0.3)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert done.wait(20)
