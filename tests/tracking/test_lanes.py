"""Runs, sinks and stores that are broken or hang, beside others that must go on."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fault_proxy import Proxy
from fault_support import free_port, until
from tracking_support import sql

from dlframe.plugin import registry
from dlframe.tracking import sync
from dlframe.tracking.earlier import unfinished
from dlframe.tracking.launch import LOCK, LOG, ensure_delivery
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.spool import FILE, MARKER
from dlframe.tracking.system_metrics import SAMPLES

pytest_plugins = ["tracking_fixtures"]

PLUGIN = '''
from dlframe import Component, hookimpl
from dlframe.tracking.sinks import Sink

class Paths(Sink):
    """Keeps a path in its state, where only plain values may be."""
    def deliver(self, run, records, state):
        if not (run.folder / "mended").exists():
            state["file"] = run.folder / "lines.txt"
        yield records[-1].seq

@hookimpl
def dlframe_sinks():
    yield Component(name="paths", target=__name__ + ":Paths", summary="a mistake")
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a plugin with a sink that is wrong, for the processes to come and for this one."""
    facts = tmp_path / "site" / "wrongly-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts.parent / "wrongly.py").write_text(PLUGIN)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: wrongly\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[dlframe]\nwrongly = wrongly\n")
    monkeypatch.setenv("PYTHONPATH", str(facts.parent))
    monkeypatch.syspath_prepend(str(facts.parent))
    registry.cache_clear()
    yield
    monkeypatch.undo()
    registry.cache_clear()
    sys.modules.pop("wrongly", None)


@pytest.mark.usefixtures("plugin")
def test_a_sink_that_keeps_what_cannot_be_kept_goes_on_when_it_is_mended(root: Path) -> None:
    first, second = (
        Recorder(root, uri=None, experiment="e", run_name=None, sinks=("paths",)) for _ in range(2)
    )
    (second.folder / "mended").touch()
    for recorder in (first, second):
        recorder.metrics({"a": 1.0}, 1)
        recorder.finish("FINISHED")
    assert second.wait(60).complete, "the other run waited"
    until(lambda: first.wait(0).error)
    said = "the sink 'paths' must keep plain values in its state, and JSON cannot hold these ("
    assert str(first.wait(0).error).startswith(said)
    (first.folder / "mended").touch()
    delivery = first.wait(60)
    assert (delivery.complete, delivery.error) == (True, None)


def begun(folder: Path) -> None:
    """Leave what a process leaves that dies while it makes its spool."""
    folder.mkdir()
    (folder / FILE).touch()
    (folder / MARKER).touch()


def test_runs_that_were_never_begun_or_are_broken_hold_up_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "20261121-000000-torn").mkdir()
    (root / "20261121-000000-torn" / FILE).write_bytes(b"this is no database" * 100)
    begun(root / "20261121-000000-none")
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, deliver=False)
    recorder.finish("FAILED")
    assert list(unfinished(root)) == [recorder.folder]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "torn/spool.db' cannot be read (file is not a database); move it away" in said[0]
    assert "none/spool.db' is empty, since its process died before it recorded anything" in said[1]
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(root), "--json"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == sorted(said)
    answer = json.loads(done.stdout)
    assert [(run["run"], run["complete"]) for run in answer["runs"]] == [(recorder.uid, True)]
    assert len(answer["skipped"]) == 2


def test_the_delivery_process_forgets_a_run_that_was_never_begun(root: Path) -> None:
    begun(root / "20261121-000000-none")
    ensure_delivery(root)
    until(lambda: not (root / "20261121-000000-none" / MARKER).exists())
    log = (root / LOG).read_text()
    assert log.count("20261121-000000-none") == 1
    assert "its process ended before it recorded anything" in log


def test_a_server_that_hangs_holds_up_no_other_store(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")  # longer than the test waits
    proxy = Proxy(free_port())
    proxy.set("hang")
    try:
        uri = f"http://127.0.0.1:{proxy.port}"
        stuck = Recorder(root, uri=uri, experiment="e", run_name=None)
        stuck.metrics({"a": 1.0}, 1)
        until(lambda: proxy.asked)
        other = Recorder(root, uri=None, experiment="e", run_name=None)
        other.metrics({"a": 1.0}, 1)
        other.finish("FINISHED")
        until(lambda: other.wait(0).complete)
        stuck.finish("FINISHED")
        # Sent elsewhere, the run does not wait for that server either.
        command = [sys.executable, "-m", "dlframe", "sync", str(root), "--json"]
        done = subprocess.run(
            [*command, "--uri", f"sqlite:///{root / 'mlflow.db'}"],
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    finally:
        proxy.close()
    assert sql(root / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",), ("FINISHED",)]


def test_a_run_can_be_sent_elsewhere_at_any_moment(root: Path, tmp_path: Path) -> None:
    recorder = Recorder(root, uri=None, experiment="e", run_name=None)
    recorder.metrics({"a": 1.0}, 1)
    recorder.finish("FINISHED")
    assert recorder.wait(120).complete
    for number in range(2):  # to a new store, and on as soon as it is there
        store = tmp_path / f"{number}.db"
        assert sync.release([recorder.folder], f"sqlite:///{store}") == ([recorder.folder], [])
        found = sync.wait([recorder.folder], 120, lambda *_: None)[recorder.folder]
        assert found.complete, found
        assert sql(store, "SELECT status FROM runs") == [("FINISHED",)]


def test_a_backlog_of_samples_is_not_read_while_the_server_is_away(root: Path) -> None:
    recorder = Recorder(root, uri="http://127.0.0.1:1", experiment="e", run_name=None)
    values = {f"system/{name}": 1.5 for name in ("cpu_percent", "memory_percent", "gpu0_percent")}
    lines = [
        json.dumps({"time": 1_700_000_000_000 + step, "step": step, "values": values})
        for step in range(8_000)
    ]
    (recorder.folder / SAMPLES).write_text("\n".join(lines) + "\n")
    recorder.finish("FINISHED")
    until(lambda: recorder.wait(0).error)
    process = psutil.Process(int((root / LOCK).read_text()))
    before = process.io_counters().read_chars
    threading.Event().wait(3.0)
    assert process.io_counters().read_chars - before < (recorder.folder / SAMPLES).stat().st_size
    # To a store that takes them, they go in parts.
    uri = f"sqlite:///{root / 'mlflow.db'}"
    assert sync.release([recorder.folder], uri) == ([recorder.folder], [])
    assert sync.wait([recorder.folder], 120, lambda *_: None)[recorder.folder].complete
    assert sql(root / "mlflow.db", "SELECT count(*) FROM metrics") == [(24_000,)]
