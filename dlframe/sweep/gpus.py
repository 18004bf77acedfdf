"""GPUs of one machine, each given to one trial at a time, whichever worker runs it."""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dlframe.errors import ConfigError

__all__ = ["Device", "Gpus", "devices", "visible"]

_POLL = 0.2
_UUIDS = ("GPU-", "MIG-")


class Device(NamedTuple):
    """A GPU, or a slice of one.

    Args:
        name: what ``CUDA_VISIBLE_DEVICES`` calls it in this process, where another may have the same
            name for another one.
        id: its UUID, the same in all processes of the machine.
    """

    name: str
    id: str


def devices() -> list[Device]:
    """Return the GPUs that this process may use."""
    return visible(os.environ.get("CUDA_VISIBLE_DEVICES"), _cards())


def visible(given: str | None, cards: Mapping[str, Sequence[str]]) -> list[Device]:
    """Return what CUDA lets a process see.

    Args:
        given: its ``CUDA_VISIBLE_DEVICES``; None where it has none.
        cards: the machine's UUIDs: for each card those of its slices, or its own where it has none.
            Numbers count in this order, which CUDA keeps among cards of one kind.
    """
    if given is None:
        return [Device(each, each) for slices in cards.values() for each in slices]
    found: list[Device] = []
    for word in map(str.strip, given.split(",")):
        meant = _meant(word, cards)
        # CUDA reads no further than to what it does not find, or what is named in another way.
        if len(meant) != 1 or _kind(word) != _kind(given.strip()):
            break
        found.append(Device(word, meant[0]))
    return found if len({each.id for each in found}) == len(found) else []


def _kind(word: str) -> str:
    return word[:4] if word.startswith(_UUIDS) else "number"


def _meant(word: str, cards: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what a word may stand for; of a card in slices CUDA uses the first."""
    if word.isdecimal():
        return [each for slices in list(cards.values())[int(word) :][:1] for each in slices[:1]]
    if word.startswith("GPU-"):  # its beginning suffices
        return [s for card, slices in cards.items() if card.startswith(word) for s in slices[:1]]
    if word.startswith("MIG-"):
        return [each for slices in cards.values() for each in slices if each.startswith(word)]
    return []


def _cards() -> dict[str, list[str]]:
    """Ask the driver for the machine's cards, as ``visible`` takes them."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver: no GPU
        return {}
    try:
        cards = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return {pynvml.nvmlDeviceGetUUID(card): _slices(card) for card in cards}
    finally:
        pynvml.nvmlShutdown()


def _slices(card: object) -> list[str]:
    import pynvml

    found: list[str] = []
    with suppress(pynvml.NVMLError):  # most cards cannot be sliced
        if pynvml.nvmlDeviceGetMigMode(card)[0]:
            for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
                with suppress(pynvml.NVMLError):  # a place without a slice
                    part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place)
                    found.append(pynvml.nvmlDeviceGetUUID(part))
            return found
    return [pynvml.nvmlDeviceGetUUID(card)]


class Gpus:
    """Leases GPUs by locks that the system lifts when the worker dies.

    Args:
        each: how many a trial gets; None is one where there are any, 0 gives none of its own and
            hides none.
        known: those that may be leased; None looks.
        folder: where the locks lie, the same for all workers of one user on the machine.

    Raises:
        ConfigError: a trial is to get more than there are.
    """

    def __init__(
        self, each: int | None, known: Sequence[Device] | None = None, folder: Path | None = None
    ) -> None:
        self._known = [] if each == 0 else list(devices() if known is None else known)
        self._each = min(1, len(self._known)) if each is None else each
        self._folder = folder or Path(tempfile.gettempdir()) / f"dlframe-gpus-{os.getuid()}"
        if self._each > len(self._known):
            raise ConfigError(
                f"each trial is to have {each} GPU{'' if each == 1 else 's'} for itself, and a worker "
                f"on {os.uname().nodename} may use {len(self._known)}; give "
                f"hydra.sweeper.gpus_per_trial={len(self._known)}, or start the workers elsewhere"
            )

    @contextmanager
    def lease(self, stopping: threading.Event) -> Iterator[dict[str, str]]:
        """Wait for as many as a trial gets; give the environment that shows it these alone.

        Args:
            stopping: ends the waiting; the trial then gets none.
        """
        if not self._each:
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
            for device in self._known:
                path = self._folder / f"{device.id.replace('/', '_')}.lock"
                try:
                    tried.enter_context(FileLock(path, thread_local=False).acquire(timeout=0))
                except Timeout:
                    continue
                got.append(device.name)
                if len(got) == self._each:
                    held.push(tried.pop_all())
                    return got
        return []
