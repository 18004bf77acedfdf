"""``dlframe check``: the conformance kit over a plugin's components."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dlframe.cli.parser import command_parser
from dlframe.errors import DlframeError
from dlframe.plugin import KINDS, Plugin, registry

if TYPE_CHECKING:
    from dlframe.testing import Case, Outcome

__all__ = ["run"]

_OK, _FAILED = 0, 1
_WORDS = {
    "ok": "ok",
    "failed": "FAILED",
    "unexpected": "FAILED",
    "expected": "expected",
    "skipped": "skipped",
}


def run(argv: list[str]) -> int:
    """Print a line per component and check; 1 means that one failed."""
    parser = command_parser(
        "check",
        "Run the conformance tests over a plugin's components.",
        "snake",
        "snake --tests tests/test_snake.py",
    )
    parser.add_argument("plugin", help="name of the plugin, as `dlframe plugins` lists it")
    parser.add_argument(
        "--tests",
        type=Path,
        metavar="FILE",
        help="a file with the plugin's kit classes: their options and expected failures count",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    plugin = registry().plugin(arguments.plugin)
    if plugin.status == "blocked":
        raise DlframeError(
            f"plugin {plugin.name!r} is blocked by DLFRAME_PLUGINS or DLFRAME_BLOCK; unblock it to "
            "check it"
        )
    if plugin.error is not None:
        raise DlframeError(plugin.explain()) from plugin.error
    if not plugin.entries:
        raise DlframeError(
            f"plugin {plugin.name!r} ({plugin.distribution} {plugin.version}) provides no components; "
            "mark its hooks with @dlframe.hookimpl and yield dlframe.Component"
        )
    rows = []
    for case, outcome in _outcomes(plugin, arguments.tests):
        rows.append(_plain(case, outcome))
        if not arguments.json:
            print(_line(rows[-1]), flush=True)
    failed = sum(row["status"] in ("failed", "unexpected") for row in rows)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        print(
            f"{plugin.name}: {len(plugin.entries)} components, {len(rows)} checks, {failed} failed"
        )
    return _FAILED if failed else _OK


def _outcomes(plugin: Plugin, tests: Path | None) -> Iterator[tuple["Case", "Outcome"]]:
    """Run every check of every component, with the options that its kit classes state."""
    from dlframe import testing

    stated = _cases(tests) if tests else []
    for entry in plugin.entries:
        if entry.kind not in KINDS:  # of a sink the kit knows nothing
            continue
        own = [case for case in stated if case.entry == entry]
        for case in own or [testing.Case(entry)]:
            for check in testing.checks_of(entry.kind):
                yield case, testing.run(case, check)


def _cases(path: Path) -> list["Case"]:
    """What the kit classes of a test file state."""
    from dlframe.testing import ComponentTests

    module = _module(path)
    suites = [value for value in vars(module).values() if isinstance(value, type)]
    return [
        suite.case() for suite in suites if issubclass(suite, ComponentTests) and suite.component
    ]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise DlframeError(f"no Python file with tests is at {str(path)!r}; give the path of one")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a test file may raise anything
        raise DlframeError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return module


def _plain(case: "Case", outcome: "Outcome") -> dict[str, str | dict[str, str]]:
    return {
        "component": f"{case.entry.kind}/{case.entry.id}",
        "options": {name: str(value) for name, value in case.options.items()},
        "check": outcome.check,
        "status": outcome.status,
        "reason": outcome.reason,
    }


def _line(row: dict[str, str | dict[str, str]]) -> str:
    reason = " ".join(str(row["reason"]).split())
    word = _WORDS[str(row["status"])]
    return f"{word:<8}  {row['component']}  {row['check']}" + (f": {reason}" if reason else "")
