"""The comparison as one HTML page that needs nothing else: no network, no script, no other file."""

import base64
import io
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.metadata import version

import matplotlib as mpl
from matplotlib.figure import Figure

import dlframe
from dlframe.analysis.comparison import Comparison, MetricComparison
from dlframe.analysis.figures import curves_figure, differences_figure, strips_figure
from dlframe.analysis.parallel import parallel_figure
from dlframe.analysis.tables import Table, groups_table, number, pairs_table, runs_line, title
from dlframe.tracking.redaction import without_credentials

__all__ = ["report"]

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto;
  max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
p.line { color: #555; margin-top: 0; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding: .4rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th { border-bottom: 2px solid #888; } .word { text-align: left; }
td { white-space: nowrap; }
td.word { white-space: normal; min-width: 8rem; } td.id { white-space: nowrap; }
img { max-width: 100%; height: auto; margin: .8rem 0; }
"""
_ID = "run"
"""The column of what must not be broken into lines."""
# The page may load nothing and run nothing, whatever a run's name holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
        parts += ["<h2>Learning curves</h2>", _image(curves, "learning curves of the groups")]
        parts.append("<p>Mean over the runs of a group; the band is its 95 % interval (t).</p>")
    for metric in comparison.metrics[:1]:
        if (lines := parallel_figure(comparison, metric)) is not None:
            parts += ["<h2>Settings and result</h2>", _image(lines, "each run across its settings")]
    parts += ["<h2>Runs</h2>", _table(_runs(comparison)), "<h2>How this was made</h2>"]
    parts.append(_made(comparison, words))
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def _metric(comparison: Comparison, metric: MetricComparison) -> Iterator[str]:
    yield f"<h2>{escape(title(metric))}</h2>"
    yield _table(replace(groups_table(comparison, metric), title=""))
    if line := runs_line(metric):
        yield f"<p>{escape(line[0].upper() + line[1:])}.</p>"
    if any(summary.n for summary in metric.summaries.values()):
        yield _image(strips_figure(comparison, metric), f"{metric.metric} of each run")
    if metric.pairs:
        yield _table(pairs_table(comparison, metric))
        if (drawn := differences_figure(comparison, metric)) is not None:
            yield _image(drawn, f"differences of {metric.metric} between groups")


def _runs(comparison: Comparison) -> Table:
    metrics = [each.metric for each in comparison.metrics]
    rows = [
        [run.id, run.name, group.label, run.status.lower(), run.params.get("seed", ""),
         *(number(run.metrics.get(name)) for name in metrics)]
        for group in comparison.grouping.groups
        for run in group.runs
    ]  # fmt: skip
    return Table("", [_ID, "name", "group", "status", "seed", *metrics], rows, words=4)


def _made(comparison: Comparison, words: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("scipy", "matplotlib"))
    when = time.strftime("%Y-%m-%d %H:%M %Z")
    notes = [*comparison.notes, f"dlframe {dlframe.__version__}, {versions}; {when}"]
    if words:
        notes.append(f"command: {without_credentials(shlex.join(words))}")
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        marks = [' class="word"' if place < table.words else "" for place in range(len(cells))]
        if table.columns[0] == _ID:
            marks[0] = ' class="word id"'
        inner = (f"<{tag}{m}>{escape(c)}</{tag}>" for m, c in zip(marks, cells, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    rows = "\n".join(row(cells, "td") for cells in table.rows)
    return (
        f'<div class="wide"><table>{caption}<thead>{row(table.columns, "th")}</thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _image(figure: Figure, meaning: str) -> str:
    """Return the figure as an SVG inside an image, where its ids cannot clash with another's."""
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "dlframe", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    code = base64.b64encode(drawn.getvalue()).decode()
    return f'<img alt="{escape(meaning)}" src="data:image/svg+xml;base64,{code}">'
