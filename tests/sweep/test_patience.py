"""Storages that go away: for a while, for good, and while somebody wants the end."""

import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest

from dlframe.errors import StorageError
from dlframe.sweep.patience import wait_again, wait_no_more
from dlframe.sweep.storage import journal_of, open_storage


def _search(study: optuna.Study, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1) ** 2)


_PROXY = """
import sys, optuna
optuna.storages.run_grpc_proxy_server(
    optuna.storages.RDBStorage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


def _proxy(place: Path, port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _PROXY, f"sqlite:///{place}/study.db", str(port)],
        stderr=subprocess.DEVNULL,
    )


def test_a_storage_that_is_away_for_a_while_is_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _proxy(tmp_path, port)
    try:
        study = optuna.create_study(
            study_name="s", storage=open_storage(f"grpc://127.0.0.1:{port}")
        )
        _search(study, 2)
        server.kill()
        server.wait()
        worker = threading.Thread(target=_search, args=(study, 3), daemon=True)
        worker.start()
        worker.join(7)
        assert worker.is_alive()
        server = _proxy(tmp_path, port)
        worker.join(60)
        assert not worker.is_alive()
        assert [t.state.name for t in study.trials].count("COMPLETE") == 5
        assert capfd.readouterr().err.count("does not answer") == 1
    finally:
        server.kill()
        server.wait()


def test_a_study_whose_folder_is_deleted_is_gone(tmp_path: Path) -> None:
    url = journal_of("s", tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    shutil.rmtree(tmp_path / "studies")
    with pytest.raises(StorageError, match=r"is gone: there is no .* begin the study anew"):
        _search(study, 1)


def test_the_end_is_not_waited_for_by_each_connection_anew(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _proxy(tmp_path, port)
    url = f"grpc://127.0.0.1:{port}"
    try:
        study = optuna.create_study(study_name="s", storage=open_storage(url))
        shown = optuna.load_study(study_name="s", storage=open_storage(url))
    finally:
        server.kill()
        server.wait()
    try:
        waiting = ThreadPoolExecutor()
        first = waiting.submit(study.ask)
        with pytest.raises(TimeoutError):
            first.result(3)
        wait_no_more()
        for asked in (first, waiting.submit(shown.ask), waiting.submit(study.ask)):
            with pytest.raises(Exception, match="UNAVAILABLE"):
                asked.result(30)
    finally:
        wait_again()
        waiting.shutdown()
