"""Names as figures show them: short enough, not read as formulas, and never two of them alike."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

__all__ = ["plain_text", "shown"]

_LONGEST = 44
_CUT = "…"
_AROUND = 8


def plain_text(words: str) -> str:
    """Return words without their middle if they are long, and not read as a formula."""
    return _without_middle(words).replace("$", r"\$")


def shown(names: Sequence[str]) -> list[str]:
    """Return names as ``plain_text`` does, but so that different names stay different.

    Those that are equal at both ends are shown around where they differ; what is equal even so is
    numbered.
    """
    different = list(dict.fromkeys(names))
    short = {name: _without_middle(name) for name in different}
    for alike in _alike(short):
        around = _shared(alike), _shared([name[::-1] for name in alike])
        short |= {name: _around(name, *around) for name in alike}
    while equal := _alike(short):
        for alike in equal:
            short |= {name: f"{short[name]} ({place})" for place, name in enumerate(alike, 1)}
    return [short[name].replace("$", r"\$") for name in names]


def _alike(short: dict[str, str]) -> list[list[str]]:
    """Return the names that are shown alike."""
    by_text: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in short.items():
        by_text[text].append(name)
    return [names for names in by_text.values() if len(names) > 1]


def _shared(names: Sequence[str]) -> int:
    """Return how many characters all begin with."""
    return sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, zip(*names, strict=False)))


def _without_middle(words: str) -> str:
    if len(words) <= _LONGEST:
        return words
    half = (_LONGEST - 1) // 2
    return f"{words[:half]}{_CUT}{words[-half:]}"


def _around(name: str, before: int, after: int) -> str:
    """Return what lies between so many shared characters at both ends, with a few of those."""
    start, end = max(0, before - _AROUND), min(len(name), len(name) - after + _AROUND)
    part = _without_middle(name[start:end])
    return f"{_CUT if start else ''}{part}{_CUT if end < len(name) else ''}"
