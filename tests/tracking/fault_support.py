"""What the fault matrix is made of: servers, databases, trainers with a ledger of their own."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fault_proxy import Proxy
from tracking_support import end_delivery

__all__ = ["Clock", "Outcome", "Server", "Trainer", "free_port", "postgres", "rows_of", "until"]

_PROGRAMS = Path("/usr/lib/postgresql/15/bin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 120.0, what: str = "it") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Clock:
    """A wall clock for the processes that are started with its ``environment``.

    Args:
        folder: an empty one, for its files.
    """

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.step(0)
        source = Path(__file__).with_name("fault_clock.c")
        try:
            command = ["cc", "-shared", "-fPIC", "-o", str(self.folder / "clock.so"), str(source)]
            subprocess.run(command, check=True)
        except FileNotFoundError:
            pytest.skip("there is no C compiler")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.folder / "clock.so"),
            "FAULT_CLOCK": str(self.folder / "seconds"),
        }

    def step(self, seconds: int) -> None:
        """Set it so many seconds ahead of the computer's."""
        path = self.folder / "seconds"
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


class Server:
    """A real MLflow server with a proxy before it.

    Args:
        folder: for its files.
        database: SQLAlchemy address of its database; empty means SQLite in ``folder``.
    """

    def __init__(self, folder: Path, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.database = database or f"sqlite:///{folder / 'server.db'}"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.proxy = Proxy(self._port)
        self.uri = f"http://127.0.0.1:{self.proxy.port}"

    def start(self, *, ready: bool = True) -> None:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                       "MLFLOW_DISABLE_TELEMETRY": "true"}  # fmt: skip
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port",
            str(self._port), "--workers", "1", "--backend-store-uri", self.database,
            "--artifacts-destination", str(self._folder / "served"),
        ]  # fmt: skip
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        if ready:
            self.ready()

    def ready(self) -> None:
        until(self._answers, 120, "the server's start")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/health", timeout=5
            ) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self.proxy.close()


@contextmanager
def postgres() -> Iterator[str]:
    """Give the address of an empty PostgreSQL database, reached through a socket in a folder."""
    if given := os.environ.get("DLFRAME_TEST_POSTGRES_URL"):
        yield given
        return
    if not (_PROGRAMS / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed, and DLFRAME_TEST_POSTGRES_URL is not set")
    # PostgreSQL refuses to be run by root.
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    as_user: dict[str, Any] = {"user": user} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="dlframe-postgres-"))
    if as_user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    with open(folder / "log", "wb") as log:
        subprocess.run(
            [str(_PROGRAMS / "initdb"), "-D", str(data), "-U", "dlframe", "-A", "trust", "--no-sync",
             "-E", "UTF8", "--locale", "C"],
            check=True, stdout=log, stderr=log, cwd=folder, **as_user,
        )  # fmt: skip
        server = subprocess.Popen(
            [str(_PROGRAMS / "postgres"), "-D", str(data), "-k", str(folder), "-h", "",
             "-c", "max_connections=200"],
            stdout=log, stderr=log, cwd=folder, start_new_session=True, **as_user,
        )  # fmt: skip
    try:
        until((folder / ".s.PGSQL.5432").exists, 60, "PostgreSQL's start")
        until(lambda: _created(folder, "mlflow"), 60, "the database")
        yield address(folder, "mlflow")
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder)


def _created(folder: Path, name: str) -> bool:
    command = [str(_PROGRAMS / "createdb"), "-h", str(folder), "-U", "dlframe", name]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def address(folder: Path, name: str) -> str:
    return f"postgresql+psycopg2://dlframe@/{name}?host={folder}"


