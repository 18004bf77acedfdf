"""``dlframe doctor``: what works here, what does not, and what to do about it."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from dlframe.cli.parser import command_parser
from dlframe.plugin import registry

__all__ = ["run"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    area: str
    state: Literal["ok", "warning", "error"]
    text: str
    remedy: str = ""


def run(argv: list[str]) -> int:
    """Print what was found; exit 1 where something does not work."""
    parser = command_parser(
        "doctor",
        "Check versions, devices, stores and plugins, each with a remedy.",
        "",
        "--uri http://127.0.0.1:5000 --json",
    )
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--uri", help="MLflow server or database to check")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    findings: list[Finding] = []
    checks: list[Callable[[], Iterator[Finding]]] = [
        _versions,
        _devices,
        lambda: _store(Path(arguments.root), arguments.uri),
        _plugins,
    ]
    for check in checks:
        for finding in check():
            findings.append(finding)
            if not arguments.json:
                print(f"{finding.state:<8} {finding.area:<9} {finding.text}")
                if finding.remedy:
                    print(f"{'':<18} -> {finding.remedy}")
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    return int(any(finding.state == "error" for finding in findings))


def _versions() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    python = sys.version.split()[0]
    yield Finding("version", "ok", f"python {python}")
    for text in requires("dlframe") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(
                "version", "error", f"{requirement.name} is missing", f"pip install '{requirement}'"
            )
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding("version", "ok", f"{requirement.name} {found}")
        else:
            yield Finding(
                "version",
                "error",
                f"{requirement.name} {found}, but dlframe needs {requirement.specifier}",
                f"pip install '{requirement}'",
            )


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("device", "error", f"torch does not import: {error}", "pip install torch")
        return
    yield Finding("device", "ok", f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            memory = facts.total_memory / 2**30
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            yield Finding("device", "ok", f"cuda:{number} {facts.name}, {memory:.0f} GiB, {bf16}")
    elif torch.version.cuda:
        yield Finding(
            "device",
            "warning",
            f"torch was built for CUDA {torch.version.cuda}, but sees no GPU",
            "check the driver with nvidia-smi",
        )
    if torch.backends.mps.is_available():
        yield Finding("device", "ok", "mps (Apple GPU)")


def _store(root: Path, uri: str | None) -> Iterator[Finding]:
    place = root if root.is_dir() else root.absolute().parent
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            free = shutil.disk_usage(place).free / 2**30
        state: Literal["ok", "warning"] = "ok" if free > 1 else "warning"
        remedy = "" if free > 1 else "free space, or choose another folder with tracking.root"
        yield Finding("store", state, f"{root.absolute()} is writable, {free:.1f} GiB free", remedy)
    except OSError as error:
        yield Finding(
            "store",
            "error",
            f"{place} is not writable ({error.strerror})",
            "choose another folder with tracking.root",
        )
    if uri is None and not (root / "mlflow.db").exists():
        yield Finding("store", "ok", "no MLflow store yet; the first run makes one")
        return
    from dlframe.tracking.launch import resolve_uri

    address = resolve_uri(uri, root.absolute())
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from mlflow.tracking import MlflowClient

    try:
        count = len(MlflowClient(tracking_uri=address).search_experiments())
        yield Finding("store", "ok", f"{address} answers, {count} experiments")
    except Exception as error:  # whatever a store may answer is what is reported here
        yield Finding(
            "store",
            "error",
            f"{address} does not answer: {str(error).splitlines()[0][:200]}",
            "start the server, or choose another with tracking.uri",
        )


def _plugins() -> Iterator[Finding]:
    for plugin in registry().plugins:
        name = f"{plugin.name} {plugin.version}".strip()
        if plugin.status == "broken":
            yield Finding(
                "plugin",
                "error",
                plugin.explain(),
                f"pip install --upgrade {plugin.distribution}, or DLFRAME_BLOCK={plugin.name}",
            )
        elif plugin.status == "blocked":
            yield Finding(
                "plugin", "warning", f"{name} is blocked", "see DLFRAME_PLUGINS, DLFRAME_BLOCK"
            )
        elif plugin.eager:
            yield Finding(
                "plugin",
                "warning",
                f"{name} imports torch when it is listed",
                "ask its author to name targets as strings",
            )
        else:
            yield Finding("plugin", "ok", f"{name}, {len(plugin.entries)} components")
