"""Points of a space: as Optuna alone would draw them, and as users give them."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna import Trial
from optuna.samplers import BaseSampler, BruteForceSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.study import Study, create_study
from optuna.trial import FrozenTrial, TrialState
from search_support import value_of

from dlframe.config.compose import compose
from dlframe.errors import ConfigError
from dlframe.sweep.definition import Parameter
from dlframe.sweep.space import (
    build_space,
    combinations,
    describe,
    grid,
    overrides_of,
    params_of,
    propose,
)

FLAT = (
    "optimizer.lr=tag(log,interval(1e-5,1e-1))",
    "optimizer.weight_decay=interval(0,0.1)",
    "trainer.max_epochs=int(interval(1,40))",
    "data.batch_size=range(16,257,16)",
    "architecture.hidden=[8],[16],[16,16]",
    "activation=relu,gelu,silu",
)
NUMBERS = FLAT[:4]
NESTED = (
    "architecture=mlp,cnn",
    "architecture.hidden=[8],[16,16]",
    "architecture.kernel_size=range(3,8,2)",
    "optimizer=adam,sgd",
    "optimizer.lr@sgd=tag(log,interval(1e-3,1))",
    "optimizer.lr=tag(log,interval(1e-5,1e-2))",
    "optimizer.momentum=interval(0,0.99)",
    "regularizer=[],[l2],[l2,dropout]",
    "regularizer.l2.weight=tag(log,interval(1e-6,1e-2))",
    "regularizer.dropout.p=range(0,0.6,0.1)",
)


def space_of(*overrides: str) -> tuple[Parameter, ...]:
    return build_space(overrides, {}, auto=False, config_dir=None)[1]


@pytest.fixture(scope="module")
def flat() -> tuple[Parameter, ...]:
    return space_of(*FLAT)


@pytest.fixture(scope="module")
def nested() -> tuple[Parameter, ...]:
    return space_of(*NESTED)


def numbers_by_hand(trial: Trial) -> dict[str, Any]:
    return {
        "lr": trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True),
        "decay": trial.suggest_float("optimizer.weight_decay", 0.0, 0.1),
        "epochs": trial.suggest_int("trainer.max_epochs", 1, 40),
        "batch": trial.suggest_int("data.batch_size", 16, 256, step=16),
    }


def flat_by_hand(trial: Trial) -> dict[str, Any]:
    found = numbers_by_hand(trial)
    found["hidden"] = trial.suggest_categorical("architecture.hidden", ["[8]", "[16]", "[16,16]"])
    found["activation"] = trial.suggest_categorical("activation", ["relu", "gelu", "silu"])
    return found


def nested_by_hand(trial: Trial) -> dict[str, Any]:
    architecture = trial.suggest_categorical("architecture", ["mlp", "cnn"])
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    regularizer = trial.suggest_categorical("regularizer", ["[]", "[l2]", "[l2,dropout]"])
    if architecture == "mlp":
        trial.suggest_categorical("architecture.hidden", ["[8]", "[16,16]"])
    else:
        trial.suggest_int("architecture.kernel_size", 3, 7, step=2)
    if optimizer == "sgd":
        trial.suggest_float("optimizer.lr@sgd", 1e-3, 1.0, log=True)
    else:
        trial.suggest_float("optimizer.lr", 1e-5, 1e-2, log=True)
    if optimizer == "sgd":
        trial.suggest_float("optimizer.momentum", 0.0, 0.99)
    if "l2" in regularizer:
        trial.suggest_float("regularizer.l2.weight", 1e-6, 1e-2, log=True)
    if "dropout" in regularizer:
        trial.suggest_float("regularizer.dropout.p", 0.0, 0.5, step=0.1)
    return dict(trial.params)


def course(study: Study) -> list[tuple[dict[str, Any], Any]]:
    return [(trial.params, trial.values) for trial in study.trials]


def optimized(sampler: BaseSampler, suggest: Callable[[Trial], Any], trials: int) -> Study:
    def objective(trial: Trial) -> float:
        suggest(trial)
        return value_of(trial.params)

    study = create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return study


def asked(sampler: BaseSampler, space: tuple[Parameter, ...], trials: int) -> Study:
    study = create_study(sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        propose(trial, space)
        study.tell(trial, value_of(trial.params))
    return study


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(
    ("make", "overrides", "by_hand"),
    [
        (TPESampler, FLAT, flat_by_hand),
        (TPESampler, NESTED, nested_by_hand),
        (RandomSampler, FLAT, flat_by_hand),
        (RandomSampler, NESTED, nested_by_hand),
        (CmaEsSampler, NUMBERS, numbers_by_hand),
    ],
    ids=["tpe-flat", "tpe-nested", "random-flat", "random-nested", "cmaes-numbers"],
)
def test_trials_are_those_of_an_objective_written_by_hand(
    make: Callable[..., BaseSampler],
    overrides: tuple[str, ...],
    by_hand: Callable[[Trial], Any],
    seed: int,
) -> None:
    space = space_of(*overrides)
    expected = course(optimized(make(seed=seed), by_hand, 40))
    assert course(optimized(make(seed=seed), lambda trial: propose(trial, space), 40)) == expected
    assert course(asked(make(seed=seed), space, 40)) == expected
    assert len({str(params) for params, _ in expected}) > 20


def test_what_is_proposed_composes_and_is_read_back(nested: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=RandomSampler(seed=3))
    seen = set[str]()
    for _ in range(12):
        trial = study.ask()
        overrides = propose(trial, nested)
        assert overrides == overrides_of(trial.params, nested)
        assert params_of(overrides, nested, ()) == trial.params
        assert params_of(trial.params, nested, ()) == trial.params
        config = compose(overrides)
        optimizer = config.optimizer.component
        name = "optimizer.lr@sgd" if optimizer == "dlframe/sgd" else "optimizer.lr"
        assert config.optimizer.lr == trial.params[name]
        if "regularizer.l2.weight" in trial.params:
            assert config.regularizer.l2.weight == trial.params["regularizer.l2.weight"]
        seen.add(optimizer)
    assert len(seen) == 2


def test_a_finished_trial_gives_its_overrides(flat: tuple[Parameter, ...]) -> None:
    params = {
        "activation": "gelu", "optimizer.lr": 1e-05, "architecture.hidden": "[16,16]",
        "trainer.max_epochs": 3,
    }  # fmt: skip
    assert overrides_of(params, flat) == [
        "optimizer.lr=1e-05", "trainer.max_epochs=3", "architecture.hidden=[16,16]", "activation=gelu",
    ]  # fmt: skip


# --- points that users give -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"optimizer.lr": 0.001}, {"optimizer.lr": 0.001}),
        ({"optimizer.lr": "1e-3"}, {"optimizer.lr": 0.001}),
        ({"trainer.max_epochs": 3.0}, {"trainer.max_epochs": 3}),
        ({"data.batch_size": 64}, {"data.batch_size": 64}),
        ({"architecture.hidden": [16, 16]}, {"architecture.hidden": "[16,16]"}),
        ({"architecture.hidden": "[16, 16]"}, {"architecture.hidden": "[16,16]"}),
        ({"activation": "dlframe/gelu"}, {"activation": "gelu"}),
        (["activation=gelu", "optimizer.lr=0.01"], {"activation": "gelu", "optimizer.lr": 0.01}),
        (["architecture.hidden=[8]", "seed=3"], {"architecture.hidden": "[8]"}),
        ({"seed": 3, "optimizer": "dlframe/adam", "activation": "relu"}, {"activation": "relu"}),
    ],
)
def test_given_values_become_parameters(
    flat: tuple[Parameter, ...], values: Any, expected: dict[str, Any]
) -> None:
    found = params_of(values, flat, ("seed=3", "optimizer=adam"))
    assert found == expected
    assert list(map(type, found.values())) == list(map(type, expected.values()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer.rl": 1}, "optimizer.rl is not searched; did you mean 'optimizer.lr'"),
        ({"seed": 4}, "seed is not searched"),
        ({"optimizer.lr": 1.0}, "is searched from 1e-5 to 0.1; got 1.0"),
        ({"optimizer.lr": True}, "is searched from 1e-5 to 0.1; got true"),
        ({"optimizer.lr": None}, "got null"),
        ({"trainer.max_epochs": 2.5}, "is searched from 1 to 40 in steps of 1; got 2.5"),
        ({"data.batch_size": 17}, "is searched from 16 to 256 in steps of 16; got 17"),
        ({"activation": "tanh"}, "is searched among relu, gelu, silu; got tanh"),
        (["architecture.hidden=[9]"], r"is searched among \[8\], \[16\], \[16,16\]; got \[9\]"),
    ],
)
def test_a_value_outside_the_space_is_refused(
    flat: tuple[Parameter, ...], values: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        params_of(values, flat, ("seed=3", "optimizer=adam"))


def test_a_key_of_several_components_is_the_chosen_ones(nested: tuple[Parameter, ...]) -> None:
    given = {"optimizer": "sgd", "optimizer.lr": 0.5}
    assert params_of(given, nested, ()) == {"optimizer": "sgd", "optimizer.lr@sgd": 0.5}
    given = {"optimizer": "adam", "optimizer.lr": 0.005}
    assert params_of(given, nested, ()) == {"optimizer": "adam", "optimizer.lr": 0.005}
    assert params_of({"optimizer.lr@sgd": 0.5}, nested, ()) == {"optimizer.lr@sgd": 0.5}
    assert params_of({"optimizer.lr": 0.5}, nested, ()) == {"optimizer.lr@sgd": 0.5}
    with pytest.raises(ConfigError, match="trials with optimizer=adam have no such option"):
        params_of({"optimizer": "adam", "optimizer.momentum": 0.5}, nested, ())
    with pytest.raises(ConfigError, match=r"got 0\.5"):
        params_of({"optimizer": "adam", "optimizer.lr": 0.5}, nested, ())


def test_a_given_point_is_the_one_that_is_tried(nested: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=TPESampler(seed=0))
    given = ["optimizer=sgd", "optimizer.lr=0.5", "regularizer=[l2]", "regularizer.l2.weight=1e-5"]
    study.enqueue_trial(params_of(given, nested, ()))
    proposed = propose(study.ask(), nested)
    assert {"optimizer=sgd", "optimizer.lr=0.5", "regularizer=[l2]"} < set(proposed)
    assert "regularizer.l2.weight=1e-05" in proposed


# --- counting -------------------------------------------------------------------------------------


def finite() -> tuple[Parameter, ...]:
    return space_of(
        "architecture=mlp,cnn", "architecture.hidden=[8],[16],[32]",
        "architecture.kernel_size=range(3,8,2)", "architecture.padding=same,valid",
        "architecture.normalization=none,batch", "regularizer=[],[dropout]",
        "regularizer.dropout.p=range(0.1,0.6,0.1)", "optimizer.lr=choice(0.1)",
    )  # fmt: skip


def test_points_are_counted_as_brute_force_finds_them() -> None:
    space = finite()
    assert combinations(space) == (3 + 3 * 2) * 2 * (1 + 5)
    found = set[str]()

    def objective(trial: Trial) -> float:
        found.add(" ".join(propose(trial, space)))
        return 0.0

    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = BruteForceSampler(seed=0)
    study = create_study(sampler=sampler)
    study.optimize(objective)
    assert len(study.trials) == combinations(space) == len(found)


def test_an_interval_has_no_end_of_points(flat: tuple[Parameter, ...]) -> None:
    assert combinations(flat) is None
    with pytest.raises(ConfigError, match=r"optimizer.lr is searched from 1e-5 to 0.1, log; write"):
        grid(flat)


def test_a_grid_holds_all_values() -> None:
    assert grid(finite()) == {
        "architecture": ["mlp", "cnn"],
        "regularizer": ["[]", "[dropout]"],
        "architecture.hidden": ["[8]", "[16]", "[32]"],
        "architecture.kernel_size": [3, 5, 7],
        "architecture.padding": ["same", "valid"],
        "architecture.normalization": ["none", "batch"],
        "regularizer.dropout.p": [0.1, 0.2, 0.3, 0.4, 0.5],
        "optimizer.lr": [0.1],
    }
    assert grid(space_of("seed=range(4,5)", "optimizer.lr=range(0.5,0.6)")) == {
        "seed": [4],
        "optimizer.lr": [0.5],
    }


def test_a_space_is_told_in_words(flat: tuple[Parameter, ...]) -> None:
    assert describe(flat) == [
        ("optimizer.lr", "1e-5 to 0.1, log", ""),
        ("optimizer.weight_decay", "0 to 0.1", ""),
        ("trainer.max_epochs", "1 to 40", ""),
        ("data.batch_size", "16 to 256, step 16", ""),
        ("architecture.hidden", "[8], [16], [16,16]", ""),
        ("activation", "relu, gelu, silu", ""),
    ]
    space = space_of(
        "seed=tag(log,range(1,9))", "optimizer.lr=range(0.1,1,0.2)", "data.limit=null,5"
    )
    assert [words for _, words, _ in describe(space)] == [
        "1 to 8, log",
        "0.1 to 0.9, step 0.2",
        "null, 5",
    ]


def test_a_frozen_trial_gives_the_same_overrides(nested: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=RandomSampler(seed=1))
    trial = study.ask()
    proposed = propose(trial, nested)
    done: FrozenTrial = study.tell(trial, 1.0)
    assert done.state == TrialState.COMPLETE
    assert overrides_of(done.params, nested) == proposed
