"""Samplers: what proposes the values of a study's trials. All are Optuna's, with checked options.

Options that Optuna deprecates are left out, but for ``sigma0`` of CMA-ES, which nothing replaces.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
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
from optuna.samplers.nsgaii import BaseCrossover, BaseMutation
from optuna.trial import FrozenTrial, TrialState

from dlframe.config.signature import load
from dlframe.config.validate import checked
from dlframe.errors import ConfigError, DlframeError
from dlframe.interfaces.options import Ge, Gt, NonNegativeInt, PositiveInt, Probability
from dlframe.plugin import BUILTIN, registry
from dlframe.sweep.definition import Chosen, Parameter
from dlframe.sweep.space import combinations, overrides_of
from dlframe.sweep.space import grid as all_values
from dlframe.sweep.space_trials import is_whole

__all__ = [
    "brute_force",
    "built",
    "cmaes",
    "gp",
    "grid",
    "has_tried_all",
    "is_exhausted",
    "make_sampler",
    "nsga2",
    "nsga3",
    "qmc",
    "quietly",
    "random",
    "tpe",
]

Space = Sequence[Parameter]


def make_sampler(chosen: Chosen, *, seed: int | None, space: Space) -> BaseSampler:
    """Build a sampler.

    Args:
        chosen: which one, with options.
        seed: of its draws; None draws one.
        space: what it is to search.

    Raises:
        ConfigError: an option does not fit, or the sampler cannot search the space.
    """
    made = built("sampler", chosen, seed=seed, space=space)
    if not isinstance(made, BaseSampler):
        raise ConfigError(
            f"sampler {chosen.component!r} must be an optuna.samplers.BaseSampler; its target gives a "
            f"{type(made).__name__}"
        )
    return made


def is_exhausted(study: Study) -> bool:
    """Whether the study's sampler has nothing left to try, as a grid has at its end."""
    ask = getattr(study.sampler, "is_exhausted", None)
    return bool(ask is not None and ask(study))


