"""The faults: what happens to servers and processes while a training logs."""

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fault_support import Clock, Outcome, Server, Trainer, outcome, until

__all__ = ["FAULTS", "LOGGERS", "OWN", "Scene", "fill", "mounted", "play"]

LOGGERS = ("dlframe", "mlflow", "mlflow-async")
"""dlframe, and Lightning's MLFlowLogger, synchronous and asynchronous."""


@dataclass
class Scene:
    """One fault in the making.

    Args:
        server: with its proxy.
        folder: a fresh one.
        logger: one of ``LOGGERS``.
        outage: seconds that an outage goes on after training has logged most.
        patience: seconds that a training may take to end, and then the delivery.
        steps: that the training logs.
        trainers: those that took part.
        expected: the true status.
        began: when what is measured began: the death of a process, or the end of the outage.
        kept: whether the store stays away, so that all must be kept in the spool.
    """

    server: Server
    folder: Path
    logger: str = "dlframe"
    outage: float = 1.0
    patience: float = 120.0
    steps: int = 1000
    trainers: list[Trainer] = field(default_factory=list)
    expected: str = "FINISHED"
    began: float = 0.0
    kept: bool = False
    uri: str | None = None
    database: str | None = None

    def trainer(self, name: str = "one", **options: object) -> Trainer:
        options = {"root": self.folder / "runs", "steps": self.steps, **options}
        made = Trainer(
            self.folder / name,
            self.server.uri if self.uri is None else self.uri,
            self.folder.name,
            f"{self.folder.name}-{name}",
            self.logger,
            **options,  # type: ignore[arg-type]
        )
        self.trainers.append(made)
        return made.start()

    def mark(self) -> None:
        self.began = time.monotonic()

    def at(self, trainer: Trainer, part: float) -> None:
        """Wait until the training has logged this part of its steps, or is held up, or ended."""
        end = time.monotonic() + self.outage + 10
        while not trainer.reached(part) and time.monotonic() < end:
            assert trainer.process is not None
            if trainer.process.poll() is not None:
                return
            time.sleep(0.02)

    def flows(self, trainer: Trainer) -> None:
        """Wait until the first rows are in the database."""
        assert trainer.process is not None
        until(lambda: self.has_rows() or trainer.reached(1.0), 90, "the first row")
        assert not trainer.reached(1.0), "training was over before its first row was delivered"

    def has_rows(self, number: int = 1) -> bool:
        return (
            sum(outcome_of(self, t).logged - outcome_of(self, t).lost for t in self.trainers)
            >= number
        )

    def ended(self, trainer: Trainer) -> None:
        trainer.end(self.patience)
        self.mark()


def outcome_of(scene: Scene, trainer: Trainer) -> Outcome:
    return outcome(trainer, scene.database or scene.server.database)


def _nothing(scene: Scene) -> None:
    scene.ended(scene.trainer())


def _absent(scene: Scene) -> None:
    scene.server.proxy.set("refuse")
    trainer = scene.trainer()
    scene.at(trainer, 1.0)
    time.sleep(scene.outage)
    scene.server.proxy.set("pass")
    scene.ended(trainer)


