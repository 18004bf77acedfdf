"""The page and its figures: whole, on their own, and harmless whatever a run is called."""

import base64
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from analysis_support import made, two_groups
from matplotlib.collections import PathCollection

from dlframe.analysis.comparison import Comparison, compare
from dlframe.analysis.figures import curves_figure, differences_figure, strips_figure
from dlframe.analysis.parallel import parallel_figure
from dlframe.analysis.report import report
from dlframe.analysis.runs import Curve

RELU = {1: 0.91, 2: 0.93, 3: 0.90}
TANH = {1: 0.90, 2: 0.94, 3: 0.95}


class Page(HTMLParser):
    """What a browser would take from the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def comparison() -> Comparison:
    runs = two_groups(RELU, TANH)
    curves: dict[str, Curve] = {
        "train/loss": [(10, 1.0), (20, 0.5), (30, 0.4)], "val/accuracy": [(10, 0.5), (30, 0.9)],
    }  # fmt: skip

    def shifted(shift: float, name: str) -> Curve:
        return [(step, value + shift) for step, value in curves.get(name, [])]

    drawn = [
        replace(
            run,
            metrics={**run.metrics, "cost/seconds": 1.0 + i},
            curve=partial(shifted, i / 10),
        )
        for i, run in enumerate(runs)
    ]
    return compare(drawn)


def test_the_page_needs_nothing_else(comparison: Comparison) -> None:
    page = Page(report(comparison, words=["dlframe", "compare", "last"]))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "default-src 'none'" in str(page.of("meta"))
    images = page.of("img")
    assert len(images) == 4
    for image in images:
        kind, _, code = str(image["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(code)
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        # Names of vocabularies, which nothing fetches, are all the addresses there are.
        outside = set(re.findall(rb'(?:href|src)="(?!data:)([^"#][^"]*)"', svg))
        assert outside == set()
        assert image["alt"]
    text = " ".join(page.text)
    for said in ("test/accuracy (larger is better)", "paired t, n = 3", "Student's t", "Holm",
                 "command: dlframe compare last", "0.9133", "20261121-120003-aaaa"):  # fmt: skip
        assert said in text, said


def test_names_are_shown_and_never_run(comparison: Comparison) -> None:
    evil = "$x^$ <script>alert(1)</script><img src=http://x.example/>"
    runs = [
        replace(
            run, name=evil, params={**run.params, "activation": evil + run.params["activation"]}
        )
        for run in comparison.runs
    ]
    page = Page(report(compare(runs), heading=evil))
    assert page.of("script") == []
    assert all(str(image["src"]).startswith("data:") for image in page.of("img"))
    assert evil in " ".join(page.text)


def test_the_same_runs_give_the_same_figures(comparison: Comparison) -> None:
    def figures(text: str) -> list[str | None]:
        return [image["src"] for image in Page(text).of("img")]

    assert figures(report(comparison)) == figures(report(compare(comparison.runs[::-1])))


def test_passwords_in_the_command_are_left_out(comparison: Comparison) -> None:
    text = report(comparison, words=["dlframe", "compare", "--uri", "http://me:secret@host:5000"])
    assert "secret" not in text
    assert "http://host:5000" in text


def test_the_band_is_the_interval_of_the_mean(comparison: Comparison) -> None:
    figure = curves_figure(comparison)
    assert figure is not None
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("train/loss", "val/accuracy")
    assert loss.get_xlabel() == "optimizer step"
    # Group tanh comes first, as the better one: its runs lie 0.3, 0.4 and 0.5 above the curve.
    line = loss.get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [10, 20, 30]
    assert np.asarray(line.get_ydata()) == pytest.approx([1.4, 0.9, 0.8])
    corners = np.asarray(loss.collections[0].get_paths()[0].vertices)
    half = 4.302652729911275 * 0.1 / 3**0.5  # Student's t for two degrees of freedom
    assert corners[:, 1].max() == pytest.approx(1.4 + half)
    assert corners[:, 1].min() == pytest.approx(0.8 - half)
    legend = figure.legends[0]
    assert [t.get_text() for t in legend.get_texts()] == ["tanh (3 runs)", "relu (3 runs)"]


def test_each_run_is_a_point_and_each_mean_a_mark(comparison: Comparison) -> None:
    figure = strips_figure(comparison, comparison.metrics[0])
    axes = figure.axes[0]
    points = [c for c in axes.collections if isinstance(c, PathCollection)]
    drawn = sorted(float(x) for c in points for x in np.asarray(c.get_offsets())[:, 0])
    assert drawn == sorted([*RELU.values(), *TANH.values()])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["tanh", "relu"]
    figure.draw_without_rendering()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert not box.overlaps(axes.get_window_extent())


def test_differences_are_drawn_where_there_are_tests(comparison: Comparison) -> None:
    figure = differences_figure(comparison, comparison.metrics[0])
    assert figure is not None
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["tanh  minus  relu"]
    equal = compare(two_groups(RELU, RELU))
    assert differences_figure(equal, equal.metrics[0]) is None


def test_each_run_is_a_line_across_its_settings(comparison: Comparison) -> None:
    figure = parallel_figure(comparison, comparison.metrics[0])
    assert figure is not None
    axes = figure.axes[0]
    names = [t.get_text() for t in axes.get_xticklabels()]
    assert names == ["activation", "cost/seconds", "test/accuracy"]
    lines = [line for line in axes.get_lines() if len(np.asarray(line.get_xdata())) == 3]
    assert len(lines) == 6
    ends = sorted(float(np.asarray(line.get_ydata())[-1]) for line in lines)
    assert ends == pytest.approx([0.0, 0.0, 0.2, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    "values",
    [
        [0.5],
        [0.5, 0.5],
        [float("nan"), 0.5],
        [float("inf"), float("nan")],
        [1e-30, 3e38],
        [0, -1],
    ],
)
def test_odd_values_draw_an_odd_but_whole_page(values: list[float]) -> None:
    runs = [
        made(i, seed=i, metrics={"test/loss": value}, curves={"val/loss": [(1, value), (2, value)]},
             optimizer__lr=["nan", "0", "1e-9", "inf"][i])
        for i, value in enumerate(values)
    ]  # fmt: skip
    for by in (None, ["seed"]):
        assert report(compare(runs, by=by, metrics=["test/loss"])).endswith("</html>\n")


def test_nothing_finished_is_a_page_too() -> None:
    assert "1 failed" in report(compare([made(0, seed=1, status="FAILED")]))


def test_both_groups_of_a_pair_have_the_same_room(comparison: Comparison) -> None:
    page = report(comparison)
    assert '<td class="word">tanh</td><td class="word">relu</td>' in page
    assert '<td class="word id">20261121-' in page, "an id is not broken into lines"
    assert ":first-child" not in page
