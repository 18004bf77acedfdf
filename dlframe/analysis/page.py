"""One HTML page that needs nothing else: no network, no script, no other file."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from dlframe.analysis.tables import Table

__all__ = ["html_image", "html_list", "html_page", "html_table"]

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
td.narrow { min-width: 0; }
pre { background: #f6f6f6; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; margin: .8rem 0; }
"""
_ID = "run"
"""The column of what must not be broken into lines."""
# The page may load nothing and run nothing, whatever a run's name holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html_page(heading: str, parts: Iterable[str]) -> str:
    """Return a page of HTML.

    Args:
        heading: its title, as text.
        parts: what is in it, as HTML.
    """
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def html_list(notes: Iterable[str]) -> str:
    """Return sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def html_table(table: Table, *, narrow: bool = False) -> str:
    """Return a table; words in a column called ``run`` are never broken into lines.

    Args:
        table: what to show.
        narrow: leave columns as narrow as what is in them, as where there are many.
    """
    word = "word narrow" if narrow else "word"
    marks = [
        "" if place >= table.words else f' class="{word}{" id" if name == _ID else ""}"'
        for place, name in enumerate(table.columns)
    ]

    def row(cells: Sequence[str], tag: str) -> str:
        inner = (
            f"<{tag}{mark}>{escape(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    rows = "\n".join(row(cells, "td") for cells in table.rows)
    return (
        f'<div class="wide"><table>{caption}<thead>{row(table.columns, "th")}</thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def html_image(figure: Figure, meaning: str) -> str:
    """Return the figure as an SVG inside an image, where its ids cannot clash with another's."""
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "dlframe", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    code = base64.b64encode(drawn.getvalue()).decode()
    return f'<img alt="{escape(meaning)}" src="data:image/svg+xml;base64,{code}">'