def _dies(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    scene.server.kill()
    scene.at(trainer, 0.8)
    time.sleep(scene.outage)
    scene.server.start()
    scene.ended(trainer)


def _hangs(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    scene.server.signal(signal.SIGSTOP)
    scene.at(trainer, 0.8)
    time.sleep(scene.outage)
    scene.server.signal(signal.SIGCONT)
    scene.ended(trainer)


def _storm(status: int) -> Callable[[Scene], None]:
    def storm(scene: Scene) -> None:
        trainer = scene.trainer()
        scene.flows(trainer)
        scene.server.proxy.set("status", status)
        scene.at(trainer, 0.9)
        time.sleep(scene.outage)
        scene.server.proxy.set("pass")
        scene.ended(trainer)

    return storm


def _slow(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    scene.server.proxy.set("slow", 5.0)
    scene.at(trainer, 0.9)
    time.sleep(scene.outage)
    scene.server.proxy.set("pass")
    scene.ended(trainer)


def _loses(path: str) -> Callable[[Scene], None]:
    def loses(scene: Scene) -> None:
        scene.server.proxy.lost.clear()
        scene.server.proxy.set("lose", path)
        trainer = scene.trainer()
        until(lambda: scene.server.proxy.lost, 90, "the loss of a reply")
        scene.at(trainer, 0.9)
        scene.server.proxy.set("pass")
        scene.ended(trainer)

    return loses


def _late(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    scene.server.proxy.set("refuse")
    scene.at(trainer, 1.0)
    time.sleep(20 * scene.outage)
    scene.server.proxy.set("pass")
    scene.ended(trainer)


def _never(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    scene.server.proxy.set("refuse")
    scene.kept = True
    scene.ended(trainer)


def _trainer_killed(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    trainer.kill()
    scene.mark()
    scene.expected = "KILLED"


def _delivery_killed(scene: Scene) -> None:
    trainer = scene.trainer()
    killed: set[int] = set()

    def kill_another() -> bool:
        pid = trainer.end_delivery()
        killed.update({pid} if pid else ())
        return pid is not None

    until(lambda: kill_another(), 30, "the death of the delivery process")  # while it starts
    scene.flows(trainer)
    kill_another()
    scene.ended(trainer)
    assert len(killed) == 2


def _both_killed(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.flows(trainer)
    trainer.kill()
    trainer.end_delivery()
    scene.expected = "KILLED"
    scene.mark()
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(trainer.runs)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _disk_full(scene: Scene) -> None:
    scene.folder.mkdir(parents=True, exist_ok=True)
    with mounted(scene.folder / "disk", "size=16m") as disk:
        trainer = scene.trainer(root=disk / "runs", wait=60)
        scene.at(trainer, 0.3)
        filling = fill(disk)
        scene.at(trainer, 0.8)
        filling.unlink()
        scene.ended(trainer)
        until(lambda: outcome_of(scene, trainer).whole, 60, "the delivery")
        trainer.end_delivery()


def fill(disk: Path) -> Path:
    """Fill a file system to the last page and return the file that does it."""
    filling = disk / "filling"
    try:
        with open(filling, "wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    return filling


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A real file system of a few megabytes; skips the test where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _clock(scene: Scene) -> None:
    clock = Clock(scene.folder / "clock")
    trainer = scene.trainer(environment=clock.environment)
    scene.at(trainer, 0.5)
    clock.step(-3600)
    scene.ended(trainer)


def _eight(scene: Scene) -> None:
    """Eight at once on a store that does not exist yet, or, on a server, with a folder each."""
    own = scene.logger == "dlframe" and scene.server.database.startswith("sqlite")
    if own:
        scene.uri, scene.database = "", f"sqlite:///{scene.folder / 'runs' / 'mlflow.db'}"
    for number in range(8):
        scene.trainer(f"t{number}", **({} if own else {"root": scene.folder / f"runs{number}"}))
    for trainer in scene.trainers:
        scene.ended(trainer)


FAULTS: dict[str, Callable[[Scene], None]] = {
    "none": _nothing,
    "server absent at start": _absent,
    "server dies in mid-run, comes back": _dies,
    "server hangs (SIGSTOP)": _hangs,
    "500 storm": _storm(500),
    "503 storm": _storm(503),
    "429 storm": _storm(429),
    "5 s a reply": _slow,
    "replies of log-batch lost": _loses("runs/log-batch"),
    "replies of create-run lost": _loses("runs/create"),
    "server comes back late": _late,
    "server never comes back": _never,
    "trainer killed": _trainer_killed,
    "delivery process killed, twice": _delivery_killed,
    "both killed, then sync": _both_killed,
    "disk of the spool full": _disk_full,
    "clock back an hour": _clock,
    "eight runs on a fresh store": _eight,
}
OWN = ("delivery process killed, twice", "both killed, then sync", "disk of the spool full")
"""Faults of what only dlframe has."""


@dataclass(frozen=True)
class Result:
    """What became of all trainers of a scene together; see ``Outcome``."""

    logged: int
    lost: int
    doubled: int
    runs: int
    expected_runs: int
    status: str
    expected: str
    seconds: float
    delay: float
    held: float
    codes: tuple[int | None, ...]
    kept: bool

    @property
    def good(self) -> bool:
        return (
            (self.lost, self.doubled, self.runs) == (0, 0, self.expected_runs)
            and self.status == self.expected
            and self.logged > 0
        )


def play(fault: str, scene: Scene, settle: float = 60.0) -> Result:
    """Let it happen, wait until all is delivered (``settle`` seconds at most), and compare."""
    try:
        FAULTS[fault](scene)
        if scene.kept and scene.logger == "dlframe":
            return _kept(scene)
        end = time.monotonic() + settle
        while not (found := _result(scene)).good and time.monotonic() < end:
            time.sleep(0.2)
        return found
    finally:
        for trainer in scene.trainers:
            trainer.close()
        scene.server.proxy.set("pass")


def _result(scene: Scene) -> Result:
    outcomes = [outcome_of(scene, trainer) for trainer in scene.trainers]
    return Result(
        logged=sum(o.logged for o in outcomes),
        lost=sum(o.lost for o in outcomes),
        doubled=sum(o.doubled for o in outcomes),
        runs=sum(o.runs for o in outcomes),
        expected_runs=len(outcomes),
        status="/".join(sorted({o.status for o in outcomes})),
        expected=scene.expected,
        seconds=time.monotonic() - scene.began,
        delay=max(o.delay for o in outcomes),
        held=max(o.held for o in outcomes),
        codes=tuple(t.process.returncode if t.process else None for t in scene.trainers),
        kept=scene.kept,
    )


def _kept(scene: Scene) -> Result:
    """Let the server come back after all, for ``dlframe sync``: what was kept is what was logged."""
    for trainer in scene.trainers:
        trainer.end_delivery()
    scene.server.proxy.set("pass")
    done = subprocess.run(
        [sys.executable, "-m", "dlframe", "sync", str(scene.folder / "runs")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return _result(scene)
