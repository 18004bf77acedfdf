"""How a training tells another process how it stands, and hears whether to stop.

A Unix socket in a folder that only its user may enter. It is found by its address alone, since who
reports may be a process that the trained one started. Nothing of it can end a training: who does not
answer lets it go on.
"""

import json
import os
import secrets
import selectors
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Answer", "Channel", "Hear", "Listener", "Report", "heard"]

Report = Callable[[int, dict[str, float]], bool]
"""Takes the number of an epoch and its metrics; says whether to stop."""
Answer = Callable[[bool], None]
"""Sends whether to stop."""
Hear = Callable[[int, dict[str, float], Answer], None]
"""Takes a report; it is answered then or later, from any thread, without waiting."""

_PATIENCE = 60.0
"""Seconds in which an answer is waited for."""
_LONGEST_PATH = 90
"""Characters; a socket's address has room for about a hundred."""


class Channel:
    """Reports to the listener at an address.

    Args:
        address: as ``Listener.expect`` gave it.
        patience: seconds in which an answer is waited for.
    """

    def __init__(self, address: str, patience: float = _PATIENCE) -> None:
        self.address = address
        self._token, _, self._path = address.partition("@")
        self._patience = patience
        self._socket: socket.socket | None = None

    def __call__(self, step: int, values: dict[str, float]) -> bool:
        """Report; return whether to stop, which nobody does who cannot be reached."""
        told = {"token": self._token, "step": step, "values": values}
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(self._patience)
                self._socket.connect(self._path)
            self._socket.sendall(f"{json.dumps(told)}\n".encode())
            answer = self._socket.recv(1)
        except OSError as error:
            return self._given_up(str(error))
        return answer == b"1" if answer else self._given_up("the connection was closed")

    def _given_up(self, why: str) -> bool:
        """Say so; the next report tries anew, and a late answer is not taken for its own."""
        print(f"dlframe: the study did not answer ({why}); training goes on", file=sys.stderr)
        self.close()
        return False

    def close(self) -> None:
        """Close the connection; another report would open a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Listener:
    """Hears reports of any number of trainings, in a thread of its own.

    Attributes:
        folder: where its socket lies, and nothing else.
    """

    def __init__(self) -> None:
        self.folder = _private_folder()
        self._path = self.folder / "s"
        self._hearing: dict[str, Hear] = {}
        self._begun: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self._path))
        self._socket.listen(128)
        self._waking, self._woken = socket.socketpair()
        for each in (self._socket, self._woken):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="dlframe-reports", daemon=True)
        self._thread.start()

    def expect(self, hear: Hear) -> str:
        """Return an address; what is reported there goes to ``hear``, in the listener's thread."""
        token = secrets.token_urlsafe(16)
        self._hearing[token] = hear
        return f"{token}@{self._path}"

    def forget(self, address: str) -> None:
        """Hear no more of what is reported at the address."""
        self._hearing.pop(address.partition("@")[0], None)

    def close(self) -> None:
        """Hear nothing any more."""
        self._waking.close()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                found = key.fileobj
                assert isinstance(found, socket.socket)
                if found is self._woken:
                    self._end()
                    return
                if found is self._socket:
                    self._accept()
                else:
                    self._read(found)

    def _accept(self) -> None:
        with suppress(OSError):  # who wanted to report has gone again
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            self._begun[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(65536)
        except OSError:
            received = b""
        *lines, self._begun[connection] = (self._begun[connection] + received).split(b"\n")
        if not received or not all(self._pass_on(line, connection) for line in lines):
            self._selector.unregister(connection)
            del self._begun[connection]
            connection.close()

    def _pass_on(self, line: bytes, connection: socket.socket) -> bool:
        """Let a report be heard; return whether it is one, and somebody waits for it."""
        try:
            told = json.loads(line)
            hear, step, values = (
                self._hearing[told["token"]],
                int(told["step"]),
                dict(told["values"]),
            )
        except (KeyError, TypeError, ValueError):
            return False
        hear(step, values, _answering(connection))
        return True

    def _end(self) -> None:
        self._selector.close()
        for each in (*self._begun, self._socket, self._woken):
            each.close()


@contextmanager
def heard(report: Report | None) -> Iterator[str | None]:
    """Yield the address at which another process reports to ``report``."""
    if report is None or isinstance(report, Channel):
        yield None if report is None else report.address
        return
    raised: list[Exception] = []

    def hear(step: int, values: dict[str, float], answer: Answer) -> None:
        stop = True  # where it cannot be said, there is nothing to go on for
        try:
            stop = report(step, values)
        except Exception as error:  # of the listener's thread; raised below
            raised.append(error)
        answer(stop)

    listener = Listener()
    try:
        yield listener.expect(hear)
    finally:
        listener.close()
    if raised:
        raise raised[0]


def _answering(connection: socket.socket) -> Answer:
    def answer(stop: bool) -> None:
        with suppress(OSError):  # the training has ended meanwhile
            connection.send(b"1" if stop else b"0")

    return answer


def _private_folder() -> Path:
    """Make a folder that only this user may enter, with a name short enough for a socket in it."""
    folder = tempfile.mkdtemp(prefix="dlframe-")
    if len(os.fsencode(folder)) > _LONGEST_PATH:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="dlframe-", dir="/tmp")
    return Path(folder)
