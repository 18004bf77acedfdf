"""What a training takes of its machine, measured from outside by the delivery process.

Each sample is a line in the run's folder first, so that no outage of a store loses one; the training
process does nothing for it and waits for nothing.
"""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pynvml

from dlframe.tracking.spool import Record

__all__ = ["SAMPLES", "Monitor", "has_samples", "samples"]

SAMPLES = "system.jsonl"
"""The file in a run's folder that holds the samples."""
_FIRST_AFTER = 1.0
_MIB = 2**20
_AT_ONCE = 2**18
"""Bytes; a line has some hundreds."""


class Monitor:
    """Measures one training process with its children, and the machine and GPUs they run on.

    Names are ``system/cpu_percent`` and ``system/memory_percent`` of the machine,
    ``system/process_cpu_percent`` (100 is one core) and ``system/process_memory_mib`` of the processes,
    and of each GPU ``system/gpu0_percent``, ``_memory_mib``, ``_power_watts`` and ``_celsius``.

    Args:
        process: ``pid`` and ``host`` of the training process, the seconds ``every`` from one sample to
            the next, and ``gpus``, identities of the GPUs that it may use.
        since: when that was recorded, in ms since 1970.
    """

    def __init__(self, process: Mapping[str, Any], since: int) -> None:
        self._every = float(process["every"])
        self._due = time.monotonic() + min(_FIRST_AFTER, self._every)
        self._step = 0
        self._known: dict[int, psutil.Process] = {}
        self._main: psutil.Process | None = None
        self._gpus = list(process["gpus"])
        if process["host"] != socket.gethostname():  # the folder is shared with that machine
            return
        with suppress(psutil.Error):
            found = psutil.Process(int(process["pid"]))
            # A process that began later has only inherited the number.
            if found.create_time() * 1000 <= since + 1000:
                self._main = found
                self._usage()  # psutil measures from one call to the next
                psutil.cpu_percent()

    def sample(self, folder: Path, step: int) -> bool:
        """Measure if it is time to, and add the values to the run's file; say whether it was done.

        Args:
            folder: the run's folder.
            step: the latest optimizer step that is known.

        Raises:
            OSError: the file cannot be written.
        """
        now = time.monotonic()
        if self._main is None or now < self._due:
            return False
        self._due = now + self._every
        self._step = max(self._step, step)  # summaries are recorded at step 0
        values = self._measure()
        if values is None:  # the process has ended
            self._main = None
            return False
        line = {"time": time.time_ns() // 1_000_000, "step": self._step, "values": values}
        with open(folder / SAMPLES, "a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        return True

    def _measure(self) -> dict[str, float] | None:
        usage = self._usage()
        if usage is None:
            return None
        percent, resident = usage
        memory = psutil.virtual_memory()
        values = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": memory.percent,
            "process_cpu_percent": percent,
            "process_memory_mib": resident / _MIB,
        }
        values |= _gpu_values(self._gpus)
        return {f"system/{name}": value for name, value in values.items()}

    def _usage(self) -> tuple[float, int] | None:
        """Return CPU percent since the last call, and resident bytes, of process and children."""
        assert self._main is not None
        try:
            family = [self._main, *self._main.children(recursive=True)]
        except psutil.Error:
            return None
        # The objects are kept: each remembers the time of its last measurement.
        self._known = {p.pid: self._known.get(p.pid, p) for p in family}
        percent, resident = 0.0, 0
        for process in self._known.values():
            with suppress(psutil.Error):  # a child may end at any time
                percent += process.cpu_percent()
                resident += process.memory_info().rss
        return percent, resident


def _gpu_values(identities: list[str]) -> dict[str, float]:
    """Measure the GPUs of these identities, in the order given; none where there is no driver."""
    values: dict[str, float] = {}
    if not identities:
        return values
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return values
    try:
        for number, identity in enumerate(identities):
            with suppress(pynvml.NVMLError):  # a GPU may lack a sensor; what was read so far counts
                gpu = pynvml.nvmlDeviceGetHandleByUUID(identity)
                values[f"gpu{number}_percent"] = float(
                    pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu
                )
                used = pynvml.nvmlDeviceGetMemoryInfo(gpu).used
                values[f"gpu{number}_memory_mib"] = used / _MIB
                values[f"gpu{number}_power_watts"] = pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000
                celsius = pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
                values[f"gpu{number}_celsius"] = float(celsius)
    finally:
        pynvml.nvmlShutdown()
    return values


def has_samples(folder: Path, start: int) -> bool:
    """Whether there is something from byte ``start`` on, without reading it."""
    try:
        return (folder / SAMPLES).stat().st_size > start
    except FileNotFoundError:
        return False


def samples(folder: Path, start: int) -> tuple[list[Record], int]:
    """Return samples from byte ``start`` on as records of metrics, and where the next will begin.

    A backlog of many is returned in parts of some hundreds; where there are none, nothing is left.
    Sending one again changes nothing: time and step are in the line.
    """
    if not has_samples(folder, start):
        return [], start
    with open(folder / SAMPLES, "rb") as file:
        file.seek(start)
        found = file.read(_AT_ONCE)
    whole = found[: found.rfind(b"\n") + 1]  # the last line may be half written still
    records = []
    for line in whole.splitlines():
        try:
            values = json.loads(line)
        except ValueError:  # a full disk or a power cut tore it
            continue
        body = {"step": values["step"], "values": values["values"]}
        records.append(Record(0, "metrics", values["time"], body))
    return records, start + len(whole)
