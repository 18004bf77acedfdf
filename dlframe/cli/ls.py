"""``dlframe ls``: the components there are."""

import json

from dlframe.cli.parser import command_parser
from dlframe.errors import DlframeError, did_you_mean
from dlframe.plugin import ALL_KINDS, Entry, kind_named, registry

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Print names and summaries, imported from nowhere."""
    parser = command_parser(
        "ls",
        "List components. Nothing is imported to do so.",
        "",
        "activation",
        "loss --task regression --json",
    )
    parser.add_argument("kind", nargs="?", help=f"one of {', '.join(ALL_KINDS)}")
    parser.add_argument("--task", help="only those that fit this task")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    kind = None
    if arguments.kind is not None:
        found = kind_named(arguments.kind)
        if found is None:
            raise DlframeError(
                f"there is no kind {arguments.kind!r}; {did_you_mean(arguments.kind, ALL_KINDS)}"
                f"the kinds are {', '.join(ALL_KINDS)}"
            )
        kind = found.name
    tasks: set[str] = set()
    if arguments.task is not None:
        task = registry().find("task", arguments.task).component
        tasks = {task.name, *task.tasks}
    entries = [
        entry
        for name in ([kind] if kind else ALL_KINDS)
        for entry in registry().entries(name)
        if not tasks or not entry.component.tasks or tasks & set(entry.component.tasks)
    ]
    if arguments.json:
        print(json.dumps([_plain(entry) for entry in entries], indent=1))
        return 0
    width = max((len(registry().word(entry)) for entry in entries), default=0)
    for name in ALL_KINDS:
        group = [entry for entry in entries if entry.kind == name]
        if group:
            print(name if kind is None else f"{len(group)} {ALL_KINDS[name].plural}")
            for entry in group:
                print(f"  {registry().word(entry):<{width}}  {entry.component.summary}")
    return 0


def _plain(entry: Entry) -> dict[str, object]:
    component = entry.component
    return {
        "kind": entry.kind,
        "name": registry().word(entry),
        "id": entry.id,
        "summary": component.summary,
        "tasks": list(component.tasks),
        "inputs": list(component.inputs),
        "reference": component.reference,
        "target": component.target,
    }
