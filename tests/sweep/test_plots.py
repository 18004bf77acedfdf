"""The figures and the page of a study: true to its numbers, and whole on their own."""

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from study_support import SPACE, made, parameter, searched, trial

from dlframe.errors import StorageError
from dlframe.sweep.course import history_figure, learning_figure, timeline_figure
from dlframe.sweep.definition import Goal
from dlframe.sweep.importance import importances
from dlframe.sweep.landscape import (
    front_figure,
    importances_figure,
    parallel_figure,
    slices_figure,
)
from dlframe.sweep.plots import draw, export
from dlframe.sweep.scale import scale_of
from dlframe.sweep.snapshot import Snapshot, snapshot

FAIL, PRUNED, RUNNING = TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING
GOALS = (Goal("test/accuracy", "maximize"), Goal("cost/parameters", "minimize"))


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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(searched(tmp_path_factory.mktemp("searched")))


@pytest.fixture(scope="module")
def exported(found: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(found, folder)
    return folder


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    """What is drawn under a label, in its order."""
    [line] = [line for line in axes.get_lines() if line.get_label() == label]
    x, y = np.asarray(line.get_data(), dtype=np.float64)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def panel(figure: Figure | None, place: int = 0) -> Axes:
    assert figure is not None
    return figure.axes[place]


# --- each figure ----------------------------------------------------------------------------------


def test_history_shows_every_trial_and_the_best_so_far(found: Snapshot) -> None:
    axes = panel(history_figure(found))
    assert points(axes, "complete") == [(t.number, t.value) for t in found.of("complete")]
    assert [x for x, _ in points(axes, "failed")] == [6, 9, 17, 23]
    pruned = [(t.number, t.intermediate_values[max(t.intermediate_values)])
              for t in found.of("pruned")]  # fmt: skip
    assert points(axes, "pruned, last value") == pruned
    best = points(axes, "best so far")
    assert best[-1] == (found.trials[-1].number, found.best[0].value)
    values = [y for _, y in best]
    assert values == sorted(values, reverse=True)


def test_a_trial_that_breaks_a_constraint_is_no_best_so_far(tmp_path: Path) -> None:
    trials = [trial(values=2.0), trial(values=1.0, constraints={"a <= 1": 1.0})]
    axes = panel(history_figure(snapshot(made(tmp_path, trials))))
    assert points(axes, "breaks a constraint") == [(1, 1.0)]
    assert {y for _, y in points(axes, "best so far")} == {2.0}


def test_learning_curves_are_what_was_reported(found: Snapshot) -> None:
    axes = panel(learning_figure(found))
    best = found.best[0]
    assert points(axes, f"best: trial {best.number}") == sorted(best.intermediate_values.items())
    ends = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert len(ends) == found.numbers.pruned
    assert axes.get_xlabel() == "epoch"


def test_with_seeds_it_is_no_epochs_that_are_drawn(tmp_path: Path) -> None:
    study = made(tmp_path, [trial(values=1.0, curve=(3.0, 2.0))], seeds=2)
    assert panel(learning_figure(snapshot(study))).get_xlabel() == "seeds so far"


@pytest.mark.parametrize(("seeds", "label"), [(1, "folds so far"), (2, "runs so far")])
def test_with_folds_their_means_are_drawn(seeds: int, label: str, tmp_path: Path) -> None:
    study = made(tmp_path, [trial(values=1.0, curve=(3.0, 2.0))], seeds=seeds, folds=3)
    assert panel(learning_figure(snapshot(study))).get_xlabel() == label


def test_the_timeline_has_a_bar_for_each_trial_of_a_worker(found: Snapshot) -> None:
    axes = panel(timeline_figure(found))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"host-{worker}-ab" for worker in range(4)
    ]
    assert len(axes.patches) == len(found.trials)
    lengths = sorted(bar.get_width() for bar in axes.patches)  # type: ignore[attr-defined]
    took = sorted(t.duration.total_seconds() for t in found.trials if t.duration)
    assert lengths == pytest.approx(took)


def test_pauses_between_commands_are_left_out(tmp_path: Path) -> None:
    trials = [trial(values=1.0, takes=60, worker="a"),
              trial(values=1.0, begins=1e6, takes=40, worker="b")]  # fmt: skip
    axes = panel(timeline_figure(snapshot(made(tmp_path, trials))))
    assert axes.get_xlim()[1] < 110
    assert "pauses" in axes.get_xlabel()


def test_importances_are_drawn_with_the_largest_on_top(found: Snapshot) -> None:
    shares = importances(found)
    assert shares is not None
    axes = panel(importances_figure(shares))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(shares.shares)
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx(list(shares.shares.values()))


