"""Delivery to TensorBoard: event files in the run's folder, for ``tensorboard --logdir runs``.

Written with the messages of the ``tensorboard`` package, which needs no torch: 3 MB beside MLflow in
the delivery process, where ``torch.utils.tensorboard`` takes 200.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from dlframe.errors import StorageError
from dlframe.tracking.entries import Record
from dlframe.tracking.names import number, step, text
from dlframe.tracking.sinks import PendingRun, Sink

__all__ = ["TensorboardSink"]

_FOLDER = "tensorboard"
_PNG = b"\x89PNG\r\n\x1a\n"
_SIZE = slice(16, 24)


class TensorboardSink(Sink):
    """Writes metrics, parameters, tags and figures as TensorBoard's events."""

    def deliver(
        self, run: PendingRun, records: Sequence[Record], state: dict[str, Any]
    ) -> Iterator[int]:
        """Append to the run's event file; see ``Sink``."""
        folder = run.folder / _FOLDER
        folder.mkdir(exist_ok=True)
        path = folder / f"events.out.tfevents.{run.info.created // 1000}.{run.info.uid}"
        with open(path, "ab") as file:
            # What was written after the last place that is known comes again.
            file.truncate(state.get("bytes", 0))
            file.seek(0, 2)
            writer = RecordWriter(file)
            if file.tell() == 0:
                first = Event(wall_time=run.info.created / 1000, file_version="brain.Event:2")
                writer.write(first.SerializeToString())
            for record in records:
                for value in _values(run.folder, record):
                    event = Event(
                        wall_time=record.time / 1000,
                        step=record.body.get("step") or 0,
                        summary=Summary(value=[value]),
                    )
                    writer.write(event.SerializeToString())
            file.flush()
            state["bytes"] = file.tell()
        if records:
            yield records[-1].seq


def _values(folder: Path, record: Record) -> Iterator[Summary.Value]:
    match record.kind:
        case "metrics":
            for name, value in record.body["values"].items():
                with suppress(StorageError):  # what is none, MLflow's sink puts aside
                    step(record.body["step"])
                    yield Summary.Value(tag=text(name), simple_value=number(value))
        case "params" | "tags":
            rows = [
                f"| {text(name)} | {text(value)} |" for name, value in record.body["values"].items()
            ]
            table = "\n".join(["| name | value |", "| --- | --- |", *rows])
            yield from text_pb(f"{record.kind}/{record.seq}", table).value
        case "artifact":
            path = folder / record.body["path"]
            if path.suffix == ".png" and path.is_file():
                yield from _image(path)


def _image(path: Path) -> Iterator[Summary.Value]:
    data = path.read_bytes()
    if data.startswith(_PNG):
        width, height = struct.unpack(">II", data[_SIZE])
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=data)
        yield Summary.Value(tag=f"figures/{text(path.stem)}", image=image)
