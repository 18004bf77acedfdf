"""What the commands share that look at one study."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.cli.parser import command_parser
from dlframe.tracking.where import root_option

if TYPE_CHECKING:
    import optuna

    from dlframe.sweep.snapshot import Snapshot

__all__ = ["add_place", "of_one", "read", "study_of", "where"]


def of_one(action: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return the parser of a command that looks at one study."""
    parser = command_parser(f"study {action}", description, *(examples or ("mlp-digits",)))
    parser.add_argument("name", help="the study's name, or its beginning")
    add_place(parser)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add where studies are looked for."""
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--storage", help="address of the storage, where it is not a file there")
    parser.add_argument("--json", action="store_true", help="print JSON")


def where(arguments: argparse.Namespace) -> str:
    """Return the options that name this study's place in another command."""
    storage = f" --storage {shlex.quote(arguments.storage)}" if arguments.storage else ""
    return f"{root_option(Path(arguments.root))}{storage}"


def study_of(arguments: argparse.Namespace) -> "optuna.Study":
    """Return the study that was named."""
    from dlframe.sweep.storage import find_study

    return find_study(arguments.name, Path(arguments.root), arguments.storage)


def read(arguments: argparse.Namespace) -> "Snapshot":
    """Return how the study stands that was named."""
    from dlframe.sweep.snapshot import snapshot

    return snapshot(study_of(arguments))
