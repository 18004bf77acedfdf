"""``dlframe compare``: groups of runs against each other."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dlframe.cli.parser import command_parser
from dlframe.errors import RunNotFoundError, StorageError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from dlframe.analysis.comparison import Comparison
    from dlframe.analysis.select import Selection
    from dlframe.analysis.tables import Table

__all__ = ["run", "show"]

_WIDE = 240


def run(argv: list[str]) -> int:
    """Select runs, compare them, and print or write what was found."""
    arguments = _parser().parse_intermixed_args(argv)
    from dlframe.analysis.chosen import read_chosen
    from dlframe.analysis.comparison import compare
    from dlframe.analysis.export import tests_to_csv, to_csv, to_plain

    root = Path(arguments.root)
    selection, odd = read_chosen(
        arguments.runs, root=root, uri=arguments.uri, experiment=arguments.experiment
    )
    for sentence in odd:
        print(f"dlframe: {sentence}", file=sys.stderr)
    _check_finished(selection)
    by = None if arguments.by is None else _listed(arguments.by)
    comparison = compare(
        selection.runs,
        by=by,
        metrics=arguments.metric,
        baseline=arguments.baseline,
        named=selection.named,
    )
    recorded = None
    if arguments.record:
        from dlframe.analysis.multirun import record

        recorded = record(
            comparison, selection.parent, root, arguments.uri, words=["dlframe", "compare", *argv]
        )
    written = [path for path in (arguments.csv, arguments.html) if path]
    if arguments.csv:
        _write(arguments.csv, to_csv(comparison))
        if any(metric.pairs for metric in comparison.metrics):
            path = Path(arguments.csv)
            written.insert(1, str(path.with_stem(f"{path.stem}-tests")))
            _write(written[1], tests_to_csv(comparison))
    if arguments.html:
        from dlframe.analysis.report import report

        _write(arguments.html, report(comparison, words=["dlframe", "compare", *argv]))
    if arguments.json:
        print(json.dumps(to_plain(comparison) | {"recorded": recorded}))
        return 0
    show(comparison)
    for each in written:
        print(f"written to {each}")
    if recorded is not None:
        print(f"recorded in run {recorded['run']} of {recorded['tracking_uri']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "compare",
        "Compare recorded runs: group them by their config, average each group over its seeds and "
        "folds, and test whether the groups differ. A word is a run's id, a multirun's id (whole, or 4 "
        "characters of its beginning or end), `last` for the latest multirun, or a filter such as "
        "optimizer=adam, 'optimizer.lr>1e-3', 'metrics.test/accuracy>0.9', status=FINISHED. Without "
        "words, all runs are compared.",
        "last --html report.html",
        "data=digits optimizer=adam,sgd --by optimizer --metric test/accuracy test/loss",
        "--experiment digits --by activation --baseline relu --json",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN|FILTER", help="which runs; see above")
    parser.add_argument("--experiment", help="only runs of this experiment")
    parser.add_argument(
        "--by", metavar="KEYS", help="config keys to group by, such as optimizer,optimizer.lr; "
        "otherwise all that vary, but for seed and fold",
    )  # fmt: skip
    parser.add_argument(
        "--metric", nargs="+", metavar="M", help="metrics to compare, such as test/accuracy, or "
        "name:min and name:max to say which values are better; otherwise the test metric that "
        "belongs to the one that training watched",
    )  # fmt: skip
    parser.add_argument(
        "--baseline", metavar="GROUP", help="test the others against this group only; its values "
        "are enough, such as relu or relu,0.1",
    )  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="write a report with figures")
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="write the groups' summaries, and their tests into "
        "another file beside it, NAME-tests.csv",
    )
    parser.add_argument("--json", action="store_true", help="print every number as JSON")
    parser.add_argument(
        "--record", action="store_true", help="store the result in MLflow: on the multirun that was "
        "named, else on a new run; its id is printed",
    )  # fmt: skip
    parser.add_argument("--root", default="runs", help="folder of the runs (default: runs)")
    parser.add_argument("--uri", help="read an MLflow store instead of the folder")
    return parser


def _check_finished(selection: "Selection") -> None:
    """Refuse runs of which none has a result.

    Raises:
        RunNotFoundError: none has finished.
    """
    states = Counter(run.status.lower() for run in selection.runs)
    if not states["finished"]:
        found = ", ".join(f"{number} {state}" for state, number in states.items())
        raise RunNotFoundError(
            f"no run has finished of those to be compared ({found}); wait for them, or go on with one "
            "by `dlframe resume RUN`"
        )


def _listed(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{path!r} cannot be written ({error.strerror}); choose another place"
        ) from error


def show(comparison: "Comparison", *, most: int | None = None) -> None:
    """Print the tables of a comparison.

    Args:
        comparison: what to print.
        most: how many of its metrics to show; None shows all.
    """
    from rich.console import Console, Group
    from rich.measure import Measurement

    from dlframe.analysis.tables import groups_table, pairs_table, runs_line

    wide = Console(width=_WIDE)
    shown: list[RichTable | str] = []
    for metric in comparison.metrics[:most]:
        shown.append(_rich(groups_table(comparison, metric)))
        if line := runs_line(metric):
            shown.append(f"{line}\n")
        if metric.pairs:
            shown.append(_rich(pairs_table(comparison, metric)))
    # A file or a pipe has no edge to keep to; at that of a terminal no number may be cut off.
    least = Measurement.get(wide, wide.options, Group(*shown)).minimum
    width = max(Console().width, least) if wide.is_terminal else _WIDE
    console = Console(width=width, highlight=False)
    for each in shown:
        console.print(each, soft_wrap=isinstance(each, str))
    for note in comparison.notes:
        console.print(f"- {note}", markup=False, soft_wrap=True)


def _rich(table: "Table") -> "RichTable":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as RichTable

    shown = RichTable(title=escape(table.title), title_justify="left", box=SIMPLE_HEAD)
    for place, column in enumerate(table.columns):
        cells = " ".join([column, *(row[place] for row in table.rows)])
        shown.add_column(
            column,
            justify="left" if place < table.words else "right",
            # Narrow columns are broken at spaces, never within a word or a number.
            min_width=max(map(len, cells.split())),
        )
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
