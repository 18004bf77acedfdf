"""Plain tables and lists of facts, which fit a terminal and stay whole in a pipe."""

import sys
from collections.abc import Iterable, Sequence

__all__ = ["Cells", "print_facts", "print_table"]

Cells = list[str]
_ENDLESS = 100_000


def print_table(header: Sequence[str], rows: Iterable[Cells]) -> None:
    """Print a table whose last column may take several lines of a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe gets each row on a line of its own, however long.
    console = Console(width=None if sys.stdout.isatty() else _ENDLESS)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in header[:-1]:
        table.add_column(title, no_wrap=True)
    table.add_column(header[-1], overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what is to be said of each, below each other."""
    every = list(facts)
    width = max(map(len, (name for name, _ in every)), default=0)
    for name, text in every:
        print(f"{name:<{max(11, width)}} {text}")