def test_parallel_coordinates_have_a_line_for_each_completed_trial(found: Snapshot) -> None:
    axes = panel(parallel_figure(found, {}))
    names = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
    assert names == [*(own.name for own in SPACE), "val/loss"]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == len(names)]  # type: ignore[arg-type]
    assert len(lines) == found.numbers.complete
    # The last one is the best, which is at the foot of the last axis; and all stay between the ends.
    assert lines[-1].get_ydata()[-1] == 0.0  # type: ignore[index]
    heights = np.array([line.get_ydata() for line in lines], dtype=float)
    assert heights.min() >= 0.0
    assert heights.max() <= 1.0
    absent = [label for label in axes.texts if label.get_text() == "absent"]
    assert [label.xy[0] for label in absent] == [4, 5], "only some have momentum, or dropout"  # type: ignore[attr-defined]


def test_unimportant_dimensions_are_left_out_where_there_are_many(found: Snapshot) -> None:
    order = {own.name: float(i) for i, own in enumerate(SPACE)}
    many = snapshot(with_many_dimensions(found))
    assert len(many.definition.space) > 8
    axes = panel(parallel_figure(many, order))
    names = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
    assert len(names) == 9
    assert "optimizer.momentum" in names


def with_many_dimensions(found: Snapshot) -> optuna.Study:
    """The same completed trials, with six dimensions more."""
    more = {f"loss.more{i}": FloatDistribution(0.0, 1.0) for i in range(6)}
    trials = []
    for each in found.of("complete"):
        own = trial(values=each.values, params=each.params)
        own.distributions = {**own.distributions, **more}
        own.params = {**own.params, **dict.fromkeys(more, each.number / 50)}
        trials.append(own)
    space = (*SPACE, *(parameter(name, each) for name, each in more.items()))
    return made(found.folder.parent / "many", trials, space=space)


def test_slices_have_a_panel_for_each_dimension(found: Snapshot) -> None:
    figure = slices_figure(found)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert [axes.get_xlabel() for axes in panels] == [own.name for own in SPACE]
    by_name = {axes.get_xlabel(): axes for axes in panels}
    drawn = by_name["optimizer.momentum"].collections[0].get_offsets()
    expected = [(t.params["optimizer.momentum"], t.value) for t in found.of("complete")
                if "optimizer.momentum" in t.params]  # fmt: skip
    assert np.asarray(drawn).tolist() == [list(each) for each in expected]
    assert by_name["optimizer.lr"].get_xscale() == "log"
    texts = [label.get_text() for label in by_name["regularizer"].get_xticklabels()]
    assert texts == ["[]", "[l2]", "[l2,dropout]"]
    pruned = points(by_name["optimizer.lr"], "pruned (at the edge)")
    assert [x for x, _ in pruned] == [t.params["optimizer.lr"] for t in found.of("pruned")]


def test_choices_stay_in_their_own_column(found: Snapshot) -> None:
    figure = slices_figure(found)
    assert figure is not None
    [axes] = [axes for axes in figure.axes if axes.get_xlabel() == "optimizer"]
    places = np.asarray(axes.collections[0].get_offsets())[:, 0]
    chosen = ["adam", "sgd"]
    assert [chosen[round(x)] for x in places] == [
        t.params["optimizer"] for t in found.of("complete")
    ]


def test_the_front_is_marked(tmp_path: Path) -> None:
    found = snapshot(searched(tmp_path, 25, goals=GOALS))
    axes = panel(front_figure(found))
    assert points(axes, "Pareto front") == [tuple(t.values) for t in found.best]
    rest = set(points(axes, "complete"))
    assert len(rest) + len(found.best) >= len({tuple(t.values) for t in found.of("complete")})
    assert axes.get_xlabel() == "test/accuracy (larger is better)"
    assert front_figure(snapshot(made(tmp_path / "one", [trial(values=1.0)]))) is None


# --- scales ---------------------------------------------------------------------------------------


def test_small_values_that_are_far_apart_are_told_apart() -> None:
    scale = scale_of([0.01, 0.02, 5.0, math.inf], 1)
    assert (scale.logarithmic, scale.low, scale.high, scale.beyond) == (True, 0.01, 5.0, 0)
    assert scale_of([0.5, 0.6], 1).logarithmic is False
    assert scale_of([-1.0, 500.0], 1).logarithmic is False


@pytest.mark.parametrize("sign", [1, -1])
def test_one_that_is_much_worse_does_not_hide_the_others(sign: int) -> None:
    values = [sign * (-1.0 - i / 100) for i in range(30)]
    scale = scale_of([*values, sign * 900.0], sign)
    assert scale.beyond == 1
    assert scale.high - scale.low < 1.0
    for value in values:
        assert scale.low <= value <= scale.high
    assert scale_of([-sign * 900.0, *values], sign).beyond == 0, "the best is never out of sight"


