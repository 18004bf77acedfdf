"""GPUs of one machine, each given to one trial at a time, whichever worker runs it."""

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Gpus", "devices"]

_POLL = 0.2


def devices() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [word for word in given.split(",") if word not in ("", "-1")]
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver: no GPU
        return []
    try:
        return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


class Gpus:
    """Leases GPUs by locks that the system lifts when the worker dies.

    Args:
        each: how many a trial gets; 0 gives none of its own, and hides none.
        known: names of those of this machine; None looks.
        folder: where the locks lie, the same for all workers of one user on the machine.
    """

    def __init__(
        self, each: int, known: Sequence[str] | None = None, folder: Path | None = None
    ) -> None:
        self._each = each
        self._known = list(devices() if known is None else known) if each else []
        self._folder = folder or Path(tempfile.gettempdir()) / f"dlframe-gpus-{os.getuid()}"

    @contextmanager
    def lease(self, stopping: threading.Event) -> Iterator[dict[str, str]]:
        """Wait for as many as a trial gets; give the environment that shows it these alone.

        Args:
            stopping: ends the waiting; the trial then gets none.
        """
        if not self._known:
            yield {}
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as held:
            while not (got := self._take(held)) and not stopping.wait(_POLL):
                pass
            yield {"CUDA_VISIBLE_DEVICES": ",".join(got)}

    def _take(self, held: ExitStack) -> list[str]:
        """Take all that a trial gets, or none: two that wait for each other would wait for ever."""
        got: list[str] = []
        with ExitStack() as tried:
            for name in self._known:
                lock = FileLock(self._folder / f"{name.replace('/', '_')}.lock", thread_local=False)
                try:
                    tried.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    continue
                got.append(name)
                if len(got) == min(self._each, len(self._known)):
                    held.push(tried.pop_all())
                    return got
        return []
