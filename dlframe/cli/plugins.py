"""``dlframe plugins``: what is installed, what works, what each provides."""

import json
from collections import Counter

from dlframe.cli.parser import command_parser
from dlframe.plugin import ALL_KINDS, Plugin, registry

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Print one line per plugin; it works whatever state they are in."""
    parser = command_parser(
        "plugins",
        "List plugins: name, version, state (ok, broken, blocked), what each provides.",
        "",
        "--requirements > plugins.txt",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--requirements", action="store_true", help="print name==version, as pip reads it"
    )
    arguments = parser.parse_args(argv)
    plugins = registry().plugins
    if arguments.json:
        print(json.dumps([_plain(plugin) for plugin in plugins], indent=1))
    elif arguments.requirements:
        for plugin in plugins:
            if plugin.version:
                print(f"{plugin.distribution}=={plugin.version}")
    else:
        width = max(len(plugin.name) for plugin in plugins)
        for plugin in plugins:
            print(f"{plugin.name:<{width}}  {plugin.version:<10}  {_state(plugin)}")
            if plugin.error is not None:
                print(f"  {plugin.explain()}")
            for note in plugin.notes:
                print(f"  note: {note}")
    return 0


def _counts(plugin: Plugin) -> dict[str, int]:
    return dict(Counter(entry.kind for entry in plugin.entries))


def _state(plugin: Plugin) -> str:
    if plugin.status != "ok":
        return plugin.status
    found = _counts(plugin)
    words = [
        f"{found[kind.name]} {kind.name if found[kind.name] == 1 else kind.plural}"
        for kind in ALL_KINDS.values()
        if kind.name in found
    ]
    slow = (
        "ok, but imports torch when it is listed, which slows every command"
        if plugin.eager
        else "ok"
    )
    return f"{slow}: {', '.join(words) or 'no components'}"


def _plain(plugin: Plugin) -> dict[str, object]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "eager": plugin.eager,
        "error": None if plugin.error is None else f"{type(plugin.error).__name__}: {plugin.error}",
        "notes": list(plugin.notes),
        "components": [f"{entry.kind}/{entry.id}" for entry in plugin.entries],
    }
