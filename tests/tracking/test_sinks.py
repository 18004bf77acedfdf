"""Sinks beside MLflow: TensorBoard, alerts, a plugin's, and one that fails."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fault_support import until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tracking_support import sql

import dlframe
from dlframe.errors import ConfigError
from dlframe.plugin import registry
from dlframe.tracking.entries import Record
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.sinks import PendingRun
from dlframe.tracking.spool import MARKER, Spool
from dlframe.tracking.tensorboard_sink import TensorboardSink

pytest_plugins = ["tracking_fixtures"]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000020000000108060000009d747e12000000104944415478da63fccf"
    "c0f09f818181010008fe0201c2c1c5d00000000049454e44ae426082"
)

PLUGIN = '''
import json
from dlframe import Component, hookimpl
from dlframe.tracking.sinks import Sink

class Lines(Sink):
    """Writes the kinds of all records into a file."""
    def deliver(self, run, records, state):
        with open(run.folder / "lines.txt", "a") as file:
            for record in records:
                file.write(record.kind + "\\n")
        yield records[-1].seq

class Broken(Sink):
    def deliver(self, run, records, state):
        raise RuntimeError("this sink never works")

@hookimpl
def dlframe_sinks():
    yield Component(name="lines", target=__name__ + ":Lines", summary="a file")
    yield Component(name="broken", target=__name__ + ":Broken", summary="nothing")
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a plugin with two sinks for the processes to come, and for this one."""
    folder = tmp_path / "site"
    (folder / "sinky-1.0.dist-info").mkdir(parents=True)
    (folder / "sinky.py").write_text(PLUGIN)
    facts = folder / "sinky-1.0.dist-info"
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: sinky\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[dlframe]\nsinky = sinky\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    registry.cache_clear()
    yield
    monkeypatch.undo()
    registry.cache_clear()
    sys.modules.pop("sinky", None)


@pytest.mark.usefixtures("plugin")
def test_a_plugins_sink_gets_all_and_a_broken_one_stops_no_other(root: Path) -> None:
    sinks = ("broken", "lines", "mlflow", "tensorboard")
    recorder = Recorder(root, uri=None, experiment="e", run_name=None, sinks=sinks)
    for step in range(100):
        recorder.metrics({"train/loss": 1 / (step + 1)}, step)
    recorder.finish("FINISHED")
    until(lambda: recorder.wait(0).mlflow_run_id)
    with closing(Spool(recorder.folder)) as spool:
        until(lambda: spool.cursor("mlflow").seq == spool.cursor("tensorboard").seq == 102)
        until(lambda: spool.cursor("lines").seq == 102)
        assert spool.cursor("broken").seq == 0
    kinds = (recorder.folder / "lines.txt").read_text().split()
    assert kinds == ["start", *["metrics"] * 100, "finish"]
    assert sql(root / "mlflow.db", "SELECT count(*) FROM metrics") == [(100,)]
    assert sql(root / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]
    found = EventAccumulator(str(recorder.folder / "tensorboard")).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in found] == [
        (step, pytest.approx(1 / (step + 1))) for step in range(100)
    ]
    until(lambda: recorder.wait(0).error)
    delivery = recorder.wait(0)
    assert (delivery.complete, delivery.error) == (False, "this sink never works")


def test_a_sink_that_is_not_there_is_one_sentence(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no 'tensorbord'; did you mean 'tensorboard'\? the sink"
    ):
        Recorder(root, uri=None, experiment="e", run_name=None, sinks=("tensorbord",))
    assert not list(root.glob("*/spool.db"))


def run_in(folder: Path, **options: Any) -> PendingRun:
    recorder = Recorder(folder, uri=None, experiment="e", run_name="r", deliver=False, **options)
    recorder.finish("FINISHED")
    with closing(Spool(recorder.folder)) as spool:
        return PendingRun(recorder.folder, spool.info(), recorder.uri)


