"""A comparison as tables of text, which the terminal, the run's note and the report all show."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlframe.analysis.comparison import Comparison, MetricComparison
from dlframe.analysis.estimates import Contrast, Summary

__all__ = [
    "NONE",
    "Table",
    "groups_table",
    "number",
    "pairs_table",
    "runs_line",
    "short_labels",
    "title",
]

NONE = "-"
"""What a cell without a value shows."""
_BETTER = {"min": "smaller is better", "max": "larger is better", None: "neither way is better"}


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Args:
        title: what it shows.
        columns: the columns' names.
        rows: one text per column.
        words: number of columns, from the left, that hold words rather than numbers.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int

    def markdown(self) -> str:
        """Return the table as Markdown."""
        marks = ["---" if place < self.words else "---:" for place in range(len(self.columns))]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, marks, *rows)]
        return "\n".join(lines)


def title(metric: MetricComparison) -> str:
    """Return a metric's name with what of it is better."""
    return f"{metric.metric} ({_BETTER[metric.goal]})"


def number(value: float | None) -> str:
    """Return a value with four digits that count."""
    return NONE if value is None else f"{value:.4g}"


def groups_table(comparison: Comparison, metric: MetricComparison) -> Table:
    """Return the table of a metric's means, one row per group, best first."""
    keys = list(comparison.grouping.by)
    rows = []
    for group in comparison.grouping.groups:
        summary = metric.summaries[group.label]
        words = [group.values[key] for key in keys] or [group.label]
        counted = (
            f"{summary.n}" if summary.n == len(group.runs) else f"{summary.n} of {len(group.runs)}"
        )
        cells = [number(v) for v in (summary.mean, summary.std)]
        rows.append([
            *words, counted, *cells, _interval(summary), number(summary.minimum),
            number(summary.maximum),
        ])  # fmt: skip
    columns = [*(keys or ["group"]), "n", "mean", "std", "95 % interval", "min", "max"]
    return Table(title(metric), columns, rows, words=len(keys) or 1)


def pairs_table(comparison: Comparison, metric: MetricComparison) -> Table:
    """Return the table of a metric's tests between groups."""
    short = short_labels(comparison)
    rows = []
    for pair in metric.pairs:
        found = pair.contrast
        tested = (
            [_p(found.p), _p(pair.corrected), f"{number(found.effect)} {found.effect_kind}"]
            if found.p is not None
            else [NONE, NONE, NONE]
        )
        rows.append(
            [
                short[pair.first], short[pair.second], _test(found), number(found.difference),
                _interval(found), *tested,
            ]
        )  # fmt: skip
    columns = ["group", "against", "test", "difference", "95 % interval", "p", "p (Holm)", "effect"]
    keys = ", ".join(comparison.grouping.by)
    return Table(f"{metric.metric}: differences between groups by {keys}", columns, rows, words=3)


def short_labels(comparison: Comparison) -> dict[str, str]:
    """Return what is enough of each group's label where the keys are named elsewhere."""
    return {g.label: ", ".join(g.values.values()) or g.label for g in comparison.grouping.groups}


def runs_line(metric: MetricComparison) -> str | None:
    """Return which runs have the best and the worst value."""
    if metric.best is None or metric.worst is None:
        return None
    every = [v for found in metric.values.values() for v in found.values()]

    def told(run: str, value: float) -> str:
        equal = sum(v == value for v in every) - 1
        more = f" (and {equal} more)" if equal else ""
        return f"{run} with {number(value)}{more}"

    return f"best run {told(*metric.best)}, worst {told(*metric.worst)}"


def _test(found: Contrast) -> str:
    """Say which test was made and what is odd about it, or why there was none."""
    if found.p is None:
        return f"none: {found.reason}"
    test = f"{found.test}, n = {' and '.join(map(str, found.n))}"
    return test if found.reason is None else f"{test}; {found.reason}"


def _interval(found: Summary | Contrast) -> str:
    return NONE if found.low is None else f"[{number(found.low)}, {number(found.high)}]"


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"
