import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pynvml

from dlframe.tracking.system_metrics import SAMPLES, Monitor, samples

EVERY = 1e-3
NAMES = {
    "system/cpu_percent", "system/memory_percent", "system/process_cpu_percent",
    "system/process_memory_mib",
}  # fmt: skip


def monitor(
    pid: int, host: str = "", since: int | None = None, gpus: tuple[str, ...] = ()
) -> Monitor:
    process = {"pid": pid, "host": host or socket.gethostname(), "every": EVERY, "gpus": list(gpus)}
    return Monitor(process, time.time_ns() // 1_000_000 if since is None else since)


def sampled(watch: Monitor, folder: Path, step: int = 0) -> bool:
    """Whether the monitor measures once it is time to, which it soon is."""
    for _ in range(5):
        time.sleep(10 * EVERY)
        if watch.sample(folder, step):
            return True
    return False


_BUSY = """
import subprocess, sys
block = bytearray(200 * 2**20)
code = "b = bytearray(150 * 2**20); print(1, flush=True); input()"
pipe = subprocess.PIPE
child = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
child.stdout.readline()
print("ready", flush=True)
while True:
    pass
"""


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            watch = monitor(process.pid)
            burnt = psutil.Process(process.pid).cpu_times().user + 0.5
            while psutil.Process(process.pid).cpu_times().user < burnt:
                time.sleep(0.01)
            assert sampled(watch, tmp_path, step=7)
        finally:
            for each in psutil.Process(process.pid).children():
                each.kill()
            process.kill()
    ((record,), end) = samples(tmp_path, 0)
    values = record.body["values"]
    assert set(values) == NAMES
    assert record.body["step"] == 7
    assert values["system/process_memory_mib"] > 350
    assert values["system/process_cpu_percent"] > 0
    assert 0 < values["system/memory_percent"] < 100
    assert end == (tmp_path / SAMPLES).stat().st_size
    assert not sampled(watch, tmp_path), "the process has ended"


def test_a_process_of_another_machine_or_another_time_is_left_alone(tmp_path: Path) -> None:
    """Its number may be that of any process here."""
    assert not sampled(monitor(os.getpid(), host="elsewhere"), tmp_path)
    assert not sampled(monitor(os.getpid(), since=1000), tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not sampled(monitor(gone.pid), tmp_path)
    assert not (tmp_path / SAMPLES).exists()


def test_the_step_never_goes_back(tmp_path: Path) -> None:
    """A run's summaries are recorded at step 0, after its curves."""
    watch = monitor(os.getpid())
    for step in (5, 9, 0):
        assert sampled(watch, tmp_path, step)
    assert [record.body["step"] for record in samples(tmp_path, 0)[0]] == [5, 9, 9]


def test_samples_are_read_on_from_where_one_has_come_to(tmp_path: Path) -> None:
    lines = [json.dumps({"time": i, "step": i, "values": {"system/a": i}}) for i in range(4)]
    path = tmp_path / SAMPLES
    assert samples(tmp_path, 0) == ([], 0)
    path.write_text(f"{lines[0]}\n{lines[1]}\n{lines[2][:9]}")
    found, place = samples(tmp_path, 0)
    assert [record.time for record in found] == [0, 1]
    path.write_text(f"{lines[0]}\n{lines[1]}\n{lines[2]}\n")
    found, place = samples(tmp_path, place)
    assert [record.time for record in found] == [2]
    with path.open("a") as file:  # a full disk tore one line, the next begins behind it
        file.write(f"{lines[3][:9]}{lines[3]}\n{lines[3]}\n")
    found, place = samples(tmp_path, place)
    assert [record.time for record in found] == [3]
    assert samples(tmp_path, place) == ([], place)


def test_each_gpu_is_measured_and_an_unknown_one_is_none(tmp_path: Path) -> None:
    gpus: tuple[str, ...] = ()
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        gpus = tuple(pynvml.nvmlDeviceGetUUID(handle) for handle in handles)
    except pynvml.NVMLError:
        gpus = ()
    assert sampled(monitor(os.getpid(), gpus=(*gpus, "GPU-unknown")), tmp_path)
    ((record,), _) = samples(tmp_path, 0)
    names = {name for name in record.body["values"] if name not in NAMES}
    expected = {
        f"system/gpu{i}_{what}" for i in range(len(gpus)) for what in ("percent", "memory_mib")
    }
    assert expected <= names
    assert not any(f"gpu{len(gpus)}" in name for name in names)
