"""Samplers and pruners by name: Optuna's own, with checked options, and those of plugins."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from optuna.study import Study
from search_support import EPOCHS, course, ends, optunas

from dlframe.config.compose import prepare
from dlframe.config.signature import imported, parsed
from dlframe.config.source import ComponentSource
from dlframe.errors import ConfigError, DlframeError
from dlframe.plugin import Component, registry
from dlframe.sweep.definition import Chosen, Parameter
from dlframe.sweep.pruners import make_pruner
from dlframe.sweep.samplers import make_sampler

pytest_plugins = ["search_fixtures", "sweep_fixtures"]
Declare = Callable[..., None]


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