def test_tensorboard_gets_a_record_once_although_it_is_sent_twice(root: Path) -> None:
    run = run_in(root)
    (run.folder / "roc.png").write_bytes(PNG)
    first = [Record(2, "metrics", 5000, {"step": 1, "values": {"a": 0.5}})]
    second = [
        Record(3, "metrics", 6000, {"step": 2, "values": {"a": 0.25, "b": float("nan")}}),
        Record(4, "params", 6000, {"values": {"lr": 0.1, "path": "/tmp/caf\udce9"}}),
        Record(
            4, "metrics", 6000, {"step": 2**70, "values": {"a": "none", "b": 10**400, "c": 1.0}}
        ),
        Record(5, "artifact", 6000, {"path": "roc.png", "folder": "figures"}),
    ]
    state: dict[str, Any] = {}
    assert list(TensorboardSink().deliver(run, first, state)) == [2]
    before = dict(state)
    list(TensorboardSink().deliver(run, second, state))  # it dies before this is remembered
    assert list(TensorboardSink().deliver(run, second, before)) == [5]
    assert before == state
    found = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert [(e.step, e.value, e.wall_time) for e in found.Scalars("a")] == [
        (1, 0.5, 5),
        (2, 0.25, 6),
    ]
    assert found.Tags()["images"] == ["figures/roc"]
    assert "| lr | 0.1 |" in str(found.Tensors("params/4")[0].tensor_proto.string_val)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """Give the address of a real server, what it was sent, and how it will answer."""
    sent: list[dict[str, Any]] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook-secret", sent, answers
    server.shutdown()
    thread.join()
    server.server_close()


def alerting(root: Path, **options: Any) -> Recorder:
    alert = {"command": None, "webhook": None, "stalled_after": 600.0, **options}
    alert.setdefault("on", ["diverged", "stalled", "failed", "finished"])
    return Recorder(root, uri=None, experiment="e", run_name="r", sinks=(), alert=alert)


def test_a_webhook_and_a_command_are_told_what_happens(
    root: Path,
    webhook: tuple[str, list[dict[str, Any]], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, sent, answers = webhook
    monkeypatch.setenv("HOOK", address)
    answers.append(503)  # once; then it works
    told = root / "told.jsonl"
    script = root / "tell.py"
    script.write_text(f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + '\\n')")
    recorder = alerting(
        root, webhook="$HOOK", command=f"{sys.executable} {script}", stalled_after=0.5
    )
    recorder.metrics({"train/loss": 0.5}, 1)
    until(lambda: len(sent) >= 2)
    recorder.metrics({"train/loss": float("nan")}, 7)
    recorder.metrics({"train/loss": float("nan")}, 8)
    recorder.finish("FAILED", "Traceback\nRuntimeError: password=hunter2 of no use")
    delivery = recorder.wait(120)
    assert (delivery.complete, delivery.error) == (True, None)
    events = [message["event"] for message in sent]
    assert events == ["stalled", "stalled", "diverged", "failed"]  # the first was not taken
    assert sent[2]["text"] == f"r ({recorder.uid}) diverged: train/loss is nan at step 7"
    assert sent[3]["text"].startswith(f"r ({recorder.uid}) failed: RuntimeError: ")
    assert "hunter2" not in str(sent)
    assert {message["run"] for message in sent} == {recorder.uid}
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert [line["event"] for line in lines][-2:] == ["diverged", "failed"]
    until(lambda: not (recorder.folder / MARKER).exists())
    for path in (*recorder.folder.iterdir(), root / "delivery.log"):
        assert b"hook-secret" not in content(path), path


def content(path: Path) -> bytes:
    """Read a file, if it is still there: SQLite removes its own when the last process has ended."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_an_alert_that_cannot_be_sent_is_said_and_holds_nothing_up(root: Path) -> None:
    recorder = alerting(root, command="/no/such/program", on=["finished"])
    recorder.metrics({"train/loss": float("nan")}, 7)  # not asked for
    recorder.finish("FINISHED")
    delivery = recorder.wait(120)
    assert delivery.complete
    assert delivery.error is not None
    assert delivery.error.startswith("tracking.alert_command could not be run (")


def test_the_sinks_are_public() -> None:
    assert hasattr(dlframe, "hookimpl")
    assert registry().names("sink") == ["alert", "mlflow", "tensorboard"]
