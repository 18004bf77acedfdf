"""Which runs belong together."""

import random
from typing import Any

import pytest
from analysis_support import made

from dlframe.analysis.groups import group_runs
from dlframe.errors import ConfigError


def test_what_varies_tells_groups_apart_but_for_the_seed() -> None:
    runs = [
        made(i, seed=seed, activation=activation, optimizer="adam", optimizer__lr=0.1)
        for i, (activation, seed) in enumerate((a, s) for a in ("tanh", "relu") for s in (1, 2))
    ]
    found = group_runs(runs)
    assert list(found.by) == ["activation"]
    assert [group.label for group in found.groups] == ["activation=relu", "activation=tanh"]
    assert [len(group.runs) for group in found.groups] == [2, 2]
    assert list(found.pairing) == ["seed"]
    shuffled = list(runs)
    random.Random(1).shuffle(shuffled)
    assert group_runs(shuffled) == found


def test_options_of_a_component_follow_it() -> None:
    adam: dict[str, Any] = {"optimizer": "adam", "optimizer__lr": 0.001, "optimizer__beta1": 0.9}
    sgd: dict[str, Any] = {"optimizer": "sgd", "optimizer__lr": 0.1, "optimizer__momentum": 0.0}
    dropout: dict[str, Any] = {"regularizer__dropout": "dropout", "regularizer__dropout__p": 0.5}
    runs = [made(0, seed=1, **adam), made(1, seed=1, **sgd), made(2, seed=1, **sgd, **dropout)]
    found = group_runs(runs)
    assert list(found.by) == ["optimizer", "regularizer.dropout"]
    assert set(found.implied) == {
        "optimizer.lr", "optimizer.beta1", "optimizer.momentum", "regularizer.dropout.p",
    }  # fmt: skip
    assert found.groups[0].values == {"optimizer": "adam", "regularizer.dropout": "none"}


def test_an_option_that_varies_on_its_own_tells_groups_apart() -> None:
    runs = [
        made(i, seed=1, optimizer=name, optimizer__lr=lr)
        for i, (name, lr) in enumerate([("adam", "0.1"), ("adam", "0.01"), ("sgd", "0.1")])
    ]
    found = group_runs(runs)
    assert list(found.by) == ["optimizer", "optimizer.lr"]
    assert [group.label for group in found.groups] == [
        "optimizer=adam, optimizer.lr=0.01",
        "optimizer=adam, optimizer.lr=0.1",
        "optimizer=sgd, optimizer.lr=0.1",
    ]


def test_given_keys_group_and_the_others_pair() -> None:
    runs = [
        made(i, seed=seed, activation=activation, optimizer__lr=lr)
        for i, (activation, lr, seed) in enumerate(
            (a, r, s) for a in ("relu", "tanh") for r in (0.1, 0.01) for s in (1, 2)
        )
    ]
    found = group_runs(runs, ["activation"])
    assert [len(group.runs) for group in found.groups] == [4, 4]
    assert list(found.pairing) == ["seed", "optimizer.lr"]
    assert found.partner(runs[0]) == ("1", "0.1")
    by_seed = group_runs(runs, ["seed"])
    assert [group.label for group in by_seed.groups] == ["seed=1", "seed=2"]
    assert list(by_seed.pairing) == ["activation", "optimizer.lr"]


def test_numbers_are_in_the_order_of_their_size() -> None:
    runs = [made(i, seed=1, optimizer__lr=lr) for i, lr in enumerate(["10", "9", "1e-3", "none"])]
    values = [group.values["optimizer.lr"] for group in group_runs(runs).groups]
    assert values == ["1e-3", "9", "10", "none"]


def test_runs_that_do_not_differ_are_one_group() -> None:
    [group] = group_runs([made(0, seed=1, a=1), made(1, seed=2, a=1)]).groups
    assert (group.label, len(group.runs)) == ("all runs", 2)


def test_a_key_that_no_run_has_is_told() -> None:
    runs = [made(0, seed=1, optimizer__lr=1), made(1, seed=1, optimizer__lr=2)]
    with pytest.raises(
        ConfigError, match=r"'optimizer.lrr' to group by; did you mean 'optimizer.lr'"
    ):
        group_runs(runs, ["optimizer.lrr"])
