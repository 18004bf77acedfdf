"""Options: what a user sets. Their types, and the check of one value against one type."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen

from dlframe.errors import ConfigError, did_you_mean
from dlframe.interfaces.options import Range

__all__ = ["REQUIRED", "Option", "base_type", "check", "describe", "is_supported"]


class _Required:
    """The default of an option that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a component.

    Args:
        name: the word after the component's key, as in ``optimizer.lr``.
        hint: the type, with its bounds; ``Any`` where the signature says nothing usable.
        default: the default, or ``REQUIRED``.
        help: what it means, from the docstring.
    """

    name: str
    hint: Any
    default: Any = REQUIRED
    help: str = ""

    @property
    def range(self) -> Range | None:
        """Where a sweep should search, if the component says so."""
        found = [item for item in _metadata(self.hint) if isinstance(item, Range)]
        return found[0] if found else None


_SCALARS = (bool, int, float, str)


def is_supported(hint: Any) -> bool:
    """Whether values of this type can stand in a YAML file and be checked."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Any, None, NoneType, Path, list, tuple, dict) or hint in _SCALARS:
        return True
    if origin is Annotated:
        return is_supported(args[0])
    if origin is Literal:
        return all(isinstance(arg, (*_SCALARS, NoneType)) for arg in args)
    if origin in (Union, UnionType, list, tuple, Sequence, dict, Mapping):
        return all(arg is Ellipsis or is_supported(arg) for arg in args)
    return False


def base_type(hint: Any) -> tuple[Any, bool]:
    """Reduce a type to a scalar type (or ``Any``) and whether None is allowed."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return base_type(args[0])
    if origin is Literal:
        kinds = {type(arg) for arg in args if arg is not None}
        return (kinds.pop() if len(kinds) == 1 else Any), None in args
    if origin in (Union, UnionType):
        rest = [arg for arg in args if arg is not NoneType]
        return (base_type(rest[0])[0] if len(rest) == 1 else Any), NoneType in args
    return (hint if hint in _SCALARS else Any), hint in (Any, None, NoneType)


def describe(hint: Any) -> str:
    """Name a type and its bounds in words, as in ``float > 0``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = _bounds(args[1:])
        return describe(args[0]) + (f" {bounds}" if bounds else "")
    if origin is Literal:
        return " | ".join("null" if arg is None else str(arg) for arg in args)
    if origin in (Union, UnionType):
        return " | ".join(describe(arg) for arg in args)
    if origin is tuple:
        if args[1:] == (Ellipsis,):
            return f"list of {describe(args[0])}"
        return f"[{', '.join(describe(arg) for arg in args)}]"
    if origin in (list, Sequence):
        return f"list of {describe(args[0])}"
    if origin in (dict, Mapping):
        return f"mapping of {describe(args[1])}"
    if hint in (None, NoneType):
        return "null"
    return {Any: "any", list: "list", tuple: "list", dict: "mapping", Path: "path"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


def check(key: str, value: Any, hint: Any) -> Any:
    """Return ``value`` converted to ``hint``.

    Args:
        key: the option as the user typed it, for the message.
        value: a plain value (no OmegaConf container).
        hint: the option's type.

    Raises:
        ConfigError: the value is of another type or out of bounds.
    """
    try:
        return _convert(value, hint)
    except _Mismatch as mismatch:
        remedy = f"; {mismatch.hint.rstrip()}" if mismatch.hint else ""
        raise ConfigError(f"{key} must be {describe(hint)}; got {_shown(value)}{remedy}") from None


class _Mismatch(Exception):
    def __init__(self, hint: str = "") -> None:
        self.hint = hint


def _shown(value: Any) -> str:
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def _metadata(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return get_args(hint)[1:]
    if get_origin(hint) in (Union, UnionType):
        return tuple(item for arg in get_args(hint) for item in _metadata(arg))
    return ()


def _bounds(metadata: Sequence[Any]) -> str:
    words = []
    for item in metadata:
        match item:
            case Gt(gt=bound):
                words.append(f"> {bound}")
            case Ge(ge=bound):
                words.append(f">= {bound}")
            case Lt(lt=bound):
                words.append(f"< {bound}")
            case Le(le=bound):
                words.append(f"<= {bound}")
            case MaxLen(max_length=most):
                words.append(f"of at most {most} characters")
    return " and ".join(words)


def _within(value: Any, metadata: Sequence[Any]) -> bool:
    for item in metadata:
        match item:
            case Gt(gt=bound) if not value > bound:
                return False
            case Ge(ge=bound) if not value >= bound:
                return False
            case Lt(lt=bound) if not value < bound:
                return False
            case Le(le=bound) if not value <= bound:
                return False
            case MaxLen(max_length=most) if len(value) > most:
                return False
    return True


def _convert(value: Any, hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _convert(value, args[0])
        if not _within(value, args[1:]):
            raise _Mismatch
        return value
    if origin is Literal:
        if value in args:
            return value
        raise _Mismatch(did_you_mean(str(value), [str(arg) for arg in args]))
    if origin in (Union, UnionType):
        return _convert_union(value, args)
    if hint is Any:
        return value
    if hint in (None, NoneType):
        if value is None:
            return None
        raise _Mismatch
    if hint in _SCALARS:
        return _convert_scalar(value, hint)
    if hint is Path:
        return Path(_convert_scalar(value, str))
    return _convert_container(value, hint, origin, args)


def _convert_union(value: Any, args: tuple[Any, ...]) -> Any:
    hint = ""
    for arg in sorted(args, key=lambda arg: arg is str):  # str takes numbers too, so it comes last
        try:
            return _convert(value, arg)
        except _Mismatch as mismatch:
            if get_origin(arg) is Literal:  # how to write a list helps only where nothing else fits
                hint = hint or mismatch.hint
    raise _Mismatch(hint)


def _convert_scalar(value: Any, hint: Any) -> Any:
    if isinstance(value, bool) or value is None:
        if hint is bool and value is not None:
            return value
        raise _Mismatch
    if hint is int and isinstance(value, int):
        return value
    if hint is float and isinstance(value, (int, float)) and not math.isnan(value):
        return float(value)
    if hint is str and isinstance(value, (str, int, float, Path)):
        return str(value)
    raise _Mismatch


def _convert_container(value: Any, hint: Any, origin: Any, args: tuple[Any, ...]) -> Any:
    kind = origin or hint
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _Mismatch
        return {str(k): _convert(v, args[1] if args else Any) for k, v in value.items()}
    if not isinstance(value, (list, tuple)):
        raise _Mismatch("write a list as [a,b]")
    if kind is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise _Mismatch
        return tuple(_convert(v, arg) for v, arg in zip(value, args, strict=True))
    item = args[0] if args else Any
    return (tuple if kind is tuple else list)(_convert(v, item) for v in value)
