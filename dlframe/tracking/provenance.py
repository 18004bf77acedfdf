"""Where a run comes from: command, machine and package versions. Imports no torch.

Values of environment variables are not recorded, but for the numbers that SLURM gives a job.
"""

import os
import platform
import re
import shlex
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, entry_points, version
from pathlib import Path
from typing import Any

from dlframe.tracking.redaction import redacted_values

__all__ = [
    "command_line",
    "environment",
    "machine_tags",
    "package_list",
    "provenance_tags",
    "requirements",
    "version_tags",
]

_CORE = ("dlframe", "torch", "lightning", "mlflow")
_HEAD = re.compile(r"(?m)^(Name|Version): (\S+)")
_SLURM = {
    "job_id": "SLURM_JOB_ID",
    "step_id": "SLURM_STEP_ID",
    "array_job_id": "SLURM_ARRAY_JOB_ID",
    "array_task_id": "SLURM_ARRAY_TASK_ID",
    "nodes": "SLURM_JOB_NODELIST",
}
"""The variables of the environment that are recorded; no other is."""


def command_line(words: Sequence[str] | None = None) -> str:
    """Return a command as it can be typed again, without secrets; None means this process's."""
    words = list(sys.argv if words is None else words)
    if words:
        words[0] = Path(words[0]).name
    return shlex.join(redacted_values(words))


def provenance_tags(command: Sequence[str] | None = None) -> dict[str, str]:
    """Return tags that say which command, machine and versions a run comes from.

    Args:
        command: the command line; None means this process's.
    """
    line = command_line(command)
    return {
        "mlflow.source.name": line,
        "mlflow.source.type": _source_type(),
        "dlframe.command": line,
        **_slurm_tags(),
        **machine_tags(),
        **version_tags(),
    }


def _source_type() -> str:
    """Return one of the words that MLflow's pages have pictures for."""
    if any(name in os.environ for name in _SLURM.values()):
        return "JOB"
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "NOTEBOOK" if hasattr(shell, "kernel") else "LOCAL"


def machine_tags() -> dict[str, str]:
    """Return host, platform, usable cores and, where torch is in use, the accelerators."""
    tags = {
        "dlframe.host": socket.gethostname(),
        "dlframe.platform": platform.platform(),
        "dlframe.python": platform.python_version(),
        "dlframe.cores": str(_cores()),
    }
    if devices := [device["name"] for device in _accelerators()]:
        tags["dlframe.devices"] = ", ".join(devices)
    return tags


def environment() -> dict[str, Any]:
    """Return what of machine, libraries and process may change a result, as plain values.

    ``threads`` and ``cpu_capability`` are here because sums of floating numbers are split among
    threads and vector lanes: with others, the last bits differ.
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": _cpu_name(),
        "cores": _cores(),
        "memory": _memory(),
        "driver": _driver(),
        "slurm": _slurm(),
        "hash_seed_fixed": not sys.flags.hash_randomization,
    }
    torch = sys.modules.get("torch")
    if torch is None:
        return facts
    backends = torch.backends
    return facts | {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": backends.cudnn.version(),
        "devices": _accelerators(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": backends.cpu.get_cpu_capability(),
        "mkldnn": backends.mkldnn.is_available(),
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
            "cudnn_deterministic": backends.cudnn.deterministic,
            "cudnn_benchmark": backends.cudnn.benchmark,
            "cublas_workspace_set": "CUBLAS_WORKSPACE_CONFIG" in os.environ,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "flush_denormal": _flushes_denormals(torch),
        },
    }


def _accelerators() -> list[dict[str, Any]]:
    """Return name, memory in bytes and identity of each visible accelerator, where torch is in use."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {"name": each.name, "memory": each.total_memory, "uuid": f"GPU-{each.uuid}"}
        for each in found
    ]


def _flushes_denormals(torch: Any) -> bool:
    """Whether the smallest numbers become zero; torch can set this and does not say it."""
    return bool((torch.tensor([1e-310], dtype=torch.float64) * 1.0 == 0.0).item())


def _slurm() -> dict[str, str]:
    return {key: os.environ[name] for key, name in _SLURM.items() if name in os.environ}


def _slurm_tags() -> dict[str, str]:
    return {f"dlframe.slurm.{key}": value for key, value in _slurm().items()}


def _cpu_name() -> str | None:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _memory() -> int | None:
    """Return the machine's memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver."""
    for line in _lines(Path("/proc/driver/nvidia/version")):
        if found := re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", line):
            return found[1]
    return None


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of the system's; none where the system has no such file."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def version_tags() -> dict[str, str]:
    """Return the versions of dlframe, torch, lightning, mlflow and of each loaded plugin."""
    from dlframe.plugin import BUILTIN, registry

    tags = {f"dlframe.version.{name}": found for name in _CORE if (found := _version(name))}
    for plugin in registry().plugins:
        if plugin.status == "ok" and plugin.name != BUILTIN:
            label = f"{plugin.distribution} {plugin.version}".strip()
            tags[f"dlframe.plugin.{plugin.name}"] = label
    return tags


def package_list() -> str:
    """Return all installed distributions as ``name==version`` lines, sorted."""
    found = set()
    for each in distributions():
        # Parsing the whole of each one's metadata, as `each.version` does, takes ten times as long.
        text = each.read_text("METADATA") or each.read_text("PKG-INFO") or ""
        head = dict(_HEAD.findall(text.partition("\n\n")[0]))
        if len(head) == 2:
            found.add(f"{head['Name']}=={head['Version']}")
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def requirements() -> list[str]:
    """Return what a process needs to load a logged model: dlframe, its core, plugins; pinned."""
    plugins = {point.dist.name for point in entry_points(group="dlframe") if point.dist}
    names = [*_CORE, *sorted(plugins - set(_CORE))]
    # The local part (2.13.0+cpu) says how a wheel was built; no index serves it under that version.
    return [f"{name}=={found.partition('+')[0]}" for name in names if (found := _version(name))]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
