"""Where the weights come from that a training began with, for its record."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = ["Origin", "listed"]

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights come from that a training began with.

    Args:
        run: id of the run that trained them.
        sha256: of its checkpoint.
        parts: those that were asked for; empty for the whole network.
        loaded: names of the tensors that were loaded, each with its name in the other network.
        left: what was to be loaded and does not fit, one phrase each.
    """

    run: str
    sha256: str
    parts: list[str]
    loaded: dict[str, str]
    left: list[str]

    def tags(self) -> dict[str, str]:
        """Return the tags of a run that began so."""
        return {
            "dlframe.transfer_run": self.run,
            "dlframe.transfer_sha256": self.sha256,
            "dlframe.transfer_parts": " ".join(self.parts) or "all",
        }

    def tell(self) -> None:
        """Say on standard error what did not fit."""
        if self.left:
            print(
                f"dlframe: {len(self.loaded)} tensors begin as those of run {self.run}; left as they "
                f"were initialized: {listed(self.left)}",
                file=sys.stderr,
            )

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps(asdict(self), indent=1)


def listed(phrases: Sequence[str]) -> str:
    """Return the first few phrases, and how many more there are."""
    more = f", and {len(phrases) - _NAMED} more" if len(phrases) > _NAMED else ""
    return ", ".join(phrases[:_NAMED]) + more
