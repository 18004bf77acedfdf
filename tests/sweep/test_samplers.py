"""Samplers and pruners by name: Optuna's own, with checked options, and those of plugins."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from optuna.study import Study, create_study

from dlframe.config.compose import prepare
from dlframe.config.signature import imported, parsed
from dlframe.config.source import ComponentSource
from dlframe.errors import ConfigError, DlframeError
from dlframe.plugin import Component, registry
from dlframe.sweep.definition import Chosen, Parameter
from dlframe.sweep.pruners import make_pruner
from dlframe.sweep.samplers import has_tried_all, is_exhausted, make_sampler
from dlframe.sweep.space import build_space, combinations, params_of, propose

pytest_plugins = ["sweep_fixtures"]
Declare = Callable[..., None]


def space_of(*overrides: str) -> tuple[Parameter, ...]:
    return build_space(overrides, {}, auto=False, config_dir=None)[1]


@pytest.fixture(scope="module")
def numbers() -> tuple[Parameter, ...]:
    return space_of(
        "optimizer.lr=tag(log,interval(1e-5,1e-1))", "optimizer.weight_decay=interval(0,0.1)",
        "trainer.max_epochs=int(interval(1,40))",
    )  # fmt: skip


@pytest.fixture(scope="module")
def nested() -> tuple[Parameter, ...]:
    return space_of(
        "optimizer=adam,sgd", "optimizer.lr=tag(log,interval(1e-4,1e-1))",
        "optimizer.momentum=interval(0,0.9)", "activation=relu,gelu,silu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def finite() -> tuple[Parameter, ...]:
    return space_of("activation=relu,gelu", "seed=range(1,4)", "optimizer.lr=range(0.1,0.5,0.2)")


@pytest.fixture(scope="module")
def branching() -> tuple[Parameter, ...]:
    return space_of("regularizer=[],[dropout]", "regularizer.dropout.p=0.1,0.2,0.3", "seed=1,2")


def value_of(params: dict[str, Any]) -> float:
    total = 0.0
    for name, value in params.items():
        number = len(value) if isinstance(value, str) else float(value)
        total += math.sin(number * (1 + len(name))) + abs(math.log10(abs(number) + 1e-6) + 2)
    return total


def course(
    sampler: BaseSampler, space: Sequence[Parameter], trials: int, objectives: int = 1
) -> list[dict[str, Any]]:
    """The parameters of so many trials."""
    study = create_study(sampler=sampler, directions=["minimize"] * objectives)
    for _ in range(trials):
        trial = study.ask()
        propose(trial, space)
        value = value_of(trial.params)
        study.tell(trial, [value, *(math.cos(value * n) for n in range(1, objectives))])
    return [trial.params for trial in study.trials]


def optunas(make: Callable[..., Any], **options: Any) -> Any:
    """Optuna's own object, whose remarks about itself are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**options)


