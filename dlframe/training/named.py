"""Parts of a network by name, as a user names them to transfer or to freeze them."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from dlframe.errors import ConfigError, did_you_mean

__all__ = ["find_parts", "inside"]

_SHOWN = 12


def find_parts(
    option: str, words: Sequence[str], tensors: Iterable[str], *, whose: str = "the network"
) -> dict[str, list[str]]:
    """Return the parts that ``words`` name, each with its tensors, in the order of the network.

    A part is a module or a single tensor. A word is its name, ``features``, or a pattern for several,
    ``features.*``, of which those count that lie in no other that fits. What holds no tensors is no
    part.

    Args:
        option: that the words are given for, for the message.
        words: names or patterns.
        tensors: names of all parameters and buffers, as ``features.0.weight``.
        whose: what the message calls the network.

    Raises:
        ConfigError: a word names nothing.
    """
    tensors = list(tensors)
    known = list(dict.fromkeys(part for name in tensors for part in _around(name)))
    found: dict[str, list[str]] = {}
    for word in words:
        fitting = [part for part in known if part == word or fnmatchcase(part, word)]
        if not fitting:
            outer = list(dict.fromkeys(name.partition(".")[0] for name in tensors))
            more = ", ..." if len(outer) > _SHOWN else ""
            raise ConfigError(
                f"{option} names {word!r}, and {whose} has no such part with weights; "
                f"{did_you_mean(word, known)}its parts are {', '.join(outer[:_SHOWN])}{more}, and what "
                "is in them"
            )
        outermost = [part for part in fitting if not any(p in fitting for p in _around(part)[:-1])]
        found |= {part: [name for name in tensors if inside(part, name)] for part in outermost}
    return {part: found[part] for part in known if part in found}


def inside(part: str, name: str) -> bool:
    """Whether ``name`` is ``part`` or lies in it."""
    return name == part or name.startswith(f"{part}.")


def _around(name: str) -> list[str]:
    """Return the names of all parts that a tensor lies in, from the outermost to itself."""
    words = name.split(".")
    return [".".join(words[: count + 1]) for count in range(len(words))]
