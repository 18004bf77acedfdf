"""Faults: MLflow's database against the trainer's own ledger, whatever dies, hangs or lies.

The full matrix is marked slow; ``benchmarks/faults.py`` prints it as a table.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from fault_scenes import FAULTS, Scene, fill, mounted, play
from fault_support import Clock, Server, Trainer, outcome, postgres, until
from tracking_support import sql

from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import Spool

pytest_plugins = ["tracking_fixtures"]


def values(step: int) -> dict[str, float]:
    return {f"train/m{i}": step + i / 20 for i in range(20)}


@contextmanager
def training(trainer: Trainer) -> Iterator[Trainer]:
    try:
        yield trainer.start()
    finally:
        trainer.close()


@pytest.mark.slow
def test_a_server_that_does_everything_wrong_gets_everything_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    server = Server(tmp_path / "server")
    proxy, store = server.proxy, tmp_path / "server" / "server.db"
    proxy.set("refuse")
    server.start(ready=False)
    try:
        uri = f"http://user:secret@127.0.0.1:{proxy.port}"
        recorder = Recorder(root, uri=uri, experiment="far", run_name="r")
        for step in range(300):
            recorder.metrics(values(step), step)
        (recorder.folder / "note.txt").write_text("hello")
        recorder.artifact(recorder.folder / "note.txt")
        # It returns although the server refuses connections until long after.
        recorder.finish("FAILED", f"it went wrong{'!' * 9000} at last")
        until(lambda: recorder.wait(0).error is not None)
        waiting = recorder.wait(0)
        assert (waiting.complete, waiting.backlog) == (False, 303)
        assert waiting.error == (
            f"http://127.0.0.1:{proxy.port} does not take the run: "
            "no connection; start the server, or mend tracking.uri"
        )
        server.ready()
        proxy.set("status", 503)
        until(lambda: proxy.asked)
        proxy.set("lose", "runs/create")
        until(lambda: proxy.lost)
        proxy.set("lose", "runs/log-batch")
        until(lambda: len(proxy.lost) >= 3)
        server.signal(signal.SIGSTOP)
        proxy.set("pass")
        until(lambda: "did not answer in time" in str(recorder.wait(0).error))
        server.signal(signal.SIGCONT)
        delivery = recorder.wait(120)
        assert delivery.complete, (tmp_path / "server" / "server.log").read_text()
        assert delivery.error is None
    finally:
        server.close()
    # A busy server may make a second run of a request that took too long; it is removed again.
    assert sum(path.endswith("runs/create") for path in proxy.asked) >= 1
    assert sql(store, "SELECT status FROM runs WHERE lifecycle_stage = 'active'") == [("FAILED",)]
    rows = sql(store, "SELECT key, step, value FROM metrics")
    assert sorted(rows) == sorted((k, s, v) for s in range(300) for k, v in values(s).items())
    (((said,),),) = [sql(store, "SELECT value FROM tags WHERE key = 'dlframe.error'")]
    assert said.startswith("(9021 characters: the whole value is in the artifact error.txt) ")
    assert said.endswith("! at last")
    assert len(said) == 8000
    served = {path.name: path for path in (tmp_path / "server" / "served").rglob("*.txt")}
    assert served["note.txt"].read_text() == "hello"
    assert len(served["error.txt"].read_text()) == 9021
    assert "secret" not in (root / "delivery.log").read_text()


def test_trainer_and_delivery_killed_then_sync(root: Path, tmp_path: Path) -> None:
    store = root / "mlflow.db"
    trainer = Trainer(tmp_path / "t", "", "e", "r", root=root, steps=100_000)
    with training(trainer):
        until(lambda: store.exists() and sql(store, "SELECT count(*) FROM metrics") > [(1000,)])
        trainer.kill()
        trainer.end_delivery()
    logged = len(trainer.logged())
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(root), "--json"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["runs"]
    assert (run["complete"], run["left"], run["refused"], run["error"]) == (True, 0, 0, None)
    found = outcome(trainer, f"sqlite:///{store}")
    assert found.logged == 20 * logged
    assert (found.whole, found.status) == (True, "KILLED")


def test_eight_runs_at_once_on_a_fresh_store(root: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"root": root, "steps": 100, "pause": 0.001, "wait": 240}
    trainers = [Trainer(tmp_path / f"t{i}", "", "e", f"r{i}", **options) for i in range(8)]
    try:
        for trainer in trainers:
            trainer.start()
        assert [trainer.end(270) for trainer in trainers] == [0] * 8
    finally:
        for trainer in trainers:
            trainer.close()
    store = root / "mlflow.db"
    found = [outcome(trainer, f"sqlite:///{store}") for trainer in trainers]
    assert [(o.whole, o.logged, o.status) for o in found] == [(True, 2000, "FINISHED")] * 8
    assert sql(store, "SELECT count(*) FROM experiments WHERE name = 'e'") == [(1,)]


def test_a_full_disk_loses_nothing_that_finds_room_before_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        recorder = Recorder(disk, uri=None, experiment="e", run_name=None, deliver=False)
        filling = fill(disk)
        for step in range(500):
            recorder.metrics(values(step), step)
        assert "disk is full" in str(recorder.wait(0).error)
        filling.unlink()
        recorder.finish("FINISHED")
        delivery = recorder.wait(0)
        assert (delivery.error, delivery.lost, delivery.backlog) == (None, 0, 502)
        spool = Spool(recorder.folder)
        kept = [(r.body["step"], r.body["values"]) for r in spool.read(1, 500)]
        spool.close()
        assert kept == [(step, values(step)) for step in range(500)]
    assert capsys.readouterr().err.count("could not be written") == 1


def test_a_clock_that_steps_back_leaves_the_recorded_times_alone(
    root: Path, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "clock")
    began = time.time() * 1000
    trainer = Trainer(
        tmp_path / "t", "", "e", "r", root=root, steps=400, wait=120, environment=clock.environment
    )
    with training(trainer):
        until(lambda: trainer.reached(0.3))
        clock.step(-3600)
        assert trainer.end() == 0
    ended = time.time() * 1000
    seen = [line["clock"] for line in trainer.lines() if "clock" in line]
    assert max(seen) - seen[-1] > 3000, "the process has not seen the step"
    [folder] = {path.parent for path in root.glob("*/spool.db")}
    spool = Spool(folder)
    times = [record.time for record in spool.read(0, 999)]
    spool.close()
    assert len(times) == 402
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= ended
    found = outcome(trainer, f"sqlite:///{root / 'mlflow.db'}")
    assert (found.whole, found.logged, found.status) == (True, 8000, "FINISHED")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with postgres() if request.param == "postgres" else nullcontext("") as database:
        made = Server(tmp_path_factory.mktemp("server"), database)
        made.start()
        yield made
        made.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_full_matrix(fault: str, server: Server, tmp_path: Path) -> None:
    # A death is known at once; a backlog takes what it takes.
    settle = 30 if fault in ("trainer killed", "both killed, then sync") else 180
    # The folder names the runs, which share a database.
    result = play(fault, Scene(server, tmp_path / tmp_path.name), settle)
    assert result.good, result
    assert set(result.codes) <= {0, -signal.SIGKILL}
