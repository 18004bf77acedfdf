"""``dlframe replay``: train a recorded run again and compare."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.cli.parser import command_parser
from dlframe.cli.recorded import add_run_arguments
from dlframe.cli.result import report, summary

if TYPE_CHECKING:
    from dlframe.training.replay import Replay

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Train again from the record; exit with 1 where --strict was asked for and the numbers part."""
    parser = command_parser(
        "replay",
        "Train a recorded run again: same config, seed, number of threads and data. Says what is not "
        "as it was (packages, plugins, machine, code) and compares every recorded metric; on a CPU, "
        "where nothing differs, they are equal to the last bit. The new run names the old one.",
        "last",
        "20261121-093412-k3x9 --strict",
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse where anything differs; fail where numbers part",
    )
    arguments = parser.parse_args(argv)
    root = Path(arguments.root).absolute()
    from dlframe.tracking.runs import find_run

    recorded = find_run(arguments.run, root, arguments.uri)
    folder, elsewhere = recorded.folder, recorded.folder.parent != root
    if elsewhere:
        from dlframe.tracking.remote import fetch_record

        fetch_record(recorded)
    from dlframe.training.replay import replay

    done = replay(
        folder,
        root=root,
        uri=recorded.uri if elsewhere else None,
        strict=arguments.strict,
        command=["dlframe", "replay", *argv],
    )
    if arguments.json:
        facts = asdict(done) | {"run": done.run.id}
        print(json.dumps(summary(done.run) | {"replay": facts}))
    else:
        report(done.run, as_json=False)
        print(f"replay      {_outcome(done)}")
    return 1 if arguments.strict and done.parting else 0


def _outcome(done: "Replay") -> str:
    if done.parting is None:
        return (
            f"all {done.compared} recorded values of run {done.of} came out equal to the last bit"
        )
    at = done.parting
    return (
        f"parts from run {done.of} at step {at.step}: {at.metric} is {at.now}, was {at.before} "
        f"({done.equal} of {done.compared} recorded values are equal)"
    )
