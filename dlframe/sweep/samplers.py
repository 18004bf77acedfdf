"""Samplers: what proposes the values of a study's trials. All are Optuna's, with checked options.

Options that Optuna deprecates are left out, but for ``sigma0`` of CMA-ES, which nothing replaces.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Gt, NonNegativeInt, PositiveInt
from dlframe.sweep.chosen import built, quietly
from dlframe.sweep.definition import Chosen, Parameter

__all__ = ["cmaes", "gp", "make_sampler", "qmc", "random", "tpe"]


def make_sampler(chosen: Chosen, *, seed: int | None, space: Sequence[Parameter]) -> BaseSampler:
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