def test_equal_values_have_a_scale() -> None:
    axes = Figure().subplots()
    scale_of([0.5, 0.5], 1).apply(axes)
    low, high = axes.get_ylim()
    assert low < 0.5 < high


# --- files ----------------------------------------------------------------------------------------


def test_all_figures_are_there(exported: Path) -> None:
    assert sorted(path.name for path in (exported / "figures").iterdir()) == [
        "history.png", "importances.png", "learning_curves.png", "parallel_coordinates.png",
        "slices.png", "timeline.png",
    ]  # fmt: skip
    for path in (exported / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in exported.iterdir()}
    assert {"report.html", "best.yaml", "trials.csv"} <= names


def test_the_page_needs_nothing_else(exported: Path, found: Snapshot) -> None:
    page = Page((exported / "report.html").read_text())
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "default-src 'none'" in str(page.of("meta"))
    images = page.of("img")
    assert len(images) == 6
    for image in images:
        kind, _, code = str(image["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(code)
        outside = set(re.findall(rb'(?:href|src)="(?!data:)([^"#][^"]*)"', svg))
        assert outside == set()
        assert image["alt"]
    text = " ".join(page.text)
    best = found.best[0]
    for said in (
        "Study study", "18 complete, 19 pruned, 2 failed (2 exception)", f"{best.value:.6g}",
        "dlframe train data=iris", "the loss became NaN at step 12", "1e-4 to 0.1, log",
        "optimizer is sgd", "sampler: dlframe/tpe, seed 0", "workers were busy 80% of their time",
        f"20261121-12{best.number}00-abcdefgh",
    ):  # fmt: skip
        assert said in text, said
    rows = (exported / "report.html").read_text().split("<h2>Trials</h2>")[1].count("<tr>")
    assert rows == 1 + len(found.trials)


def test_the_page_of_several_goals(tmp_path: Path) -> None:
    study = searched(tmp_path, 20, goals=GOALS)
    paths = draw(study, tmp_path / "out")
    names = {path.stem for path in paths}
    assert names == {"pareto_front", "history", "importances", "parallel_coordinates", "slices",
                     "slices_2", "timeline", "report"}  # fmt: skip
    text = (tmp_path / "out" / "report.html").read_text()
    assert "dlframe study best study --trial N --command" in text
    assert "cost/parameters (smaller is better)" in text


def test_names_are_shown_and_never_run(tmp_path: Path) -> None:
    evil = "$x^$ <script>alert(1)</script><img src=http://x.example/>"
    study = made(
        tmp_path,
        [trial(values=1.0), trial(FAIL, reason="exception", said=evil)],
        goals=(Goal(evil, "minimize"),),
    )
    draw(study, tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.of("script") == []
    assert all(str(image["src"]).startswith("data:") for image in page.of("img"))
    assert evil in " ".join(page.text)


ODD: dict[str, list[FrozenTrial]] = {
    "empty": [],
    "unfinished": [trial(FAIL, reason="exception"), trial(RUNNING, curve=(1.0,)),
                   trial(TrialState.WAITING)],
    "nan": [trial(PRUNED, reason="pruned", curve=(math.nan,))],
    "no time": [trial(values=0.5, params={"optimizer.lr": 0.1}, takes=0.0)],
    "alike": [trial(values=0.5, params={"optimizer": "sgd", "optimizer.lr": 0.1})] * 12,
    "infeasible": [trial(values=0.5, constraints={"a <= 1": 1.0}), trial(values=0.6)],
    "infinite": [trial(values=math.inf), trial(values=0.5), trial(values=-1.0)],
    "taken over": [trial(values=0.5, worker=None)],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_every_study_can_be_drawn(tmp_path: Path, name: str) -> None:
    paths = export(made(tmp_path, ODD[name]), tmp_path / "out")
    assert paths[-1].name == "report.html"
    assert "<h2>What was searched</h2>" in paths[-1].read_text()


@pytest.mark.parametrize("values", [[], [(0.5, 3.0)], [(math.inf, 3.0), (0.5, 3.0)]])
def test_every_study_of_several_goals_can_be_drawn(
    tmp_path: Path, values: list[tuple[float, float]]
) -> None:
    trials = [trial(values=each, params={"optimizer": "sgd"}) for each in values]
    trials += [trial(FAIL, reason="value"), trial(RUNNING)]
    paths = export(made(tmp_path, trials, goals=GOALS), tmp_path / "out")
    assert paths[-1].name == "report.html"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "figures").touch()
    with pytest.raises(StorageError, match="cannot be written to"):
        draw(made(tmp_path), tmp_path)
