"""A storage that may be away for a while: its database is restarted, its network is down."""

import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from dlframe.errors import StorageError

__all__ = ["Patient", "patient", "read_once", "unreachable", "wait_again", "wait_no_more"]

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


class _Wait:
    """How long this process has waited for a storage, whichever of its connections asked.

    Else each of them would wait anew, one after the other, once the worker has given up.
    """

    def __init__(self) -> None:
        self.hurry = threading.Event()
        self._since: float | None = None
        self._told = False

    def over(self) -> None:
        """Note that the storage answers."""
        self._since, self._told = None, False

    def on(self, error: BaseException) -> bool:
        """Note that it does not answer; return whether to go on waiting."""
        now = time.monotonic()
        self._since = self._since or now
        waited = now - self._since
        if waited > _PATIENCE or self.hurry.is_set():
            return False
        if waited > _ASIDE and not self._told:
            self._told = True
            said = " ".join(str(error).split("\n(Background")[0].split())[:200]
            print(
                f"dlframe: the study's storage does not answer ({said}); trying again for "
                f"{_PATIENCE / 60:.0f} minutes",
                file=sys.stderr,
            )
        return True


_WAIT = _Wait()


def wait_no_more() -> None:
    """Wait for no storage from now on: the user wants the end."""
    _WAIT.hurry.set()


def wait_again() -> None:
    """Wait for storages as usual, as another command begins."""
    _WAIT.hurry.clear()


class Patient(BaseStorage):
    """Hands calls on to a storage, again and again for five minutes while that does not answer.

    Args:
        storage: the storage.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._read = threading.local()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return a study's trials, within ``read_once`` those that were read before."""
        read: Sequence[FrozenTrial] | None = getattr(self._read, "trials", None)
        if read is not None and not deepcopy:
            return [trial for trial in read if states is None or trial.state in states]
        found: list[FrozenTrial] = self._insist(
            self._storage.get_all_trials, study_id, deepcopy=deepcopy, states=states
        )
        return found

    def _insist(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        pause, again = _FIRST_PAUSE, False
        while True:
            try:
                found = call(*args, **options)
            except UpdateFinishedTrialError:
                _WAIT.over()
                if again:  # the first call was carried out, only its reply was lost
                    return True
                raise
            except FileNotFoundError as error:  # a file that was deleted does not come back
                raise StorageError(
                    f"the study's storage is gone: there is no {error.filename!r} any more; begin the "
                    "study anew with the same command"
                ) from error
            except Exception as error:
                if not unreachable(error) or not _WAIT.on(error):
                    raise
                again = True
                _WAIT.hurry.wait(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            else:
                _WAIT.over()
                return found


def _patiently(name: str) -> Callable[..., Any]:
    def call(self: Patient, *args: Any, **options: Any) -> Any:
        return self._insist(getattr(self._storage, name), *args, **options)

    call.__name__ = name
    return call


# All others, the optional ones too: the base's own versions would ask for every trial there is.
for _name in vars(BaseStorage).keys() - vars(Patient).keys():
    if not _name.startswith("_"):
        setattr(Patient, _name, _patiently(_name))
Patient.__abstractmethods__ = frozenset()


@contextmanager
def read_once(storage: BaseStorage, trials: Sequence[FrozenTrial]) -> Iterator[None]:
    """Let this thread's questions for a study's trials be answered by what was just read.

    Optuna asks three times for one proposal, and each time a database tells all running trials anew.
    """
    if not isinstance(storage, Patient):
        yield
        return
    storage._read.trials = trials
    try:
        yield
    finally:
        storage._read.trials = None


def patient(storage: BaseStorage) -> BaseStorage:
    """Return the storage as one that is waited for."""
    return Patient(storage)  # type: ignore[abstract]  # its methods are set above
