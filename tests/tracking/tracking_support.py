"""What the tests of tracking share beside their fixtures."""

import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlframe.tracking.launch import LOCK
from dlframe.tracking.recorder import Delivery


def end_delivery(root: Path) -> int | None:
    """Kill the delivery process of ``root`` with SIGKILL and return its id, if one runs."""
    text = (root / LOCK).read_text() if (root / LOCK).exists() else ""
    if not text.strip():
        return None
    pid = int(text)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if str(root).encode() not in command:  # the number may belong to another process by now
            return None
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid


def sql(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


@dataclass
class Delivered:
    """A finished run with one of everything, and the ledger of its metrics."""

    root: Path
    folder: Path
    uid: str
    delivery: Delivery
    ledger: set[tuple[str, int, float]]
    times: tuple[int, int]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return sql(self.root / "mlflow.db", query)
