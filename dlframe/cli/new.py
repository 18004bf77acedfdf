"""``dlframe new``: a plugin package to start from."""

import keyword
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import dlframe
from dlframe.cli.parser import command_parser
from dlframe.errors import DlframeError, did_you_mean
from dlframe.plugin import BUILTIN, KINDS, Kind, kind_named, registry

__all__ = ["run"]

_TEMPLATE = Path(__file__).parent / "template"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What differs between kinds, besides the component's module."""

    summary: str
    descriptor: str = ""
    settings: str = ""


_SHAPES: Mapping[str, _Shape] = {
    "architecture": _Shape(
        "one hidden layer over the flattened input",
        '\n        tasks=("classification", "multilabel", "regression"),'
        '\n        inputs=("features", "image", "sequence"),',
    ),
    "activation": _Shape("x * sigmoid(beta * x)"),
    "loss": _Shape(
        "squared for small errors, linear for large ones", '\n        tasks=("regression",),'
    ),
    "optimizer": _Shape("gradient descent with momentum"),
    "regularizer": _Shape(
        "add the sum of the squared weights to the loss",
        settings='\n    off = {"weight": 0.0}',
    ),
    "scheduler": _Shape(
        "a straight line from the full rate down", '\n        tags=frozenset({"per_step"}),'
    ),
    "initializer": _Shape("normal weights scaled by the number of inputs"),
    "data": _Shape(
        "points around two centres",
        '\n        tasks=("classification",),\n        inputs=("features",),',
    ),
    "task": _Shape(
        "numbers for each example",
        '\n        tasks=("regression",),\n        defaults={"loss": "mse"},',
    ),
}
_SELECTION = {
    "regularizer": "'regularizer=[{name}]'",
    "loss": "data=diabetes loss={name}",
    "task": "data=diabetes task={name}",
}


def run(argv: list[str]) -> int:
    """Write the package and print the commands that come next."""
    parser = command_parser(
        "new",
        "Write a complete plugin package with one component and its test.",
        "activation snake",
        "loss tversky --folder ~/plugins",
    )
    parser.add_argument("kind", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("name", help="name of the plugin and of its component, such as snake")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where to write the package (default: here)"
    )
    arguments = parser.parse_args(argv)
    kind = kind_named(arguments.kind)
    if kind is None or kind.name not in KINDS:
        raise DlframeError(
            f"there is no kind {arguments.kind!r}; {did_you_mean(arguments.kind, KINDS)}"
            f"the kinds are {', '.join(KINDS)}"
        )
    _check_name(kind, arguments.name)
    package = arguments.folder / _distribution(arguments.name)
    if package.exists():
        raise DlframeError(f"{package} exists already; choose another name, or move it away")
    files = dict(_files(kind, arguments.name))
    for path, text in files.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text, encoding="utf-8")
    print(f"wrote {package}:")
    for path in files:
        print(f"  {path}")
    print("\nnext:")
    print(f"  cd {shlex.quote(str(package))}")
    print("  pip install -e '.[testing]'")
    print(f"  dlframe show {kind.name}/{arguments.name}")
    print(f"  dlframe check {arguments.name} --tests tests/test_{arguments.name}.py")
    print(f"  dlframe train {_selection(kind, arguments.name)}")
    return 0


def _check_name(kind: Kind, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise DlframeError(
            "a name must be lower-case letters and digits, parts joined by one underscore, and no "
            f"word of Python's own; got {name!r}"
        )
    if name == BUILTIN:
        raise DlframeError(f"the name {BUILTIN!r} is dlframe's own; choose another")
    if registry().knows(kind.name, f"{BUILTIN}/{name}"):
        raise DlframeError(
            f"dlframe has a built-in {kind.name} called {name!r}, whose short name is reserved; "
            "choose another"
        )


def _distribution(name: str) -> str:
    return f"dlframe-{name.replace('_', '-')}"


def _selection(kind: Kind, name: str) -> str:
    return _SELECTION.get(kind.name, f"{kind.name}={{name}}").format(name=name)


def _files(kind: Kind, name: str) -> Iterator[tuple[str, str]]:
    shape, package = _SHAPES[kind.name], f"dlframe_{name}"
    major, minor = map(int, dlframe.__version__.split(".")[:2])
    values = {
        "article": "An" if kind.name[0] in "aeiou" else "A",
        "descriptor": shape.descriptor,
        "distribution": _distribution(name),
        "hook": kind.hook,
        "kind": kind.name,
        "name": name,
        "package": package,
        "plural": kind.plural,
        "requirement": f"dlframe>={major}.{minor},<{major}.{minor + 1}",
        "selection": _selection(kind, name),
        "settings": shape.settings,
        "suite": f"{kind.name.capitalize()}Tests",
        "summary": shape.summary,
        "symbol": "".join(part.capitalize() for part in name.split("_")),
    }
    for path, template in (
        ("pyproject.toml", "pyproject.toml.txt"),
        ("README.md", "README.md.txt"),
        (f"src/{package}/__init__.py", "hooks.py.txt"),
        (f"src/{package}/{name}.py", f"kinds/{kind.name}.py.txt"),
        (f"src/{package}/py.typed", ""),
        (f"tests/test_{name}.py", "test.py.txt"),
    ):
        text = (_TEMPLATE / template).read_text(encoding="utf-8") if template else ""
        yield path, Template(text).substitute(values)