def another_database(given: str, name: str) -> str:
    """Return a fresh database beside a PostgreSQL one, or an empty string for SQLite."""
    if not given.startswith("postgresql"):
        return ""
    engine = sqlalchemy.create_engine(given, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sqlalchemy.make_url(given).set(database=name).render_as_string(hide_password=False)


_TRAINER = Path(__file__).with_name("fault_trainer.py")


@dataclass
class Trainer:
    """A training process that logs 20 values a step and keeps a ledger of what it has logged.

    Args:
        folder: for its ledger, its log and its tracking root.
        uri: MLflow's tracking URI; empty means the SQLite store in the root.
        experiment: name of the experiment.
        run_name: name of the run, which tells trainers apart.
        logger: ``dlframe``, or Lightning's ``mlflow`` or ``mlflow-async``.
        steps: number of steps.
        pause: seconds a step takes.
        wait: seconds to wait at the end for the delivery.
        root: tracking root, where it is not the folder's own.
        environment: variables to set.
    """

    folder: Path
    uri: str
    experiment: str
    run_name: str
    logger: str = "dlframe"
    steps: int = 400
    pause: float = 0.01
    wait: float = 0.0
    root: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.runs = self.root or self.folder / "runs"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Trainer":
        order = {"root": str(self.runs), "uri": self.uri, "experiment": self.experiment,
                 "run_name": self.run_name, "logger": self.logger, "steps": self.steps,
                 "pause": self.pause, "wait": self.wait,
                 "ledger": str(self.folder / "ledger.jsonl")}  # fmt: skip
        with open(self.folder / "trainer.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_TRAINER), json.dumps(order)],
                stdout=log, stderr=log, env={**os.environ, **self.environment},
                start_new_session=True,
            )  # fmt: skip
        return self

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "ledger.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    def reached(self, part: float) -> bool:
        """Whether it has logged this part of its steps."""
        return len(self.logged()) >= part * self.steps

    def logged(self) -> list[int]:
        return [line["step"] for line in self.lines() if "step" in line]

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, seconds: float = 240.0) -> int:
        """Wait for its end; return its exit code, or -9 where it had to be killed."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def end_delivery(self) -> int | None:
        return end_delivery(self.runs)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.end_delivery()


@dataclass(frozen=True)
class Outcome:
    """What is in MLflow's database against the trainer's ledger.

    Args:
        logged: number of values that the trainer has logged.
        lost: how many of them are missing.
        doubled: how many rows are there once too often.
        runs: number of runs that are not deleted.
        status: of the run.
        delay: part of the training's time spent in log calls.
        held: seconds that training was held up: by the logger's start, its calls and its end.
    """

    logged: int
    lost: int
    doubled: int
    runs: int
    status: str
    delay: float
    held: float

    @property
    def whole(self) -> bool:
        return (self.lost, self.doubled, self.runs) == (0, 0, 1) and self.logged > 0


def rows_of(database: str, run_name: str) -> tuple[list[tuple[str, int, float]], list[str]]:
    """Return the metric rows of all runs of a name and the runs' status, by SQL."""
    engine = sqlalchemy.create_engine(database)
    try:
        with engine.connect() as connection:
            metrics = connection.execute(
                sqlalchemy.text(
                    "SELECT m.key, m.step, m.value FROM metrics m JOIN runs r ON r.run_uuid = "
                    "m.run_uuid WHERE r.name = :name AND m.key LIKE 'train/m%'"
                ),
                {"name": run_name},
            ).fetchall()
            status = connection.execute(
                sqlalchemy.text(
                    "SELECT r.status FROM runs r WHERE r.name = :name AND r.lifecycle_stage = 'active'"
                ),
                {"name": run_name},
            ).fetchall()
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.ProgrammingError):
        return [], []  # the store is not made yet
    finally:
        engine.dispose()
    return [tuple(row) for row in metrics], [row[0] for row in status]


def outcome(trainer: Trainer, database: str) -> Outcome:
    rows, statuses = rows_of(database, trainer.run_name)
    there = Counter((key, int(step)) for key, step, _ in rows)
    right = {(key, int(step)) for key, step, value in rows
             if value == int(step) + int(key.removeprefix("train/m")) / 20}  # fmt: skip
    ledger = {(f"train/m{i}", step) for step in trainer.logged() for i in range(20)}
    calls = [line["seconds"] for line in trainer.lines() if "seconds" in line]
    total = len(trainer.logged()) * trainer.pause + sum(calls)
    return Outcome(
        logged=len(ledger),
        lost=len(ledger - right),
        doubled=sum(there.values()) - len(there),
        runs=len(statuses),
        status="/".join(sorted(set(statuses))) or "-",
        delay=sum(calls) / total if total else 0.0,
        held=sum(calls) + sum(line["held"] for line in trainer.lines() if "held" in line),
    )
