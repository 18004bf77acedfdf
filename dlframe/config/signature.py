"""From a component's signature to its options.

The source is parsed first, without importing it: then listing options, composing a config and reporting
its errors need no torch. Where parsing cannot be sure (a decorator, a default that is an expression, an
annotation from an unknown module), the target is imported and inspected instead; both ways give the
same answer, which the conformance kit checks.
"""

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from dlframe.config.options import REQUIRED, Option, is_supported
from dlframe.errors import BrokenPluginError, ConfigError, DlframeError
from dlframe.interfaces.options import COMMON_OPTIONS
from dlframe.plugin import ALL_KINDS, Entry, registry

__all__ = ["Signature", "construct", "dataclass_options", "imported", "parsed", "signature_of"]


@dataclass(frozen=True, slots=True)
class Signature:
    """Options and documentation of a component.

    Args:
        options: in the order of the signature; those common to the kind come last.
        doc: the docstring.
        accepts: names of all parameters, the runtime arguments included; None takes any.
    """

    options: tuple[Option, ...]
    doc: str
    accepts: frozenset[str] | None


@cache
def signature_of(kind: str, target: str) -> Signature:
    """Return the signature of ``target`` as a component of ``kind``, imported only if need be."""
    return parsed(kind, target) or imported(kind, target)


