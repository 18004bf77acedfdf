"""What the benchmarks share: interleaved repeats, medians, ratios, and the facts a table needs."""

import os
import platform
import pty
import statistics
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

__all__ = ["facts", "interleaved", "median", "ratio", "table", "terminal"]

T = TypeVar("T")


def interleaved(contenders: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Call the contenders in turn, ABAB..., so that a busy machine is busy for all of them."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(repeats):
        for name, call in contenders.items():
            print(f"  repeat {number + 1}/{repeats}: {name}", file=sys.stderr, flush=True)
            found[name].append(call())
    return found


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of the ratios within each repeat, in which both met the same load."""
    return statistics.median(a / b for a, b in zip(values, base, strict=True))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        aligned = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        return "| " + " | ".join([first.ljust(widths[0]), *aligned]) + " |"

    return "\n".join([line(header), line(rule), *map(line, rows)])


def facts(*packages: str) -> str:
    """Return one line with the machine, its load and the versions that the times depend on."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    found = [f"{_processor()}, {cores} cores, load {os.getloadavg()[0]:.1f}"]
    found.append(f"{platform.system()}, Python {platform.python_version()}")
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return "; ".join(found)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def terminal() -> Iterator[None]:
    """Give progress bars a terminal to draw on, whose output nobody sees."""
    os.environ["TERM"] = "xterm-256color"
    master, slave = pty.openpty()

    def drain() -> None:
        while True:
            try:
                if not os.read(master, 65536):
                    return
            except OSError:  # the other end was closed
                return

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    with os.fdopen(slave, "w") as screen, redirect_stdout(screen), redirect_stderr(screen):
        yield
    reader.join()
    os.close(master)
