"""Where a tracking root keeps its store, and how its delivery process is started."""

import atexit
import fcntl
import os
import re
import site
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from dlframe.tracking.credentials import with_credentials
from dlframe.tracking.redaction import secret_values

__all__ = [
    "LOCK",
    "LOG",
    "WANTING",
    "child_environment",
    "default_uri",
    "ensure_delivery",
    "resolve_uri",
    "wants_credentials",
]

LOCK = "delivery.lock"
LOG = "delivery.log"
WANTING = "delivery.wanting"
"""A file that is there while a store refuses the credentials in the delivery process's environment."""

_MODULE = "dlframe.tracking.deliver"
_CREDENTIALS = re.compile(
    r"(?i)\b40[13]\b|access ?denied|access ?key|credential|environment variable|forbidden|password"
    r"|signature|unauthori[sz]ed"
)
_GIVEN_BY = ("AWS_", "AZURE_", "DATABRICKS_", "GOOGLE_", "MLFLOW_", "MYSQL_", "PG")
_OFFER_EVERY = 600.0
_offered: dict[Path, float] = {}
_LOG_LIMIT = 5_000_000
_started: list[subprocess.Popen[bytes]] = []


def default_uri(root: Path) -> str:
    """Return the URI of the SQLite store in ``root``."""
    return f"sqlite:///{root.absolute() / 'mlflow.db'}"


def resolve_uri(uri: str | None, root: Path) -> str:
    """Return an absolute tracking URI, with credentials: the store in ``root`` where none is given."""
    if uri is None:
        return default_uri(root)
    scheme, separator, path = uri.partition(":///")
    if scheme.startswith("sqlite") and separator and not path.startswith("/"):
        return f"{scheme}:///{Path(path).absolute()}"
    return with_credentials(uri, root)


def ensure_delivery(root: Path) -> bool:
    """Start the delivery process of ``root`` unless one runs; return whether one was started.

    It runs in a session of its own, so that neither Ctrl-C nor the end of the training ends it. One
    that runs but lacks credentials, which this process may have, is asked to end; the next call starts
    another.

    Raises:
        OSError: the process or its log cannot be made.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    with open(root / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            _replace(root.absolute())
            return False
    log = root / LOG
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with open(log, "ab") as output:
        _started.append(
            subprocess.Popen(
                # -P: a file called types.py in the user's folder must not become a module here.
                [sys.executable, "-P", "-m", _MODULE, str(root.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=root,
                env=child_environment(),
                start_new_session=True,
            )
        )
    return True


@atexit.register
def _let_go() -> None:
    """Leave delivery processes to themselves; at this process's end Popen would warn of each."""
    for process in _started:
        process.returncode = process.poll() or 0


def wants_credentials(sentence: str) -> bool:
    """Whether what stands in the way of a delivery may be that the environment lacks something."""
    return _CREDENTIALS.search(sentence) is not None


def _replace(root: Path) -> None:
    """End a delivery process that lacks credentials if this process has others; seldom.

    Two trainings that both have the wrong ones must not end each other's process all the time.
    """
    now = time.monotonic()
    if not (root / WANTING).exists() or now - _offered.get(root, -_OFFER_EVERY) < _OFFER_EVERY:
        return
    import psutil  # here, since a training needs nothing of it

    try:
        process = psutil.Process(int((root / LOCK).read_text()))
        command, theirs = process.cmdline(), process.environ()
        if {_MODULE, str(root)} <= set(command) and not _given().items() <= theirs.items():
            _offered[root] = now
            process.terminate()
            (root / WANTING).unlink(missing_ok=True)
    except (OSError, ValueError, psutil.Error):  # it is ending, or belongs to another user
        return


def _given() -> dict[str, str]:
    """Return the variables of the environment that stores and webhooks may need."""
    secrets = set(secret_values())
    return {
        name: value
        for name, value in child_environment().items()
        if name.startswith(_GIVEN_BY) or value in secrets or value.startswith(("http:", "https:"))
    }


def child_environment() -> dict[str, str]:
    """Return the environment of a process that uses MLflow for dlframe."""
    import dlframe

    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    }
    env |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # These lines would show a password that is part of the URI.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_UV_AUTO_DETECT": "false",
        # Retrying is the delivery process's own work; a hanging server may hold one call this long.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": env.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    home = str(Path(dlframe.__file__).absolute().parent.parent)
    installed = {*site.getsitepackages(), sysconfig.get_path("purelib"), site.getusersitepackages()}
    paths = [os.path.abspath(p) for p in env.get("PYTHONPATH", "").split(os.pathsep) if p]
    if home not in installed:
        paths.append(home)
    if paths:
        env["PYTHONPATH"] = os.pathsep.join(paths)
    return env
