"""What trials of the tests do, in processes of their own."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import torch

from dlframe.errors import ConfigError, DataError
from dlframe.sweep.order import Order, Outcome
from dlframe.sweep.trial import train
from dlframe.training.channel import Report


def _outcome(order: Order, **metrics: float) -> Outcome:
    return Outcome(uid=order.uid, state="finished", metrics=metrics)


def _note(order: Order, **facts: object) -> None:
    """Let the test know who and where this is."""
    who = {"pid": os.getpid(), "session": os.getsid(0), "server": os.getppid()}
    path = Path(order.config["facts"])
    path.with_suffix(".part").write_text(json.dumps(who | facts))
    path.with_suffix(".part").rename(path)


def say(order: Order, report: Report) -> Outcome:
    """Print in all ways, and tell what surrounds it."""
    print("said on standard output")
    print("said on standard error", file=sys.stderr)
    os.write(1, b"said past Python\n")
    atexit.register(print, "said at the exit")
    _note(
        order,
        folder=os.getcwd(),
        mark=os.environ.get("MARK"),
        threads=torch.get_num_threads(),
        variable=os.environ.get("OMP_NUM_THREADS"),
        reads=sys.stdin.read(),
    )
    return _outcome(order, answer=42.0)


def report(order: Order, report: Report) -> Outcome:
    """Report until it is told to stop."""
    for step in range(1, 101):
        if report(step, {"val/loss": 1.0 / step, "val/accuracy": step / 100}):
            return Outcome(uid=order.uid, state="pruned", metrics={"stopped": step})
    return _outcome(order)


def leave(order: Order, report: Report) -> NoReturn:
    """End as a crash in C does."""
    os._exit(order.config["code"])


def crash(order: Order, report: Report) -> NoReturn:
    """End by a signal of its own doing."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("it did not end")


def quit(order: Order, report: Report) -> NoReturn:
    """End as a program does that has no business to."""
    sys.exit(order.config["code"])


def fail(order: Order, report: Report) -> NoReturn:
    """Raise what the test wants."""
    match order.config["kind"]:
        case "config":
            raise ConfigError("the parts do not fit")
        case "memory":
            raise MemoryError
        case "device":
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            except torch.OutOfMemoryError as error:
                raise DataError("the device has too little memory") from error
        case "allocator":
            torch.empty(2**60)
    raise ArithmeticError("the idea does not work")


def stray(order: Order, report: Report) -> Outcome:
    """End before what it has started, in a group of its own."""
    child = subprocess.Popen(["sleep", "1000"], process_group=0)
    _note(order, child=child.pid)
    child.returncode = 0  # else Popen would warn that it is left
    return _outcome(order)


def wait(order: Order, report: Report) -> NoReturn:
    """Wait for the end, and for a child's."""
    child = subprocess.Popen(["sleep", "1000"], process_group=0)
    _note(order, child=child.pid)
    time.sleep(1000)
    raise AssertionError("nobody has ended it")


def witness(order: Order, report: Report) -> Outcome:
    """Tell of SIGTERM, which asks for the end, and end."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    _note(order)
    while not asked:
        time.sleep(0.02)
    Path(order.config["asked"]).write_text(f"by signal {asked[0]}")
    raise KeyboardInterrupt


def deaf(order: Order, report: Report) -> NoReturn:
    """Hear no signal that can be ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _note(order)
    time.sleep(1000)
    raise AssertionError("nobody has ended it")


def fill(order: Order, report: Report) -> NoReturn:
    """Take memory, in a child where the test wants that, and keep it."""
    _note(order)
    code = f"import time; taken = b'1' * ({order.config['mib']} << 20); time.sleep(1000)"
    if order.config["apart"]:
        subprocess.run([sys.executable, "-S", "-c", code], check=True, process_group=0)
    taken = [b"1" * (1 << 20) for _ in range(order.config["mib"])]
    time.sleep(1000)
    raise AssertionError(f"nobody has ended it with {len(taken)} MiB")


def die(order: Order, report: Report) -> Outcome:
    """Train, and be killed when an epoch has been reported."""

    def told(step: int, values: dict[str, float]) -> bool:
        answer = report(step, values)
        if step == int(order.tags["die"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return train(order, told)
