"""Values as an override writes them, so that Hydra reads back exactly the value that was meant."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from dlframe.config.overrides import parse
from dlframe.errors import ConfigError

__all__ = ["name_of", "read", "text_of", "words_of"]

_ESCAPED = re.compile(r"([\\()\[\]{}:=, \t])")
_PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Za-z_][\w./-]*", re.IGNORECASE | re.ASCII)


def text_of(value: Any) -> str:
    """Return the text after ``=`` that Hydra reads as ``value``.

    Args:
        value: None, a bool, number or string, or a list or mapping of them.

    Raises:
        ConfigError: no override can say it, such as a mapping's key with a quote in it.
    """
    text = _text(value)
    if isinstance(value, (Mapping, list, tuple)) and not _says(text, value):
        raise ConfigError(
            f"{value!r} cannot be written as an override; give mappings keys of letters and digits"
        )
    return text


def read(text: str) -> Any:
    """Return the value of a text, as Hydra reads it."""
    return parse(f"value={text}").value()


def name_of(text: str) -> list[str]:
    """Return the names that the text of a group's choice selects: one, or those of a list."""
    inner = text[1:-1] if text.startswith("[") else text
    return [part for part in inner.split(",") if part]


def words_of(value: Any) -> str:
    """Return a number in as few characters as say it: ``1e-4``, ``0.05``, ``100``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text_of(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        digits, _, power = f"{value:.5e}".partition("e")
        digits = digits.rstrip("0").rstrip(".")
        return f"{digits}e{int(power)}"
    return f"{value:.6g}"


def _says(text: str, value: Any) -> bool:
    try:
        return bool(read(text) == _plain(value))
    except ConfigError:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str() if _PLAIN.fullmatch(value):
            return value
        case str():
            return QuotedString(value, Quote.single).with_quotes()
        case Mapping():
            return "{" + ",".join(f"{_key(k)}:{_text(v)}" for k, v in value.items()) + "}"
        case Sequence():
            return "[" + ",".join(map(_text, value)) + "]"
    raise ConfigError(f"{value!r} cannot be written as an override; give it as text")


def _key(value: Any) -> str:
    """A mapping's key, which Hydra's grammar knows no quotes for."""
    return _ESCAPED.sub(r"\\\1", value) if isinstance(value, str) else _text(value)
