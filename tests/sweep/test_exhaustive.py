"""Grid search and brute force: every combination once, whoever asks and whatever was given."""

from typing import Any

import optuna
import pytest
from optuna.samplers import BruteForceSampler, GridSampler
from optuna.study import create_study
from search_support import course, optunas

from dlframe.sweep.definition import Chosen, Parameter
from dlframe.sweep.exhaustive import has_tried_all
from dlframe.sweep.samplers import make_sampler
from dlframe.sweep.space import combinations, params_of, propose

pytest_plugins = ["search_fixtures"]


@pytest.mark.parametrize("spacename", ["finite", "branching"])
@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_every_point_is_tried_once(
    name: str, spacename: str, request: pytest.FixtureRequest
) -> None:
    space = request.getfixturevalue(spacename)
    points = combinations(space)
    assert points is not None
    asked = create_study(sampler=make_sampler(Chosen(name), seed=3, space=space))
    found = []
    while not has_tried_all(Chosen(name), space, asked.trials):
        trial = asked.ask()
        found.append(tuple(propose(trial, space)))
        asked.tell(trial, 0.0)
    assert has_tried_all(Chosen(f"dlframe/{name}"), space, asked.trials)
    assert len(found) == len(set(found)) == points
    looped = create_study(sampler=make_sampler(Chosen(name), seed=3, space=space))
    looped.optimize(lambda trial: float(len(propose(trial, space))))
    assert [t.params for t in looped.trials] == [t.params for t in asked.trials]


def test_a_grid_is_optunas(finite: tuple[Parameter, ...]) -> None:
    values: dict[str, list[Any]] = {
        "activation": ["relu", "gelu"], "seed": [1, 2, 3], "optimizer.lr": [0.1, 0.3]
    }  # fmt: skip
    expected = course(GridSampler(values, seed=0), finite, 11)
    assert course(make_sampler(Chosen("grid"), seed=9, space=finite), finite, 11) == expected


def test_brute_force_is_optunas(branching: tuple[Parameter, ...]) -> None:
    expected = course(optunas(BruteForceSampler, seed=4), branching, 7)
    assert (
        course(make_sampler(Chosen("brute_force"), seed=4, space=branching), branching, 7)
        == expected
    )


def test_workers_with_seeds_of_their_own_share_a_grid(finite: tuple[Parameter, ...]) -> None:
    study = create_study()
    found = []
    for number in range(12):
        study.sampler = make_sampler(Chosen("grid"), seed=number, space=finite)
        assert not has_tried_all(Chosen("grid"), finite, study.trials)
        trial = study.ask()
        found.append(tuple(propose(trial, finite)))
        study.tell(trial, state=optuna.trial.TrialState.FAIL if number % 3 == 0 else None,
                   values=None if number % 3 == 0 else 1.0)  # fmt: skip
    assert len(set(found)) == 12
    assert has_tried_all(Chosen("grid"), finite, study.trials)


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_a_given_point_of_a_grid_counts(finite: tuple[Parameter, ...], name: str) -> None:
    study = create_study(sampler=make_sampler(Chosen(name), seed=0, space=finite))
    given = ["activation=gelu", "seed=2", "optimizer.lr=0.3"]
    study.enqueue_trial(params_of(given, finite, ()))
    found = []
    while not has_tried_all(Chosen(name), finite, study.trials):
        trial = study.ask()
        found.append(tuple(propose(trial, finite)))
        study.tell(trial, 0.0)
    assert set(given) == set(found[0])
    assert len(set(found)) == 12
    assert len(found) <= 13


def test_a_running_point_is_not_tried_again(branching: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=make_sampler(Chosen("grid"), seed=0, space=branching))
    begun = study.ask()
    assert not has_tried_all(Chosen("grid"), branching, study.trials)
    found = {tuple(propose(begun, branching))}
    for _ in range(7):
        assert not has_tried_all(Chosen("grid"), branching, study.trials)
        found.add(tuple(propose(study.ask(), branching)))
    assert len(found) == 8
    assert has_tried_all(Chosen("grid"), branching, study.trials)


def test_other_samplers_are_never_exhausted(finite: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=make_sampler(Chosen("tpe"), seed=0, space=finite))
    for _ in range(20):
        trial = study.ask()
        propose(trial, finite)
        study.tell(trial, 1.0)
    assert not has_tried_all(Chosen("tpe"), finite, study.trials)