def load(entry: Entry) -> Signature:
    """Return a component's signature.

    Raises:
        BrokenPluginError: its module cannot be found or imported.
    """
    try:
        if registry().in_memory(entry.plugin):
            return imported(entry.kind, entry.component.target)
        return signature_of(entry.kind, entry.component.target)
    except Exception as error:  # any plugin's module may raise anything
        raise BrokenPluginError(
            f"{entry.kind} {entry.id!r} cannot be loaded from {entry.component.target!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


def construct(entry: Entry, options: Mapping[str, Any], runtime: Mapping[str, Any]) -> Any:
    """Build a component.

    Args:
        entry: the component.
        options: checked, by name.
        runtime: arguments of which it gets those that it names.

    Raises:
        ConfigError: it refuses its options.
    """
    accepts = load(entry).accepts
    passed = {name: v for name, v in runtime.items() if accepts is None or name in accepts}
    try:
        return entry.component.load()(**passed, **options)
    except DlframeError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{entry.kind} {entry.id!r} refuses its options: {error}") from error


def dataclass_options(cls: type) -> tuple[Option, ...]:
    """Return the fields of a dataclass as options."""
    hints, help_texts = get_type_hints(cls, include_extras=True), _arguments(cls.__doc__ or "")
    return tuple(
        Option(
            item.name,
            hints[item.name],
            item.default
            if item.default is not MISSING
            else (item.default_factory() if item.default_factory is not MISSING else REQUIRED),
            help_texts.get(item.name, ""),
        )
        for item in fields(cls)
    )


# --- reading by import ----------------------------------------------------------------------------


def imported(kind: str, target: str) -> Signature:
    """Import the target and inspect it."""
    module, _, name = target.partition(":")
    value = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(value) or ""
    init = value.__init__ if inspect.isclass(value) else value
    if inspect.isclass(value) and init is not object.__init__:
        doc = "\n\n".join(filter(None, [doc, init.__doc__ and inspect.cleandoc(init.__doc__)]))
    try:
        hints = get_type_hints(init, include_extras=True)
    except (
        Exception
    ):  # an annotation that cannot be evaluated says nothing: the default's type counts
        hints = {}
    found = [
        (p.name, hints.get(p.name, inspect.Parameter.empty), p.default, p.kind)
        for p in inspect.signature(value).parameters.values()
    ]
    variadic = any(kind_ is inspect.Parameter.VAR_KEYWORD for *_, kind_ in found)
    # torch's base class declares **kwargs and accepts none.
    variadic = variadic and f"{init.__module__}.{init.__qualname__}" not in _REFUSING
    plain = [
        (
            name_,
            None if hint is inspect.Parameter.empty else hint,
            REQUIRED if default is inspect.Parameter.empty else default,
        )
        for name_, hint, default, kind_ in found
        if kind_ not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    return _signature(kind, plain, doc, variadic=variadic)


def _signature(
    kind: str, parameters: list[tuple[str, Any, Any]], doc: str, *, variadic: bool
) -> Signature:
    help_texts = _arguments(doc)
    options = [
        Option(name, _usable(hint, default), default, help_texts.get(name, ""))
        for name, hint, default in parameters
        if name not in ALL_KINDS[kind].runtime and _is_plain(default)
    ]
    if kind in COMMON_OPTIONS:
        own = {option.name for option in options}
        options += [o for o in dataclass_options(COMMON_OPTIONS[kind]) if o.name not in own]
    accepts = None if variadic else frozenset(name for name, _, _ in parameters)
    return Signature(tuple(options), doc, accepts)


def _is_plain(value: Any) -> bool:
    """Whether a default can stand in a config; any other is left to the component (a dtype, say)."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is REQUIRED or value is None or isinstance(value, (bool, int, float, str, Path))


def _usable(hint: Any, default: Any) -> Any:
    """The annotation, less what no config can hold (``float | Tensor``); else the default's type."""
    if hint is not None and (held := _held(hint)) is not None:
        return held
    if default is REQUIRED or default is None or not is_supported(type(default)):
        return Any
    return type(default)


def _held(hint: Any) -> Any:
    """The part of a type that a config can hold, or None."""
    origin, args = get_origin(hint), get_args(hint)
    if is_supported(hint):
        return hint
    if origin in (Union, UnionType):
        parts = [part for part in map(_held, args) if part is not None]
        return Union[tuple(parts)] if parts else None  # noqa: UP007 - built at run time
    if origin in (tuple, list):
        items = tuple(arg if arg is Ellipsis else _held(arg) for arg in args)
        return None if None in items else origin[items]
    return None


_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters)\s*:\s*$")
_ARGUMENT = re.compile(r"^(\s+)(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


def _arguments(doc: str) -> dict[str, str]:
    """The texts of a Google-style ``Args`` section (torch's docstrings read alike)."""
    texts: dict[str, list[str]] = {}
    name, indent = None, None
    inside = False
    for line in inspect.cleandoc(doc).splitlines():
        if _SECTION.match(line):
            inside, name, indent = True, None, None
        elif inside and line.strip() and not line.startswith(" "):
            inside = False
        elif inside and (match := _ARGUMENT.match(line)) and indent in (None, len(match[1])):
            indent, name = len(match[1]), match[2]
            texts[name] = [match[3]]
        elif inside and name and line.strip():
            texts[name].append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in texts.items()}


# --- reading by parsing ---------------------------------------------------------------------------

_LIGHT = {
    "typing",
    "collections.abc",
    "annotated_types",
    "pathlib",
    "dlframe.interfaces.options",
    "dlframe.interfaces",
}
"""Modules whose names an annotation may use without an import of anything heavy."""
_BARE = {
    "object",
    "abc.ABC",
    "typing.Protocol",
    "torch.nn.Module",
    "torch.nn.modules.module.Module",
}
"""Bases that bring no parameters."""
_REFUSING = {f"{base}.__init__" for base in _BARE}


class _Unsure(Exception):
    """Parsing cannot tell; the target must be imported."""


def parsed(kind: str, target: str) -> Signature | None:
    """Read the signature from the source, or return None where that is not certain."""
    module, _, name = target.partition(":")
    try:
        source, node = _definition(module, name)
        if isinstance(node, ast.ClassDef):
            doc = ast.get_docstring(node) or ""
            source, init = _initializer(source, node)
            if init is None:
                return _signature(kind, [], doc, variadic=False)
            doc = "\n\n".join(filter(None, [doc, ast.get_docstring(init)]))
            return _from_arguments(kind, source, init, doc, method=True)
        return _from_arguments(kind, source, node, ast.get_docstring(node) or "", method=False)
    except (_Unsure, SyntaxError, UnicodeDecodeError, OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Source:
    """A parsed module."""

    name: str
    tree: ast.Module
    package: bool

    def imports(self) -> Mapping[str, str]:
        """Map local names to origins: ``from x import y as z`` gives ``{"z": "x:y"}``."""
        found: dict[str, str] = {}
        for node in _statements(self.tree):
            if isinstance(node, ast.ImportFrom):
                origin = self._absolute(node)
                found |= {a.asname or a.name: f"{origin}:{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                found |= {a.asname or a.name.partition(".")[0]: a.name for a in node.names}
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + (1 if self.package else 0)]
        return ".".join([*parts, *([node.module] if node.module else [])])


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from node.body


@cache
def _source(module: str) -> _Source:
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise _Unsure
    path, package = Path(spec.origin), spec.submodule_search_locations is not None
    for part in rest:
        if not package:
            raise _Unsure
        folder = path.parent
        package = (folder / part / "__init__.py").is_file()
        path = folder / part / "__init__.py" if package else folder / f"{part}.py"
    if path.suffix != ".py" or not path.is_file():
        raise _Unsure
    return _Source(module, ast.parse(path.read_text(encoding="utf-8")), package)


def _names_bound(node: ast.stmt) -> set[str]:
    """Names that a statement binds, nested blocks included."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name for alias in node.names}
    stored = (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
    nested = (n.name for n in ast.walk(node) if isinstance(n, (ast.ClassDef, ast.FunctionDef)))
    binds = isinstance(node, (ast.Assign, ast.AnnAssign, ast.If, ast.Try, ast.With, ast.For))
    return {*stored, *nested} if binds else set()


_Definition = ast.ClassDef | ast.FunctionDef


def _definition(module: str, name: str, depth: int = 0) -> tuple[_Source, _Definition]:
    """Find where ``name`` is defined, following re-exports."""
    source = _source(module)
    found = [node for node in _statements(source.tree) if name in _names_bound(node)]
    if len(found) > 1:  # bound again further down, as in `Layer = wrap(Layer)`
        raise _Unsure
    for node in found:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            if node.decorator_list:
                raise _Unsure
            return source, node
    origin = source.imports().get(name, "")
    if ":" not in origin or depth > 5:
        raise _Unsure
    module, _, name = origin.partition(":")
    return _definition(module, name, depth + 1)


def _initializer(source: _Source, node: ast.ClassDef) -> tuple[_Source, ast.FunctionDef | None]:
    """The ``__init__`` that a class uses: its own, or that of the first base that has one."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            if item.decorator_list:
                raise _Unsure
            return source, item
        if isinstance(item, ast.FunctionDef) and item.name == "__new__":
            raise _Unsure
    if node.keywords:
        raise _Unsure
    for base in node.bases:
        origin = _qualified(source, base)
        if origin.replace(":", ".") in _BARE:
            continue
        module, _, name = origin.rpartition(":" if ":" in origin else ".")
        base_source, base_node = _definition(module, name)
        if not isinstance(base_node, ast.ClassDef):
            raise _Unsure
        found = _initializer(base_source, base_node)
        if found[1] is not None:
            return found
    return source, None


def _qualified(source: _Source, node: ast.expr) -> str:
    """Where a name or dotted name comes from, as ``module:name`` or ``module.name``."""
    if isinstance(node, ast.Name):
        return source.imports().get(node.id) or (
            "object" if node.id == "object" else f"{source.name}:{node.id}"
        )
    if isinstance(node, ast.Attribute):
        return f"{_qualified(source, node.value).replace(':', '.')}:{node.attr}"
    raise _Unsure


def _from_arguments(
    kind: str, source: _Source, node: ast.FunctionDef, doc: str, *, method: bool
) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if method else 0 :]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults[-len(positional) :] if positional else []
    pairs = [*zip(positional, defaults, strict=True)]
    pairs += [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    runtime, names = ALL_KINDS[kind].runtime, source.imports()
    parameters = [
        (
            arg.arg,
            None if arg.arg in runtime else _annotation(arg.annotation, names),
            REQUIRED if default is None or arg.arg in runtime else ast.literal_eval(default),
        )
        for arg, default in pairs
    ]
    return _signature(kind, parameters, doc, variadic=arguments.kwarg is not None)


def _annotation(node: ast.expr | None, imports: Mapping[str, str]) -> Any:
    if node is None:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    builtins = {"int": int, "float": float, "str": str, "bool": bool}
    builtins |= {"list": list, "tuple": tuple, "dict": dict}
    scope: dict[str, Any] = {"__builtins__": {}, **builtins}
    for name in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - builtins.keys():
        module, _, attribute = imports.get(name, "").partition(":")
        if module not in _LIGHT or not attribute:
            raise _Unsure
        scope[name] = getattr(importlib.import_module(module), attribute)
    try:  # no builtins, and only names of the light modules above
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), scope)
    except Exception as error:  # an annotation may be any expression
        raise _Unsure from error
