"""A process that has all imported that a training needs, and forks a child for each trial.

``python -m dlframe.sweep.forkserver DESCRIPTOR GRACE FOLDER PATH``, started by ``pool``: the descriptor
of a socket, over which lines of JSON go both ways; seconds; the pool's own folder, which goes with it;
``sys.path``, as JSON.

Why not multiprocessing's: it runs the user's ``__main__`` again in each child, which would be the whole
command, and it pickles, which configs do not need and plugins may not bear.

What is forked must be fit for it: this process has one thread, and leaves every accelerator alone.
"""

import atexit
import faulthandler
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from dlframe.sweep.session import kill

__all__: list[str] = []

_NEEDED = (
    "dlframe.sweep.trial",
    "dlframe.training.run",
    "fsspec.implementations.chained",
    "importlib.resources.readers",
    "matplotlib.backends.backend_agg",
    "PIL.JpegImagePlugin",
    "pyarrow.pandas_compat",
    "sklearn.datasets",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.preprocessing",
    "torch.utils.serialization.config",
)
"""What a training imports, in the end."""
_LAST_MOMENTS = 2.0
"""Seconds that the kernel may take to end what was killed."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Server:
    """Forks a child for each order, and says how it ended.

    Args:
        control: the socket to the process that gives the orders.
        grace: seconds from SIGTERM to SIGKILL for the trials that are left when that process is gone.
    """

    def __init__(self, control: socket.socket, grace: float) -> None:
        self._control, self._grace, self._pid = control, grace, os.getpid()
        self._begun = b""
        self._trials: dict[int, int] = {}
        # Whoever is left reads the end of this pipe when this process is gone.
        self._alive, self._life = os.pipe()
        self._woken, self._waking = os.pipe()
        for descriptor in (self._woken, self._waking):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        # Who orders the trials decides on their end, and on this process's. Some signals a scheduler
        # sends to every process of a job; those of them that training does not know stay ignored.
        for number in (*_ENDING, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until nobody is there to serve; then end what is left."""
        while self._read():
            readable, _, _ = select.select([self._control.fileno(), self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, 4096)
            self._reap()
        self._end()

    def _read(self) -> bool:
        """Follow what came over the socket; return whether more can come."""
        while True:
            try:
                received = self._control.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not received:
                return False
            *lines, self._begun = (self._begun + received).split(b"\n")
            for line in lines:
                self._follow(json.loads(line))

    def _follow(self, told: dict[str, Any]) -> None:
        number = told.pop("trial")
        if "signal" not in told:
            self._fork(number, told)
        elif (pid := self._trials.get(number)) is not None:
            self._signal(pid, told["signal"])

    def _signal(self, pid: int, number: int) -> None:
        """Signal a trial: all of it to end it; its first group to ask, which passes that on."""
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # it has just been forked and has no group of its own yet
            os.kill(pid, number)
        if number == signal.SIGKILL:
            kill(pid)

    def _fork(self, number: int, told: dict[str, Any]) -> None:
        # A signal may come before the child has its own ways with it, and must not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            pid = os.fork()
        except OSError as error:
            self.say({"trial": number, "error": str(error)})
            return
        finally:
            if os.getpid() == self._pid:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if pid == 0:
            _be_child(self._leave, (self._alive, self._grace), told)
        self._trials[number] = pid
        self.say({"trial": number, "pid": pid})

    def _leave(self) -> None:
        """Close in a child what is this process's."""
        signal.set_wakeup_fd(-1)
        for descriptor in (self._woken, self._waking, self._life):
            os.close(descriptor)
        self._control.close()

    def _reap(self) -> None:
        for number, pid in list(self._trials.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._trials[number]
                kill(pid)  # what it has started and left
                self.say({"trial": number, "code": os.waitstatus_to_exitcode(status)})

    def say(self, told: dict[str, Any]) -> None:
        """Tell the process that gives the orders."""
        with suppress(OSError):  # nobody is there any more, which the next reading shows
            self._control.sendall(f"{json.dumps(told)}\n".encode())

    def _end(self) -> None:
        """Ask what is left to stop; end it if it does not."""
        for number, patience in ((signal.SIGTERM, self._grace), (signal.SIGKILL, _LAST_MOMENTS)):
            for pid in self._trials.values():
                self._signal(pid, number)
            end = time.monotonic() + patience
            while self._trials and (left := end - time.monotonic()) > 0:
                if select.select([self._woken], [], [], left)[0]:
                    os.read(self._woken, 4096)
                self._reap()


def _be_child(leave: Callable[[], None], watch: tuple[int, float], told: dict[str, Any]) -> None:
    """Become the process of a trial; does not return."""
    code = 1
    try:
        os.setsid()
        leave()
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        atexit._clear()  # what was registered is the server's; what comes is the trial's
        place = Path(told["place"])
        _redirect(place / "log.txt")
        threading.Thread(target=_end_with_server, args=watch, daemon=True).start()
        os.chdir(told["cwd"])
        sys.path[:] = told["path"]
        os.environ.update(told["environment"])
        from dlframe.sweep.trial import perform_in_child

        code = perform_in_child(place, told["watch"])
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _redirect(path: Path) -> None:
    """Let all that is printed go into a file."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, target in ((nowhere, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
        os.set_inheritable(target, True)
    os.close(nowhere)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()


def _end_with_server(alive: int, grace: float) -> None:
    """End this trial as the server would, if that is killed before."""
    os.read(alive, 1)
    session = os.getpid()
    os.killpg(session, signal.SIGTERM)
    time.sleep(grace)
    kill(session)
    os.kill(session, signal.SIGKILL)


def _prepare() -> None:
    """Import all that a training needs, what it would import late included."""
    for name in _NEEDED:
        import_module(name)
    from dlframe.plugin import registry
    from dlframe.plugin.registry import BUILTIN

    # Not a plugin's components: its author may be at work on them.
    for entry in registry().entries():
        if entry.plugin == BUILTIN:
            entry.component.load()
    # What there is is everybody's and stays: children neither look through it nor copy it.
    gc.collect()
    gc.freeze()


def _main(descriptor: int, grace: float, folder: str, path: list[str]) -> None:
    sys.path[:] = path
    with socket.socket(fileno=descriptor) as control:
        server = _Server(control, grace)
        _prepare()
        server.say({"ready": os.getpid()})
        server.run()
    shutil.rmtree(folder, ignore_errors=True)  # who made it may have been killed


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
