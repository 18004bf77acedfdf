"""MLflow's server for a browser: on loopback only, and gone with the process that asked for it.

``serving`` starts ``python -m dlframe.tracking.server PORT ARTIFACTS``, which starts MLflow's server in
a process group of its own and ends the whole group as soon as its standard input closes. The kernel
closes that however the asking process ends, so that not even ``kill -9`` leaves a server behind.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from dlframe.errors import StorageError
from dlframe.tracking.launch import child_environment
from dlframe.tracking.redaction import without_credentials
from dlframe.tracking.stores import meaning

__all__ = ["HOST", "PORT", "PortTakenError", "answers", "free_port", "main", "serving"]

PORT = 5000
"""The port that is tried first; it is MLflow's own."""
HOST = "127.0.0.1"
_GRACE = 5.0
_OPTIONS = (
    "APP_NAME", "ARTIFACTS_DESTINATION", "ARTIFACTS_ONLY", "DEFAULT_ARTIFACT_ROOT", "ENABLE_WORKSPACES",
    "EXPOSE_PROMETHEUS", "GUNICORN_OPTS", "HOST", "PORT", "READ_REPLICA_BACKEND_STORE_URI",
    "REGISTRY_STORE_URI", "REGISTRY_URI", "SERVE_ARTIFACTS", "STATIC_PREFIX", "TRACKING_URI",
    "TRACE_ARCHIVAL_CONFIG", "UVICORN_OPTS", "WORKERS", "WORKSPACE", "WORKSPACE_STORE_URI",
)  # fmt: skip
"""Variables of MLflow's, after ``MLFLOW_``, that are meant for a user's own server, not for this one;
likewise all of ``MLFLOW_SERVER_*``, which may switch its protection off."""


class PortTakenError(StorageError):
    """Another program took the port between the look at it and the start of the server."""


def free_port(wanted: int | None = None) -> int:
    """Return a port that nobody listens on: ``wanted``, or else 5000 or any other.

    Raises:
        StorageError: the wanted port is taken, or not to be had.
    """
    for port in (PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
            except (OSError, OverflowError) as error:
                if wanted is not None:
                    reason = getattr(error, "strerror", None) or error
                    raise StorageError(
                        f"port {wanted} cannot be used ({reason}); choose another with --port, or "
                        "leave it out"
                    ) from error
    raise StorageError(f"no port is free on {HOST}; end a program that holds many")


@contextmanager
def serving(uri: str, root: Path, port: int, patience: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server on a store for as long as the context is entered.

    Args:
        uri: MLflow's tracking URI of a database.
        root: the tracking root; files of runs that are recorded through this server go there.
        port: where it is to listen, on 127.0.0.1.
        patience: seconds until it must answer.

    Yields:
        The process; it answers. It ends early if the server does.

    Raises:
        StorageError: the server ended or did not answer in time.
        PortTakenError: another program has the port.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "dlframe.tracking.server",
                str(port),
                (root / "artifacts").as_uri(),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(uri),
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, uri, port, patience, log)
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(3 * _GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _environment(uri: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in child_environment().items()
        if name.removeprefix("MLFLOW_") not in _OPTIONS and not name.startswith("MLFLOW_SERVER_")
    }
    return kept | {
        # Not an argument: the arguments of a process can be read by every user of the machine.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "PYTHONSAFEPATH": "1",
    }


def _wait_for_answer(
    process: subprocess.Popen[bytes], uri: str, port: int, patience: float, log: IO[bytes]
) -> None:
    store, end = without_credentials(uri), time.monotonic() + patience
    # Another program may have taken the port since it was found free, even with another MLflow.
    while not (_listens(process, port) and answers(f"http://{HOST}:{port}")):
        if process.poll() is not None:
            if answers(f"http://{HOST}:{port}"):
                raise PortTakenError(f"port {port} was taken just now; choose another with --port")
            raise StorageError(f"MLflow's server cannot show {store}: {_said(log)}")
        if time.monotonic() > end:
            raise StorageError(
                f"MLflow's server on {store} did not answer within {patience:g} s; see whether another "
                "program holds the store"
            )
        time.sleep(0.1)


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the process, or one that it started, listens on the port."""
    try:
        first = psutil.Process(process.pid)
        return any(
            found.status == psutil.CONN_LISTEN and found.laddr.port == port
            for each in (first, *first.children(recursive=True))
            for found in each.net_connections("tcp")
        )
    except psutil.Error:  # it has ended
        return False


def answers(url: str) -> bool:
    """Whether an MLflow server is there and well."""
    # No proxy: the environment may name one, which cannot reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5.0) as reply:
            return bool(reply.status == 200)
    except (OSError, http.client.HTTPException):  # what urllib raises is an OSError
        return False


def _said(log: IO[bytes]) -> str:
    log.seek(0)
    return meaning(log.read().decode(errors="replace"))


def main(arguments: Sequence[str]) -> None:
    """Run MLflow's server until it ends, or until standard input closes; then end its whole group."""
    port, artifacts = arguments
    server = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", port,
            "--workers", "1", "--serve-artifacts", "--artifacts-destination", artifacts,
            "--uvicorn-opts", "--no-access-log --timeout-graceful-shutdown 1",
        ],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    sys.stdin.buffer.read()
    server.terminate()
    try:
        server.wait(_GRACE)
    finally:
        _end_group()


def _end_with(server: subprocess.Popen[bytes]) -> None:
    server.wait()
    _end_group()


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