# --- samplers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize(
    ("name", "options", "make", "same", "trials"),
    [
        ("random", {}, RandomSampler, {}, 20),
        ("tpe", {}, TPESampler, {}, 30),
        ("tpe", {"group": True, "n_startup_trials": 4}, TPESampler, {}, 30),
        ("tpe", {"multivariate": False, "constant_liar": False, "n_ei_candidates": 8}, TPESampler,
         {}, 30),
        ("gp", {"n_startup_trials": 3}, GPSampler, {}, 5),
        ("gp", {"n_startup_trials": 3, "deterministic_objective": True}, GPSampler, {}, 5),
        ("cmaes", {}, CmaEsSampler, {}, 30),
        ("cmaes", {"sigma0": 0.3, "popsize": 5, "with_margin": True}, CmaEsSampler, {}, 30),
        ("cmaes", {"use_separable_cma": True, "n_startup_trials": 3}, CmaEsSampler, {}, 30),
        ("cmaes", {"lr_adapt": True, "consider_pruned_trials": True}, CmaEsSampler, {}, 30),
        ("nsga2", {"population_size": 6}, NSGAIISampler, {}, 30),
        ("nsga2", {"population_size": 6, "crossover_prob": 0.5, "swapping_prob": 0.1}, NSGAIISampler,
         {}, 30),
        ("nsga2", {"population_size": 6, "mutation_prob": 0.4}, NSGAIISampler, {}, 30),
        ("nsga2", {"population_size": 6, "crossover": "sbx", "mutation": "polynomial"}, NSGAIISampler,
         {"crossover": SBXCrossover, "mutation": PolynomialMutation}, 30),
        ("nsga3", {"population_size": 6, "dividing_parameter": 2}, NSGAIIISampler, {}, 30),
        ("qmc", {}, QMCSampler, {}, 16),
        ("qmc", {"qmc_type": "halton", "scramble": True}, QMCSampler, {}, 16),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_sampler_is_optunas_with_its_options(
    numbers: tuple[Parameter, ...],
    name: str,
    options: dict[str, Any],
    make: Callable[..., BaseSampler],
    same: dict[str, Callable[[], Any]],
    trials: int,
    seed: int,
) -> None:
    made = make_sampler(Chosen(f"dlframe/{name}", options), seed=seed, space=numbers)
    objectives = 2 if name.startswith("nsga") else 1
    theirs = {key: same.get(key, value) for key, value in options.items()}
    theirs = {k: optunas(v) if callable(v) else v for k, v in theirs.items()}
    expected = course(optunas(make, seed=seed, **theirs), numbers, trials, objectives)
    assert course(made, numbers, trials, objectives) == expected
    assert len({str(params) for params in expected}) > trials // 2


@pytest.mark.parametrize("name", ["random", "tpe", "gp", "cmaes", "nsga2", "nsga3", "qmc"])
def test_a_sampler_takes_a_space_with_conditions_in_silence(
    nested: tuple[Parameter, ...], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        made = make_sampler(Chosen(name), seed=1, space=nested)
        found = course(made, nested, 13)
    finally:
        optuna.logging.set_verbosity(before)
    assert {"optimizer.momentum" in params for params in found} == {True, False}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "crossover", ["uniform", "blxalpha", "sbx", "spx", "undx", "vsbx"]
)  # fmt: skip
@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_every_crossover_mixes(numbers: tuple[Parameter, ...], name: str, crossover: str) -> None:
    options = {"crossover": crossover, "population_size": 4}
    made = make_sampler(Chosen(name, options), seed=1, space=numbers)
    assert len({str(params) for params in course(made, numbers, 16, objectives=2)}) > 8


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
    while not is_exhausted(asked):
        assert not has_tried_all(Chosen(name), space, asked.trials)
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
        assert not is_exhausted(study)
        trial = study.ask()
        found.append(tuple(propose(trial, finite)))
        study.tell(trial, state=optuna.trial.TrialState.FAIL if number % 3 == 0 else None,
                   values=None if number % 3 == 0 else 1.0)  # fmt: skip
    assert len(set(found)) == 12
    assert is_exhausted(study)


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_a_given_point_of_a_grid_counts(finite: tuple[Parameter, ...], name: str) -> None:
    study = create_study(sampler=make_sampler(Chosen(name), seed=0, space=finite))
    given = ["activation=gelu", "seed=2", "optimizer.lr=0.3"]
    study.enqueue_trial(params_of(given, finite, ()))
    found = []
    while not is_exhausted(study):
        trial = study.ask()
        found.append(tuple(propose(trial, finite)))
        study.tell(trial, 0.0)
    assert set(given) == set(found[0])
    assert len(set(found)) == 12
    assert len(found) <= 13


def test_a_running_point_is_not_tried_again(branching: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=make_sampler(Chosen("grid"), seed=0, space=branching))
    begun = study.ask()
    assert not is_exhausted(study)
    found = {tuple(propose(begun, branching))}
    for _ in range(7):
        assert not is_exhausted(study)
        found.add(tuple(propose(study.ask(), branching)))
    assert len(found) == 8
    assert is_exhausted(study)


def test_other_samplers_are_never_exhausted(finite: tuple[Parameter, ...]) -> None:
    study = create_study(sampler=make_sampler(Chosen("tpe"), seed=0, space=finite))
    for _ in range(20):
        trial = study.ask()
        propose(trial, finite)
        study.tell(trial, 1.0)
    assert not is_exhausted(study)
    assert not has_tried_all(Chosen("tpe"), finite, study.trials)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "grid",
            {},
            r"a grid needs values to count, and optimizer.lr is searched from 1e-5 to 0.1, log",
        ),
        ("brute_force", {}, "a grid needs values to count"),
        ("tp", {}, "no sampler is called 'tp'; did you mean 'tpe'"),
        (
            "tpe",
            {"n_startup_trial": 3},
            "dlframe/tpe has no option 'n_startup_trial'; did you mean",
        ),
        (
            "tpe",
            {"n_startup_trials": -1},
            r"hydra.sweeper.sampler.n_startup_trials must be int >= 0",
        ),
        ("tpe", {"group": True, "multivariate": False}, "leave multivariate at null"),
        ("cmaes", {"with_margin": True, "lr_adapt": True}, "exclude each other"),
        ("cmaes", {"sigma0": 0}, "sigma0 must be float > 0"),
        ("nsga2", {"population_size": 2, "crossover": "spx"}, "population_size must be 3 or more"),
        ("nsga2", {"crossover": "sbxx"}, "did you mean 'sbx'"),
        ("qmc", {"qmc_type": "sobbol"}, "did you mean 'sobol'"),
    ],
)
def test_a_wrong_choice_of_sampler_is_one_sentence(
    numbers: tuple[Parameter, ...], name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DlframeError, match=message) as caught:
        make_sampler(Chosen(name, options), seed=0, space=numbers)
    assert "\n" not in str(caught.value)


