"""Which runs the words of a command line select."""

import pytest
from analysis_support import made

from dlframe.analysis.select import LAST, select
from dlframe.errors import ConfigError, RunNotFoundError

PARENT = "20261121-120000-aaaa"
RUNS = [
    made(0, group=True),
    made(1, parent=PARENT, seed=1, optimizer="adam", optimizer__lr=0.001),
    made(2, parent=PARENT, seed=2, optimizer="sgd", optimizer__lr=0.1, metrics={"test/loss": 0.5}),
    made(3, seed=1, optimizer="sgd", optimizer__lr="1e-1", status="FAILED"),
    made(4, group=True),
    made(
        5,
        parent="20261121-120004-aaaa",
        seed=1,
        optimizer="adam",
        optimizer__lr=0.01,
        architecture__hidden="[128, 128]",
        trainer__checkpoint=True,
        loss__weight=None,
    ),
]


def selected(*words: str) -> list[int]:
    return [run.created for run in select(RUNS, words).runs]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), [1, 2, 3, 5]),
        ((PARENT,), [1, 2]),
        ((LAST,), [5]),
        (("20261121-120003",), [3]),
        (("120003-aaaa", "120005-aaaa"), [3, 5]),
        ((PARENT, "20261121-120003"), [1, 2, 3]),
        (("optimizer=adam",), [1, 5]),
        (("optimizer!=adam",), [2, 3]),
        (("optimizer=adam,sgd", "seed=2,3"), [2]),
        (("optimizer.lr=0.1",), [2, 3]),
        (("optimizer.lr>=0.01", "optimizer.lr<0.1"), [5]),
        (("metrics.test/loss<1",), [2]),
        (("status=FINISHED",), [1, 2, 5]),
        ((PARENT, "seed=2"), [2]),
        (("status=finished",), [1, 2, 5]),
        (("status!=Finished",), [3]),
        (("trainer.checkpoint=true",), [5]),
        (("trainer.checkpoint!=true",), [1, 2, 3]),
        (("loss.weight=null",), [5]),
        (("loss.weight=none",), [5]),
        (("architecture.hidden=[128,128]",), [5]),
        (("architecture.hidden=[64],[128,128]",), [5]),
        (("architecture.hidden=[ 128, 128 ]",), [5]),
        (("optimizer.lr=1e-2,5",), [5]),
    ],
)
def test_runs_are_selected(words: tuple[str, ...], expected: list[int]) -> None:
    assert selected(*words) == expected


def test_a_whole_multirun_is_known_as_such() -> None:
    parent = select(RUNS, [PARENT]).parent
    assert parent is not None
    assert parent.id == PARENT
    assert select(RUNS, [PARENT, "seed=1"]).parent is None
    assert select(RUNS, ["20261121-120001"]).parent is None


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("zzzz",), RunNotFoundError, "no run answers to 'zzzz'; the latest are"),
        (("2026",), RunNotFoundError, "6 runs answer to '2026': .*; give more characters"),
        (("aaa",), RunNotFoundError, "no run answers to 'aaa'"),
        (("optimizer!=adam,sgd",), RunNotFoundError, "no run is selected by 'optimizer!=adam,sgd'"),
        (
            ("optimizer.lr>5",),
            RunNotFoundError,
            "no run is selected by 'optimizer.lr>5'; no run has optimizer.lr>5: the values of "
            "optimizer.lr are 0.001, 0.01, 0.1, 1e-1",
        ),
        (("seed=true",), RunNotFoundError, "no run has seed=true: the values of seed are 1, 2"),
        (
            ("seed=2", "status=failed"),
            RunNotFoundError,
            "each filter holds for some run, but all of",
        ),
        (
            ("zzzz=1",),
            ConfigError,
            "no run has 'zzzz' to filter by; keys that vary are status, seed",
        ),
        (("optimiser=adam",), ConfigError, "'optimiser' to filter by; did you mean 'optimizer'"),
    ],
)
def test_words_that_select_nothing_say_so(
    words: tuple[str, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        select(RUNS, words)


def test_runs_of_several_experiments_are_not_mixed_unasked() -> None:
    mixed = [*RUNS, made(6, experiment="other", seed=1)]
    with pytest.raises(ConfigError, match="choose one with --experiment: e, other"):
        select(mixed, [])
    assert [run.created for run in select(mixed, [], "other").runs] == [6]
    with pytest.raises(
        ConfigError, match="no run here is of experiment 'othr'; did you mean 'other'"
    ):
        select(mixed, [], "othr")
