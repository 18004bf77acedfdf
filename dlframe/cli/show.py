"""``dlframe show``: a component's options, meaning and origin."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from dlframe.cli.parser import command_parser
from dlframe.config.options import REQUIRED, Option, describe
from dlframe.config.settings import SETTINGS, SweepOptions
from dlframe.config.signature import dataclass_options, load
from dlframe.errors import DlframeError, did_you_mean
from dlframe.plugin import ALL_KINDS, PRUNER, SAMPLER, kind_named, registry

__all__ = ["run"]

_SWEEPER = "hydra.sweeper"
_GROUPS = {
    **{name: (cls, name) for name, cls in SETTINGS.items()},
    "sweep": (SweepOptions, _SWEEPER),
}
"""Words that are no component: their options, and where these are on the command line."""


def run(argv: list[str]) -> int:
    """Print what can be set on a component, or on the trainer, the tracking or a sweep."""
    parser = command_parser(
        "show",
        "Show a component's options, with types, defaults and meaning.",
        "optimizer/adam",
        "trainer",
        "sweep",
        "loss/focal --json",
    )
    groups = "trainer, tracking, transfer or sweep"
    parser.add_argument("component", help=f"kind/name, kind/plugin/name, {groups}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    word: str = arguments.component
    if word in _GROUPS:
        cls, prefix = _GROUPS[word]
        facts: dict[str, Any] = {"name": word, "summary": _first(cls.__doc__ or "")}
        options: Sequence[Option] = dataclass_options(cls)
        doc = ""
    else:
        facts, options, doc, prefix = _component(word)
    if arguments.json:
        print(json.dumps({**facts, "options": [_plain(option) for option in options]}, indent=1))
    else:
        _print(facts, options, doc, prefix)
    return 0


def _component(word: str) -> tuple[dict[str, Any], Sequence[Option], str, str]:
    head, _, name = word.partition("/")
    kind = kind_named(head)
    if kind is None or not name:
        known = [*ALL_KINDS, *_GROUPS]
        raise DlframeError(
            f"write kind/name, as in optimizer/adam; got {word!r}; {did_you_mean(head, known)}"
            f"the kinds are {', '.join(ALL_KINDS)}"
        )
    entry = registry().find(kind.name, name)
    component, plugin = entry.component, registry().plugin(entry.plugin)
    signature = load(entry)
    facts = {
        "kind": kind.name,
        "id": entry.id,
        "name": component.name,
        "summary": component.summary,
        "from": f"{plugin.distribution} {plugin.version}".strip(),
        "target": component.target,
        "tasks": list(component.tasks),
        "inputs": list(component.inputs),
        "reference": component.reference,
    }
    prefix = f"{kind.name}.{component.name}" if kind.many else kind.name
    prefix = f"{_SWEEPER}.{prefix}" if kind in (SAMPLER, PRUNER) else prefix
    return facts, signature.options, signature.doc, prefix


def _first(doc: str) -> str:
    return doc.strip().splitlines()[0]


def _plain(option: Option) -> dict[str, Any]:
    found = option.range
    return {
        "name": option.name,
        "type": describe(option.hint),
        "required": option.default is REQUIRED,
        "default": None if option.default is REQUIRED else option.default,
        "range": [found.low, found.high, "log" if found.log else "linear"] if found else None,
        "help": option.help,
    }


def _print(facts: dict[str, Any], options: Sequence[Option], doc: str, prefix: str) -> None:
    print(f"{facts.get('id', facts['name'])}: {facts['summary']}\n")
    for key in ("from", "target", "tasks", "inputs", "reference"):
        value = facts.get(key)
        if value:
            print(f"  {key:<10} {', '.join(value) if isinstance(value, list) else value}")
    body = doc.partition("Args:")[0].strip()
    if body:
        print("\n" + textwrap.indent(body, "  "))
    if not options:
        print("\n  no options")
        return
    print("\n  options")
    for option in options:
        default = "required" if option.default is REQUIRED else _yaml(option.default)
        print(f"    {prefix}.{option.name}={default}    {describe(option.hint)}")
        extra = option.help
        if found := option.range:
            scale = ", log scale" if found.log else ""
            extra += f" (search {found.low:g} to {found.high:g}{scale})"
        if extra:
            print(textwrap.fill(extra, 96, initial_indent=" " * 8, subsequent_indent=" " * 8))


def _yaml(value: Any) -> str:
    return json.dumps(value).replace('"', "")