def has_tried_all(chosen: Chosen, space: Space, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a sampler that tries every combination once has nothing left to propose.

    Args:
        chosen: the sampler; others than ``grid`` and ``brute_force`` always have.
        space: what is searched.
        trials: those that count, running ones included.
    """
    if registry().find("sampler", chosen.component).id not in _EXHAUSTIVE:
        return False
    return _covers(trials, space)


_EXHAUSTIVE = (f"{BUILTIN}/grid", f"{BUILTIN}/brute_force")


def built(kind: str, chosen: Chosen, **runtime: Any) -> Any:
    """Build a sampler or pruner from its options and those of the runtime arguments that it names.

    Raises:
        ConfigError: an option does not fit.
    """
    entry = registry().find(kind, chosen.component)
    signature = load(entry)
    options = checked(f"hydra.sweeper.{kind}", chosen.options, signature.options, entry.id)
    accepts = signature.accepts
    passed = {name: v for name, v in runtime.items() if accepts is None or name in accepts}
    try:
        return entry.component.load()(**passed, **options)
    except DlframeError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{kind} {entry.id!r} refuses its options: {error}") from error


@contextmanager
def quietly(*categories: type[Warning]) -> Iterator[None]:
    """Build something of Optuna's without its remark that it is experimental, or going to be removed.

    Args:
        categories: of the remarks; experimental ones, if none is given.
    """
    with warnings.catch_warnings():
        for category in categories or (ExperimentalWarning,):
            warnings.filterwarnings("ignore", category=category, module=r"(optuna|dlframe)\.")
        yield


# --- the samplers ---------------------------------------------------------------------------------


def random(*, seed: int | None) -> RandomSampler:
    """Random search: each value is drawn by itself, whatever came out before.

    Any number of trials; they may all run at once.

    Reference:
        Bergstra and Bengio 2012, JMLR 13, https://jmlr.org/papers/v13/bergstra12a.html.
    """
    return RandomSampler(seed=seed)


def tpe(
    *,
    seed: int | None,
    n_startup_trials: NonNegativeInt = 10,
    n_ei_candidates: PositiveInt = 24,
    multivariate: bool | None = None,
    group: bool = False,
    constant_liar: bool = True,
) -> TPESampler:
    """Tree-structured Parzen estimator: draws where good trials are dense and bad ones are not.

    For spaces of any kind, conditional ones included, one objective or several, and 100 to 1000 trials.

    Args:
        seed: of its draws.
        n_startup_trials: trials that are drawn at random first.
        n_ei_candidates: draws of which the most promising is tried.
        multivariate: look at all options together; null does so for a single objective.
        group: look together at those options that appear in the same trials (conditional spaces).
        constant_liar: keep away from what is being tried at the moment.

    Reference:
        Bergstra et al. 2011, https://papers.nips.cc/paper/4443; Watanabe 2023, arXiv:2304.11127;
        several objectives: Ozaki et al. 2022, doi:10.1613/jair.1.13188.
    """
    if group and multivariate is False:
        raise ConfigError(
            "hydra.sweeper.sampler.group looks at options together, which multivariate=false forbids; "
            "leave multivariate at null"
        )
    with quietly():
        return TPESampler(
            seed=seed,
            n_startup_trials=n_startup_trials,
            n_ei_candidates=n_ei_candidates,
            multivariate=multivariate,
            group=group,
            constant_liar=constant_liar,
        )


def gp(
    *,
    seed: int | None,
    n_startup_trials: PositiveInt = 10,
    deterministic_objective: bool = False,
) -> GPSampler:
    """Gaussian process with expected improvement: gets most out of few, costly trials.

    One objective or several, constraints included, and up to about 500 trials: proposing takes longer
    with each. Options that only some trials have are drawn at random.

    Args:
        seed: of its draws.
        n_startup_trials: trials that are drawn at random first.
        deterministic_objective: whether the same values always give the same result.

    Reference:
        Ament et al. 2023, arXiv:2310.20708; several objectives: Daulton et al. 2020, arXiv:2006.05078.
    """
    with quietly():
        return GPSampler(
            seed=seed,
            n_startup_trials=n_startup_trials,
            deterministic_objective=deterministic_objective,
            warn_independent_sampling=False,
        )


def cmaes(
    *,
    seed: int | None,
    n_startup_trials: PositiveInt = 1,
    sigma0: Annotated[float, Gt(0)] | None = None,
    popsize: Annotated[int, Ge(2)] | None = None,
    consider_pruned_trials: bool = False,
    use_separable_cma: bool = False,
    with_margin: bool = False,
    lr_adapt: bool = False,
) -> CmaEsSampler:
    """CMA-ES, an evolution strategy that adapts the shape of its search to the objective.

    For one objective over numbers, and 1000 to 10000 trials. Choices, and options that only some trials
    have, are drawn at random.

    Args:
        seed: of its draws.
        n_startup_trials: trials that are drawn at random first.
        sigma0: first standard deviation, in units of the space; null is a sixth of the smallest range.
        popsize: trials in a generation; null depends on the number of options.
        consider_pruned_trials: learn from trials that were ended early, too (good with hyperband).
        use_separable_cma: adapt each option by itself, which is faster where they do not interact.
        with_margin: keep integers and steps from settling on one value too early.
        lr_adapt: adapt its own learning rate, for objectives with much noise or many optima.

    Reference:
        Hansen 2016, arXiv:1604.00772; margin: Hamano et al. 2022, doi:10.1145/3512290.3528827; learning
        rate: Nomura et al. 2023, doi:10.1145/3583131.3590358.
    """
    if use_separable_cma + with_margin + lr_adapt > 1:
        raise ConfigError(
            "use_separable_cma, with_margin and lr_adapt of hydra.sweeper.sampler exclude each other; "
            "set one of them"
        )
    with quietly(ExperimentalWarning, FutureWarning):  # the latter for sigma0
        return CmaEsSampler(
            seed=seed,
            n_startup_trials=n_startup_trials,
            sigma0=sigma0,
            popsize=popsize,
            consider_pruned_trials=consider_pruned_trials,
            use_separable_cma=use_separable_cma,
            with_margin=with_margin,
            lr_adapt=lr_adapt,
            warn_independent_sampling=False,
        )


def nsga2(
    *,
    seed: int | None,
    population_size: Annotated[int, Ge(2)] = 50,
    crossover: Literal["uniform", "blxalpha", "sbx", "spx", "undx", "vsbx"] = "uniform",
    crossover_prob: Probability = 0.9,
    swapping_prob: Probability = 0.5,
    mutation: Literal["resample", "polynomial"] = "resample",
    mutation_prob: Probability | None = None,
) -> NSGAIISampler:
    """NSGA-II, a genetic algorithm for two or three objectives.

    For spaces of any kind, and 100 to 10000 trials. Options that only some trials have are drawn at
    random.

    Args:
        seed: of its draws.
        population_size: trials in a generation.
        crossover: how the numbers of two parents are mixed; choices are always swapped.
        crossover_prob: how often parents are mixed at all.
        swapping_prob: how often each value is swapped where they are.
        mutation: how a value changes: drawn anew, or moved by a polynomial distribution.
        mutation_prob: how often a value changes; null is once per trial on average.

    Reference:
        Deb et al. 2002, doi:10.1109/4235.996017.
    """
    with quietly():
        return NSGAIISampler(
            seed=seed,
            population_size=population_size,
            crossover=_crossover(crossover, swapping_prob, population_size),
            crossover_prob=crossover_prob,
            swapping_prob=swapping_prob,
            mutation=_mutation(mutation),
            mutation_prob=mutation_prob,
        )


def nsga3(
    *,
    seed: int | None,
    population_size: Annotated[int, Ge(2)] = 50,
    crossover: Literal["uniform", "blxalpha", "sbx", "spx", "undx", "vsbx"] = "uniform",
    crossover_prob: Probability = 0.9,
    swapping_prob: Probability = 0.5,
    mutation: Literal["resample", "polynomial"] = "resample",
    mutation_prob: Probability | None = None,
    dividing_parameter: PositiveInt = 3,
) -> NSGAIIISampler:
    """NSGA-III, a genetic algorithm for four objectives and more.

    For spaces of any kind, and 100 to 10000 trials. Options that only some trials have are drawn at
    random.

    Args:
        seed: of its draws.
        population_size: trials in a generation.
        crossover: how the numbers of two parents are mixed; choices are always swapped.
        crossover_prob: how often parents are mixed at all.
        swapping_prob: how often each value is swapped where they are.
        mutation: how a value changes: drawn anew, or moved by a polynomial distribution.
        mutation_prob: how often a value changes; null is once per trial on average.
        dividing_parameter: how densely the reference points lie that keep the front spread out.

    Reference:
        Deb and Jain 2014, doi:10.1109/TEVC.2013.2281535.
    """
    with quietly():
        return NSGAIIISampler(
            seed=seed,
            population_size=population_size,
            crossover=_crossover(crossover, swapping_prob, population_size),
            crossover_prob=crossover_prob,
            swapping_prob=swapping_prob,
            mutation=_mutation(mutation),
            mutation_prob=mutation_prob,
            dividing_parameter=dividing_parameter,
        )


def qmc(
    *, seed: int | None, qmc_type: Literal["sobol", "halton"] = "sobol", scramble: bool = False
) -> QMCSampler:
    """Quasi-Monte Carlo: a sequence that fills the space more evenly than random draws.

    Any number of trials, best a power of two; choices, and options that only some trials have, are
    drawn at random.

    Args:
        seed: of what is drawn at random, and of scrambling.
        qmc_type: the sequence.
        scramble: shift the sequence at random, so that other seeds give other values.

    Reference:
        Bergstra and Bengio 2012, JMLR 13, https://jmlr.org/papers/v13/bergstra12a.html.
    """
    with quietly():
        return QMCSampler(
            seed=seed,
            qmc_type=qmc_type,
            scramble=scramble,
            warn_independent_sampling=False,
            warn_asynchronous_seeding=False,
        )


def grid(*, space: Space) -> BaseSampler:
    """Every combination once, in mixed order; the study ends when all are tried.

    For choices and ranges with a step, and as many trials as there are combinations. The order is the
    same whatever the seed, so that several workers, and a command that goes on, share it. Where options
    depend on choices, what a choice rules out is not combined with it.
    """
    values = all_values(space)
    if any(key in {p.key for p in space} for p in space for key, _ in p.when):
        return brute_force(seed=0, space=space)
    return _Grid(space, values)


def brute_force(
    *, seed: int | None, space: Space, avoid_premature_stop: bool = False
) -> BruteForceSampler:
    """Every combination once, drawn from those that are left; the study ends when all are tried.

    For choices and ranges with a step, and as many trials as there are combinations. Where options
    depend on choices, what a choice rules out is not combined with it.

    Args:
        seed: of its draws.
        space: what is searched.
        avoid_premature_stop: try again what may have been missed, even if that tries some twice.
    """
    all_values(space)
    with quietly():
        return _BruteForce(space, seed, avoid_premature_stop)


class _Grid(GridSampler):
    def __init__(self, space: Space, values: dict[str, list[Any]]) -> None:
        super().__init__(values, seed=0)
        self._space = tuple(space)

    def is_exhausted(self, study: Study) -> bool:
        """Whether all points are tried, those that a user gave included."""
        return _covers(study.get_trials(deepcopy=False), self._space)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the loop at the end of the grid, if there is a loop."""
        if "grid_id" in trial.system_attrs:  # a given point has none, which Optuna does not expect
            with _without_a_loop():
                super().after_trial(study, trial, state, values)


class _BruteForce(BruteForceSampler):
    def __init__(self, space: Space, seed: int | None, avoid_premature_stop: bool) -> None:
        super().__init__(seed=seed, avoid_premature_stop=avoid_premature_stop)
        self._space = tuple(space)

    def is_exhausted(self, study: Study) -> bool:
        """Whether all points are tried."""
        return _covers(study.get_trials(deepcopy=False), self._space)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the loop when all is tried, if there is a loop."""
        with _without_a_loop():
            super().after_trial(study, trial, state, values)


@contextmanager
def _without_a_loop() -> Iterator[None]:
    """Let ``Study.stop`` be called where nothing is to be stopped: trials are asked for one by one."""
    try:
        yield
    except RuntimeError as error:
        if "Study.stop" not in str(error):
            raise


def _covers(trials: Sequence[FrozenTrial], space: Space) -> bool:
    """Whether so many different points have all their values as there are in the space."""
    points = combinations(space)
    if points is None or len(trials) < points:
        return False
    found = {tuple(overrides_of(t.params, space)) for t in trials if is_whole(t.params, space)}
    return len(found) >= points


_CROSSOVERS: dict[str, type[BaseCrossover]] = {
    "blxalpha": optuna.samplers.nsgaii.BLXAlphaCrossover,
    "sbx": optuna.samplers.nsgaii.SBXCrossover,
    "spx": optuna.samplers.nsgaii.SPXCrossover,
    "undx": optuna.samplers.nsgaii.UNDXCrossover,
    "vsbx": optuna.samplers.nsgaii.VSBXCrossover,
}


def _crossover(name: str, swapping_prob: float, population_size: int) -> BaseCrossover:
    if name == "uniform":
        return optuna.samplers.nsgaii.UniformCrossover(swapping_prob)
    made = _CROSSOVERS[name]()
    if population_size < made.n_parents:
        raise ConfigError(
            f"hydra.sweeper.sampler.population_size must be {made.n_parents} or more, since crossover="
            f"{name} mixes so many parents; got {population_size}"
        )
    return made


def _mutation(name: str) -> BaseMutation | None:
    return None if name == "resample" else optuna.samplers.nsgaii.PolynomialMutation()
