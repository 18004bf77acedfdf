"""A storage that may be away for a while: its database is restarted, its network is down."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage

__all__ = ["Patient", "patient", "unreachable"]

_PATIENCE = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_ASIDE = 5.0


def unreachable(error: BaseException) -> bool:
    """Whether an error says that a storage does not answer, rather than that it refuses."""
    if isinstance(error, StorageInternalError):
        return error.__cause__ is None or unreachable(error.__cause__)
    if isinstance(error, OSError):
        return True
    # By name: neither of the two is loaded where it is not used.
    name = f"{type(error).__module__}.{type(error).__name__}"
    if name in ("sqlalchemy.exc.OperationalError", "sqlalchemy.exc.InterfaceError"):
        return True
    if name.startswith("sqlalchemy.exc.") and getattr(error, "connection_invalidated", False):
        return True
    said = getattr(error, "code", None)
    return name.startswith("grpc.") and callable(said) and said().name == "UNAVAILABLE"


class Patient(BaseStorage):
    """Hands calls on to a storage, again and again for five minutes while that does not answer.

    Args:
        storage: the storage.

    Attributes:
        hurry: once it is set, nothing is waited for any more.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self.hurry = threading.Event()

    def _insist(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        began, pause, told = time.monotonic(), _FIRST_PAUSE, False
        while True:
            try:
                return call(*args, **options)
            except UpdateFinishedTrialError:
                if pause > _FIRST_PAUSE:  # the first call was carried out, only its reply was lost
                    return True
                raise
            except Exception as error:
                waited = time.monotonic() - began
                if not unreachable(error) or waited > _PATIENCE or self.hurry.is_set():
                    raise
                if waited > _ASIDE and not told:
                    told = True
                    said = " ".join(str(error).split("\n(Background")[0].split())[:200]
                    print(
                        f"dlframe: the study's storage does not answer ({said}); trying again for "
                        f"{_PATIENCE / 60:.0f} minutes",
                        file=sys.stderr,
                    )
                self.hurry.wait(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)


def _patiently(name: str) -> Callable[..., Any]:
    def call(self: Patient, *args: Any, **options: Any) -> Any:
        return self._insist(getattr(self._storage, name), *args, **options)

    call.__name__ = name
    return call


# All of them, the optional ones too: the base's own versions would ask for every trial there is.
for _name in [name for name in vars(BaseStorage) if not name.startswith("_")]:
    setattr(Patient, _name, _patiently(_name))
Patient.__abstractmethods__ = frozenset()


def patient(storage: BaseStorage) -> BaseStorage:
    """Return the storage as one that is waited for."""
    return Patient(storage)  # type: ignore[abstract]  # its methods are set above
