"""The comparison as one HTML page that needs nothing else: no network, no script, no other file."""

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.metadata import version

import dlframe
from dlframe.analysis.comparison import Comparison, MetricComparison
from dlframe.analysis.figures import curves_figure, differences_figure, strips_figure
from dlframe.analysis.independent import FOLD, SEED
from dlframe.analysis.page import html_image, html_list, html_page, html_table
from dlframe.analysis.parallel import parallel_figure
from dlframe.analysis.tables import Table, groups_table, number, pairs_table, runs_line, title
from dlframe.tracking.redaction import without_credentials

__all__ = ["report"]


def report(
    comparison: Comparison, *, words: Sequence[str] = (), heading: str = "Comparison"
) -> str:
    """Return a comparison as a page of HTML with its figures in it.

    Args:
        comparison: what to show.
        words: the arguments of the command that asked for it.
        heading: what is compared.
    """
    finished = sum(run.status == "FINISHED" for run in comparison.runs)
    line = f"{finished} finished runs in {len(comparison.grouping.groups)} groups"
    if comparison.grouping.by:
        line += f" by {', '.join(comparison.grouping.by)}"
    parts = [f"<h1>{escape(heading)}</h1>", f'<p class="line">{escape(line)}</p>']
    for metric in comparison.metrics:
        parts += _metric(comparison, metric)
    if (curves := curves_figure(comparison)) is not None:
        parts += ["<h2>Learning curves</h2>", html_image(curves, "learning curves of the groups")]
        kind = "corrected t where folds share examples" if comparison.grouping.folds else "t"
        parts.append(
            f"<p>Mean over the runs of a group; the band is its 95 % interval ({kind}).</p>"
        )
    for metric in comparison.metrics[:1]:
        if (lines := parallel_figure(comparison, metric)) is not None:
            parts += [
                "<h2>Settings and result</h2>",
                html_image(lines, "each run across its settings"),
            ]
    parts += ["<h2>Runs</h2>", html_table(_runs(comparison)), "<h2>How this was made</h2>"]
    parts.append(_made(comparison, words))
    return html_page(heading, parts)


def _metric(comparison: Comparison, metric: MetricComparison) -> Iterator[str]:
    yield f"<h2>{escape(title(metric))}</h2>"
    yield html_table(replace(groups_table(comparison, metric), title=""))
    if line := runs_line(metric):
        yield f"<p>{escape(line[0].upper() + line[1:])}.</p>"
    if any(summary.n for summary in metric.summaries.values()):
        yield html_image(strips_figure(comparison, metric), f"{metric.metric} of each run")
    if metric.pairs:
        yield html_table(pairs_table(comparison, metric))
        if (drawn := differences_figure(comparison, metric)) is not None:
            yield html_image(drawn, f"differences of {metric.metric} between groups")


def _runs(comparison: Comparison) -> Table:
    metrics = [each.metric for each in comparison.metrics]
    repeated = [SEED, *([FOLD] if comparison.grouping.folds else [])]
    rows = [
        [run.id, run.name, group.label, run.status.lower(), *(run.params.get(k, "") for k in repeated),
         *(number(run.metrics.get(name)) for name in metrics)]
        for group in comparison.grouping.groups
        for run in group.runs
    ]  # fmt: skip
    return Table("", ["run", "name", "group", "status", *repeated, *metrics], rows, words=4)


def _made(comparison: Comparison, words: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("scipy", "matplotlib"))
    when = time.strftime("%Y-%m-%d %H:%M %Z")
    notes = [*comparison.notes, f"dlframe {dlframe.__version__}, {versions}; {when}"]
    if words:
        notes.append(f"command: {without_credentials(shlex.join(words))}")
    return html_list(notes)
