"""Where a study is kept: a journal file on one machine, a database for several."""

import os
import time
import warnings
from errno import ENOENT
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, _CachedStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from dlframe.errors import ConfigError, DlframeError, StorageError, did_you_mean
from dlframe.sweep.marks import WORKER
from dlframe.sweep.patience import patient, unreachable
from dlframe.tracking.redaction import without_credentials

__all__ = [
    "check_name",
    "check_place",
    "find_study",
    "journal_of",
    "open_storage",
    "studies_folder",
    "study_names",
]

_JOURNAL, _SQL, _GRPC = "journal", ("sqlite", "postgresql", "mysql"), "grpc"
_FILE = "journal.log"
_RECENT = 600.0
"""Seconds; a worker gives a sign of life every twenty."""
_LONGEST = 200
"""Bytes of a name; a file's may have 255."""
_FORMS = "journal:///folder/study.log, sqlite:///study.db, postgresql://user@host/base or grpc://host:port"


def studies_folder(root: Path) -> Path:
    """Return where the studies of a tracking root lie, a folder each."""
    return root.absolute() / "studies"


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a study's folder.

    Raises:
        ConfigError: it cannot.
    """
    fits = 0 < len(name.encode()) <= _LONGEST and name.isprintable() and "${" not in name
    if not fits or "/" in name or "\\" in name or name[0] in " .-" or name[-1] == " ":
        raise ConfigError(
            f"a study's name is that of a folder, of 1 to {_LONGEST} bytes without slashes, and begins "
            f"with no dot, dash or space; got {name!r}; give another hydra.sweeper.study_name"
        )


def journal_of(name: str, root: Path) -> str:
    """Return the address at which a study is kept unless another one is given."""
    return f"{_JOURNAL}://{studies_folder(root) / name / _FILE}"


def open_storage(url: str) -> BaseStorage:
    """Open a storage, and make sure that it answers.

    A storage that goes away later is waited for.

    Args:
        url: ``journal:///file``, ``sqlite:///file``, ``postgresql://user@host/base``, or
            ``grpc://host:port`` of Optuna's proxy.

    Raises:
        ConfigError: no such kind of storage.
        StorageError: it does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what there is to say, the sweep says
    kind = url.partition(":")[0] if ":" in url else ""
    try:
        if kind == _JOURNAL:
            return patient(_journal(url))
        if kind.partition("+")[0] in _SQL:
            return patient(_database(url))
        if kind == _GRPC:
            return patient(_proxy(url))
    except DlframeError:
        raise
    except Exception as error:
        if type(error).__name__ == "ArgumentError":  # SQLAlchemy's, which is not always there
            raise ConfigError(
                f"the storage {without_credentials(url)!r} is no address of a database; write it as in "
                "sqlite:///study.db, with three slashes, or postgresql://user@host/base"
            ) from error
        if not unreachable(error) and not isinstance(error, (ImportError, ValueError)):
            raise
        said = " ".join(str(error).split("\n(Background")[0].split())
        raise StorageError(
            f"the storage {without_credentials(url)!r} cannot be opened ({said}); make sure that it "
            "is up and the address is right, or leave hydra.sweeper.storage out for a file"
        ) from error
    raise ConfigError(f"a storage is one of {_FORMS}; got {without_credentials(url)!r}")


def find_study(name: str, root: Path, storage: str | None) -> optuna.Study:
    """Return a study that exists.

    Args:
        name: of the study, or its beginning where only one begins so.
        root: the tracking root.
        storage: its address; None for a study's own file below ``root``.

    Raises:
        ConfigError: there is no such study, or several begin so.
        StorageError: the storage does not answer.
    """
    known = study_names(root, storage)
    fitting = [name] if name in known else [each for each in known if each.startswith(name)]
    if len(fitting) > 1:
        raise ConfigError(f"{len(fitting)} studies begin with {name!r}: {', '.join(fitting)}")
    if not fitting:
        place = without_credentials(storage) if storage else str(studies_folder(root))
        there = f"there are {', '.join(known)}" if known else "it holds no studies yet"
        raise ConfigError(
            f"no study is called {name!r} in {place!r}; {did_you_mean(name, known)}{there}"
        )
    found = fitting[0]
    return optuna.load_study(
        study_name=found, storage=open_storage(storage or journal_of(found, root))
    )


def study_names(root: Path, storage: str | None) -> list[str]:
    """Return the names of all studies, in order."""
    if storage is not None:
        return sorted(optuna.get_all_study_names(open_storage(storage)))
    return sorted(path.parent.name for path in studies_folder(root).glob(f"*/{_FILE}"))


def check_place(study: optuna.Study, storage: str | None) -> None:
    """Refuse to work on a journal file that workers of another machine write, too.

    Raises:
        ConfigError: they do, and locks of files do not reach that far.
    """
    if storage is not None and not storage.startswith(_JOURNAL):
        return
    here = os.uname().nodename
    others = {
        found["host"]
        for key, found in study.user_attrs.items()
        if key.startswith(WORKER)
        and not found["ended"]
        and found["host"] != here
        and time.time() - found["at"] < _RECENT
    }
    if others:
        raise ConfigError(
            f"a journal file serves one machine, and {', '.join(sorted(others))} works on the study "
            f"{study.study_name!r}; keep it in a database, hydra.sweeper.storage=postgresql://"
            "user@host/base, or wait for the end there"
        )


# --- kinds ----------------------------------------------------------------------------------------


class _Lock(BaseJournalFileLock):
    """A lock that the system lifts when its holder dies; Optuna's own is waited for 30 s then.

    Who has it removes what a killed writer, or a full disk, has left of a line.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        while True:
            try:
                self._lock.acquire(timeout=1.0, poll_interval=0.002)
                break
            except Timeout:  # which is also all that is told of a folder that is gone
                if not self._path.exists():
                    raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(self._path)) from None
        try:
            _remove_torn_line(self._path)
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        self._lock.release()


def _remove_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _journal(url: str) -> BaseStorage:
    # Not read as an address has it: a folder's name may hold # and ?.
    path = Path(url.removeprefix(f"{_JOURNAL}://"))
    if not path.is_absolute():
        raise ConfigError(
            f"a journal's address has three slashes, as in journal:///{path}; got {url!r}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # It holds the overrides, and with them what addresses say of passwords.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return JournalStorage(JournalFileBackend(str(path), _Lock(path)))


def _database(url: str) -> BaseStorage:
    # A connection that has died with its server is noticed before it is used.
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        arguments["connect_args"] = {"connect_timeout": 10}
        url = _with_driver(url)
    return _CachedStorage(RDBStorage(url, engine_kwargs=arguments))


def _with_driver(url: str) -> str:
    """Name the PostgreSQL driver that is installed, where the address leaves that open."""
    if not url.startswith("postgresql:"):
        return url
    drivers = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not drivers:
        raise ConfigError(
            f"the storage {without_credentials(url)!r} needs a PostgreSQL driver; install one with "
            "`pip install psycopg2-binary`"
        )
    return url.replace("postgresql:", f"postgresql+{drivers[0]}:", 1)


def _proxy(url: str) -> BaseStorage:
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ConfigError(f"a proxy's address reads grpc://host:port; got {url!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=parts.hostname, port=parts.port)
    storage.wait_server_ready(timeout=10)
    return storage
