"""Where a tracking root keeps its store, and how its delivery process is started."""

import fcntl
import os
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

from dlframe.tracking.credentials import with_credentials

__all__ = ["LOCK", "LOG", "child_environment", "default_uri", "ensure_delivery", "resolve_uri"]

LOCK = "delivery.lock"
LOG = "delivery.log"
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

    It runs in a session of its own, so that neither Ctrl-C nor the end of the training ends it.

    Raises:
        OSError: the process or its log cannot be made.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    with open(root / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    log = root / LOG
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with open(log, "ab") as output:
        _started.append(
            subprocess.Popen(
                # -P: a file called types.py in the user's folder must not become a module here.
                [sys.executable, "-P", "-m", "dlframe.tracking.deliver", str(root.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=root,
                env=child_environment(),
                start_new_session=True,
            )
        )
    return True


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
