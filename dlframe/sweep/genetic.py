"""Genetic algorithms, for several objectives. All are Optuna's, with options that are checked."""

from typing import Annotated, Literal

from optuna.samplers import NSGAIIISampler, NSGAIISampler
from optuna.samplers.nsgaii import (
    BaseCrossover,
    BaseMutation,
    BLXAlphaCrossover,
    PolynomialMutation,
    SBXCrossover,
    SPXCrossover,
    UNDXCrossover,
    UniformCrossover,
    VSBXCrossover,
)

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, PositiveInt, Probability
from dlframe.sweep.chosen import quietly

__all__ = ["nsga2", "nsga3"]


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


_CROSSOVERS: dict[str, type[BaseCrossover]] = {
    "blxalpha": BLXAlphaCrossover,
    "sbx": SBXCrossover,
    "spx": SPXCrossover,
    "undx": UNDXCrossover,
    "vsbx": VSBXCrossover,
}


def _crossover(name: str, swapping_prob: float, population_size: int) -> BaseCrossover:
    if name == "uniform":
        return UniformCrossover(swapping_prob)
    made = _CROSSOVERS[name]()
    if population_size < made.n_parents:
        raise ConfigError(
            f"hydra.sweeper.sampler.population_size must be {made.n_parents} or more, since crossover="
            f"{name} mixes so many parents; got {population_size}"
        )
    return made


def _mutation(name: str) -> BaseMutation | None:
    return None if name == "resample" else PolynomialMutation()
