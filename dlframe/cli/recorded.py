"""The arguments of every command that takes a recorded run."""

import argparse
from pathlib import Path

__all__ = ["add_run_arguments", "folder_of"]


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run's id and where to look for it."""
    parser.add_argument(
        "run", help="the run's id, a unique part of it, its MLflow run id, or `last`"
    )
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--uri", help="MLflow store, where the run is not under the folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def folder_of(arguments: argparse.Namespace) -> Path:
    """Find the run.

    Raises:
        RunNotFoundError: no run, or several, answer to the id.
    """
    from dlframe.tracking.runs import find_run

    return find_run(arguments.run, Path(arguments.root), arguments.uri).folder
