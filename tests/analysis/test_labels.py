"""Names in figures: short, and never two alike."""

import random
import string

import pytest
from analysis_support import made
from matplotlib.figure import Figure

from dlframe.analysis.comparison import compare
from dlframe.analysis.figures import curves_figure, differences_figure, strips_figure
from dlframe.analysis.labels import plain_text, shown
from dlframe.analysis.parallel import parallel_figure

LONG = "acme/a-very-long-activation-name-that-goes-on-and-on"


def test_short_names_stay_as_they_are() -> None:
    assert shown(["relu, 0.1", "gelu, 0.1", "relu, 0.1"]) == ["relu, 0.1", "gelu, 0.1", "relu, 0.1"]
    assert shown(["$x_1$"]) == [r"\$x_1\$"]


def test_long_names_keep_both_ends() -> None:
    assert shown([f"{LONG}, 0.1", f"{LONG}, 0.01"]) == [
        "acme/a-very-long-acti…t-goes-on-and-on, 0.1", "acme/a-very-long-acti…-goes-on-and-on, 0.01",
    ]  # fmt: skip
    assert len(plain_text(LONG * 3)) <= 44


def test_names_that_differ_in_the_middle_are_shown_there() -> None:
    names = [f"{LONG}, {value}, {LONG}" for value in ("0.1", "0.01", "relu")]
    assert shown(names) == [
        "…and-on, 0.1, acme/a…",
        "…and-on, 0.01, acme/a…",
        "…and-on, relu, acme/a…",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_names_are_shown_alike(seed: int) -> None:
    rng = random.Random(seed)
    parts = [
        "".join(rng.choices(string.ascii_lowercase, k=rng.choice([1, 5, 60]))) for _ in range(6)
    ]
    names = list({", ".join(rng.choices(parts, k=rng.choice([1, 2, 3, 5]))) for _ in range(60)})
    found = shown(names)
    assert len(set(found)) == len(names)
    assert max(map(len, found)) < 80


def texts(figure: Figure | None) -> list[str]:
    assert figure is not None
    ticks = [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]
    return [*ticks, *(text.get_text() for legend in figure.legends for text in legend.get_texts())]


def test_every_row_of_a_figure_can_be_told_from_the_others() -> None:
    values = [f"{LONG}-{LONG}-{i}-{LONG}" for i in range(3)]
    runs = [
        made(
            len(values) * i + seed, activation=value, seed=seed, data="d",
            metrics={"test/loss": i + seed * i / 9}, curves={"train/loss": [(1, 1.0), (2, 0.5)]},
        )
        for i, value in enumerate(values)
        for seed in (0, 1, 2)
    ]  # fmt: skip
    found = compare(runs, metrics=["test/loss"])
    [metric] = found.metrics
    for drawn in (
        strips_figure(found, metric),
        differences_figure(found, metric),
        curves_figure(found),
    ):
        rows = [text for text in texts(drawn) if "on-" in text]
        assert len(rows) >= 2
        assert len(set(rows)) == len(rows)
    parallel = parallel_figure(found, metric)
    assert parallel is not None
    ticks = [text.get_text() for text in parallel.axes[0].texts if "on-" in text.get_text()]
    assert len(ticks) == len(set(ticks)) == 3
