"""How many steps one call of Lightning's loop runs; results do not depend on it."""

from dlframe.training.loader import TensorLoader

__all__ = ["Pace"]

_CALL_SECONDS = 0.04
"""How long one call should take: long against Lightning's 0.5 ms, short against a progress bar."""
_MOST_BATCHES = 512


class Pace:
    """Sets the loader's number of batches per call.

    Args:
        loader: the training part's.
        fixed: batches per call; None adapts.
        accumulate: batches per optimizer step, of which an adapted call runs whole ones only, so that
            every call ends where training can be resumed.
    """

    def __init__(self, loader: TensorLoader, fixed: int | None, accumulate: int) -> None:
        self._loader, self._accumulate = loader, accumulate
        self.adapts = fixed is None
        loader.steps_per_call = fixed or accumulate

    def took(self, seconds: float, batches: int) -> None:
        """Learn from a call how many batches the next one takes."""
        if self.adapts:
            wanted = int(_CALL_SECONDS / max(seconds / batches, 1e-6))
            number = max(1, min(wanted, 4 * self._loader.steps_per_call, _MOST_BATCHES))
            self._loader.steps_per_call = -(-number // self._accumulate) * self._accumulate
