"""What repeats another run is no result of its own: replays, and one config trained twice."""

from dataclasses import replace

import pytest
from analysis_support import made, two_groups

from dlframe.analysis.comparison import compare
from dlframe.analysis.groups import group_runs
from dlframe.analysis.independent import independent
from dlframe.analysis.runs import RunData

RELU = {1: 0.91, 2: 0.93, 3: 0.90, 4: 0.95}
TANH = {1: 0.90, 2: 0.90, 3: 0.89, 4: 0.91}


def again(run: RunData, number: int, **params: str) -> RunData:
    """A run of the same config and seed, later."""
    return replace(
        run, id=f"20261122-1200{number:02d}-bbbb", created=100 + number,
        params={**run.params, **params},
    )  # fmt: skip


def replayed(run: RunData, number: int) -> RunData:
    """A replay, which sets the number of threads where the run left it to torch."""
    later = again(run, number, **{"trainer.threads": "1"})
    return replace(later, tags={**run.tags, "dlframe.replay_of": run.id})


@pytest.fixture
def runs() -> list[RunData]:
    return [
        replace(run, params={**run.params, "trainer.threads": "None"})
        for run in two_groups(RELU, TANH)
    ]


def test_replays_add_nothing(runs: list[RunData]) -> None:
    alone = compare(runs)
    more = compare([*runs, *(replayed(run, i) for i, run in enumerate(runs[:5]))])
    assert more.metrics == alone.metrics
    assert alone.metrics[0].pairs[0].contrast.test == "paired t"
    assert [group.label for group in more.grouping.groups] == ["activation=relu", "activation=tanh"]
    assert more.notes == ["replays of runs that are here are left out: 5", *alone.notes]


def test_a_replay_that_was_named_counts_instead_of_its_run(runs: list[RunData]) -> None:
    replay = replayed(runs[0], 0)
    kept, [note] = independent([*runs, replay], named={runs[0].id, replay.id})
    assert kept == [*runs[1:], replay]
    assert note.startswith(
        "runs of one config and seed count once, the newest of them; left out: 1"
    )


def test_a_replay_stays_where_its_run_is_not(runs: list[RunData]) -> None:
    assert independent([*runs[1:], replayed(runs[0], 0)])[0][-1].tags["dlframe.replay_of"]


def test_of_one_config_and_seed_the_newest_counts(runs: list[RunData]) -> None:
    changed = replace(again(runs[0], 1), metrics={"test/accuracy": 0.97})
    found = compare([again(runs[0], 0), changed, *runs])
    [metric] = found.metrics
    assert metric.summaries["activation=relu"].n == 4
    assert metric.summaries["activation=relu"].maximum == 0.97
    assert (metric.pairs[0].contrast.test, metric.pairs[0].contrast.n) == ("paired t", (4,))
    said = "runs of one config and seed count once, the newest of them; left out: 2"
    assert found.notes[0] == said


def test_a_later_run_without_a_result_takes_no_ones_place(runs: list[RunData]) -> None:
    failed = replace(again(runs[0], 0), status="FAILED")
    found = compare([*runs, failed])
    assert found.metrics[0].summaries["activation=relu"].n == 4
    assert found.notes[0] == "runs without a result are left out: 1 failed"


def test_runs_without_a_seed_are_not_known_to_repeat(runs: list[RunData]) -> None:
    bare = [made(i, metrics={"test/loss": 0.5 + i}, activation="relu") for i in range(3)]
    assert independent(bare) == (bare, [])


def test_how_to_compute_is_compared_only_where_somebody_means_to(runs: list[RunData]) -> None:
    slower = [again(run, i, **{"trainer.threads": "1"}) for i, run in enumerate(runs)]
    kept, [note] = independent([*runs, *slower])
    assert kept == slower
    assert note.endswith("left out: 8 (--by trainer.threads tells some of them apart)")
    keys = ["activation", "trainer.threads"]
    assert independent([*runs, *slower], by=keys) == ([*runs, *slower], [])
    assert len(group_runs([*runs, *slower], keys).groups) == 4
    # Nothing else varies.
    relu = [*runs[:4], *slower[:4]]
    assert independent(relu) == (relu, [])
    assert list(group_runs(relu).by) == ["trainer.threads"]
    assert list(group_runs([*runs, *slower]).by) == ["activation"]