# --- pruners --------------------------------------------------------------------------------------

EPOCHS = 30


def ends(pruner: BasePruner, *, repeat: int = 1) -> list[int]:
    """Epoch at which each of forty trials with real-looking curves ended."""
    study = create_study(pruner=pruner, study_name="curves", sampler=RandomSampler(seed=0))
    found = []
    for number in range(40):
        trial = study.ask()
        level, rate = (number * 37 % 40) / 40, 0.1 + (number * 11 % 17) / 20
        value, last = 0.0, 0
        for last in range(1, EPOCHS + 1):
            value = level + math.exp(-rate * last) + 0.05 * math.sin(number + 3 * last)
            trial.report(value, last)
            if trial.should_prune():
                break
        study.tell(trial, value)
        found.append(last)
    return found


@pytest.mark.parametrize(
    ("name", "options", "make"),
    [
        ("none", {}, NopPruner),
        ("median", {}, MedianPruner),
        ("median", {"n_startup_trials": 2, "n_warmup_steps": 5, "interval_steps": 3, "n_min_trials": 4},
         lambda: MedianPruner(2, 5, 3, n_min_trials=4)),
        ("percentile", {}, lambda: PercentilePruner(25.0)),
        ("percentile", {"percentile": 60, "n_startup_trials": 1}, lambda: PercentilePruner(60.0, 1)),
        ("asha", {}, lambda: SuccessiveHalvingPruner(1)),
        ("asha", {"min_resource": 2, "reduction_factor": 3, "min_early_stopping_rate": 1,
                  "bootstrap_count": 2},
         lambda: SuccessiveHalvingPruner(2, 3, 1, 2)),
        ("hyperband", {}, lambda: HyperbandPruner(1, EPOCHS)),
        ("hyperband", {"min_resource": 2, "reduction_factor": 4},
         lambda: HyperbandPruner(2, EPOCHS, 4)),
        ("threshold", {"upper": 1.2}, lambda: ThresholdPruner(upper=1.2)),
        ("threshold", {"lower": 0.1, "upper": 1.5, "n_warmup_steps": 3, "interval_steps": 2},
         lambda: ThresholdPruner(0.1, 1.5, 3, 2)),
        ("patient", {}, lambda: PatientPruner(MedianPruner(), 3)),
        ("patient", {"inner": "none", "patience": 2, "min_delta": 0.01},
         lambda: PatientPruner(None, 2, 0.01)),
        ("patient", {"inner": "asha", "patience": 1},
         lambda: PatientPruner(SuccessiveHalvingPruner(1), 1)),
        ("wilcoxon", {}, WilcoxonPruner),
        ("wilcoxon", {"p_threshold": 0.01, "n_startup_steps": 6},
         lambda: WilcoxonPruner(p_threshold=0.01, n_startup_steps=6)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_pruner_is_optunas_with_its_options(
    name: str, options: dict[str, Any], make: Callable[[], BasePruner]
) -> None:
    expected = ends(optunas(make))
    assert ends(make_pruner(Chosen(name, options), max_resource=EPOCHS)) == expected
    assert (min(expected) < EPOCHS) == (name != "none")


def test_no_pruner_is_one_that_never_prunes() -> None:
    assert set(ends(make_pruner(None, max_resource=EPOCHS))) == {EPOCHS}


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_epochs_that_are_not_known_are_learned_from_the_first_trial(name: str) -> None:
    make = {"asha": SuccessiveHalvingPruner, "hyperband": HyperbandPruner}[name]
    assert ends(make_pruner(Chosen(name), max_resource=1)) == ends(make())


def test_a_long_training_has_its_first_rung_later() -> None:
    made = make_pruner(Chosen("asha"), max_resource=1000)
    assert ends(made) == ends(SuccessiveHalvingPruner(10))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("threshold", {}, "the pruner threshold needs a bound"),
        ("threshold", {"lower": 2, "upper": 1}, "lower must be at most upper; got 2.0 and 1.0"),
        ("hyperband", {"min_resource": 31}, "must be at most the epochs of a trial, 30; got 31"),
        ("patient", {"inner": "patient"}, "must be another pruner than patient"),
        ("patient", {"inner": "medain"}, "no pruner is called 'medain'; did you mean 'median'"),
        ("asha", {"reduction_factor": 1}, "reduction_factor must be int >= 2"),
        ("percentile", {"percentile": 101}, "percentile must be float >= 0 and <= 100"),
        ("medain", {}, "no pruner is called 'medain'; did you mean 'median'"),
    ],
)  # fmt: skip
def test_a_wrong_choice_of_pruner_is_one_sentence(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DlframeError, match=message) as caught:
        make_pruner(Chosen(name, options), max_resource=EPOCHS)
    assert "\n" not in str(caught.value)


def test_what_optuna_refuses_is_one_sentence() -> None:
    with pytest.raises(
        ConfigError, match="pruner 'dlframe/hyperband' refuses its options: bootstrap"
    ):
        make_pruner(Chosen("hyperband", {"bootstrap_count": 2}), max_resource=0)


# --- as components --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sampler", "pruner"])
def test_parsing_and_importing_give_the_same_options(kind: str) -> None:
    for entry in registry().entries(kind):
        found, expected = (
            parsed(kind, entry.component.target),
            imported(kind, entry.component.target),
        )
        assert found is not None, entry.id
        assert (found.options, found.accepts) == (expected.options, expected.accepts)
        assert all(option.help for option in found.options), entry.id
        assert "trial" in found.doc


def test_optunas_remarks_of_others_are_still_heard() -> None:
    make_sampler(Chosen("tpe", {"group": True}), seed=0, space=())
    with pytest.warns(ExperimentalWarning):
        TPESampler(multivariate=True, group=True)


class Constant(BaseSampler):
    """Always the same share of each range. One trial is enough.

    Args:
        share: of the range, from its lower end.
    """

    def __init__(self, *, seed: int | None = None, share: float = 0.5) -> None:
        self.seed, self.share = seed, share

    def infer_relative_search_space(self, study: Study, trial: Any) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(self, study: Study, trial: Any, search_space: Any) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(self, study: Study, trial: Any, name: str, distribution: Any) -> Any:
        """The share of a range."""
        return distribution.low + self.share * (distribution.high - distribution.low)


class Strict(BasePruner):
    """Ends every trial after some epochs.

    Args:
        after: epochs.
    """

    def __init__(self, *, max_resource: int, after: int = 2) -> None:
        self.after = min(after, max_resource)

    def prune(self, study: Study, trial: Any) -> bool:
        """Whether the epochs are over."""
        return (trial.last_step or 0) >= self.after


def nothing() -> int:
    """Be no sampler."""
    return 3


def test_a_plugins_sampler_and_pruner_are_chosen_as_the_built_in_ones(
    declare: Declare, numbers: tuple[Parameter, ...]
) -> None:
    home = Constant.__module__
    declare("sampler", Component(name="constant", target=f"{home}:Constant", summary="s"))
    declare(
        "pruner", Component(name="strict", target=f"{home}:Strict", summary="s"), plugin="globex"
    )
    chosen = Chosen("acme/constant", {"share": 0.25})
    made = make_sampler(chosen, seed=7, space=numbers)
    assert isinstance(made, Constant)
    assert made.seed == 7
    assert course(made, numbers[1:2], 1) == [{"optimizer.weight_decay": 0.025}]
    assert set(ends(make_pruner(Chosen("strict", {"after": 4}), max_resource=EPOCHS))) == {4}
    source = ComponentSource(provider="test", path="dlframe://components")
    loaded = source.load_config("hydra/sweeper/sampler/acme/constant").config
    assert OmegaConf.to_container(loaded) == {"component": "acme/constant", "share": 0.5}
    searching = ["sweep=tpe", "hydra/sweeper/sampler=constant", "optimizer.lr=0.1,0.2"]
    prepare([*searching, "hydra.sweeper.sampler.share=0.1"], None, many=True)
    with pytest.raises(
        ConfigError, match="acme/constant has no option 'shar'; did you mean 'share'"
    ):
        prepare([*searching, "hydra.sweeper.sampler.shar=0.1"], None, many=True)
    with pytest.raises(ConfigError, match="share must be float"):
        prepare([*searching, "hydra.sweeper.sampler.share=much"], None, many=True)


def test_a_plugins_component_must_be_what_its_kind_says(declare: Declare) -> None:
    home = Constant.__module__
    declare("sampler", Component(name="nothing", target=f"{home}:nothing", summary="s"))
    declare(
        "pruner", Component(name="nothing", target=f"{home}:nothing", summary="s"), plugin="globex"
    )
    with pytest.raises(
        ConfigError, match=r"must be an optuna.samplers.BaseSampler; its target gives a int"
    ):
        make_sampler(Chosen("nothing"), seed=0, space=())
    with pytest.raises(
        ConfigError, match=r"must be an optuna.pruners.BasePruner; its target gives a int"
    ):
        make_pruner(Chosen("nothing"), max_resource=1)
