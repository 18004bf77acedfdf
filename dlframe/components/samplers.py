"""Built-in samplers: Optuna's, declared without importing it."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.sweep"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="random",
        target=f"{_HOME}.samplers:random",
        summary="independent draws: a baseline, and good where many options matter little",
        reference="https://jmlr.org/papers/v13/bergstra12a.html",
    ),
    Component(
        name="tpe",
        target=f"{_HOME}.samplers:tpe",
        summary="densities of good and bad values: the default, for any space and 100 to 1000 trials",
        reference="arXiv:2304.11127",
    ),
    Component(
        name="gp",
        target=f"{_HOME}.samplers:gp",
        summary="a Gaussian process: most from few trials, up to about 500",
        reference="arXiv:2310.20708",
    ),
    Component(
        name="cmaes",
        target=f"{_HOME}.samplers:cmaes",
        summary="an evolution strategy over numbers: 1000 to 10000 trials",
        reference="arXiv:1604.00772",
    ),
    Component(
        name="nsga2",
        target=f"{_HOME}.genetic:nsga2",
        summary="a genetic algorithm for two or three objectives: 100 to 10000 trials",
        reference="doi:10.1109/4235.996017",
    ),
    Component(
        name="nsga3",
        target=f"{_HOME}.genetic:nsga3",
        summary="a genetic algorithm for four objectives and more: 100 to 10000 trials",
        reference="doi:10.1109/TEVC.2013.2281535",
    ),
    Component(
        name="qmc",
        target=f"{_HOME}.samplers:qmc",
        summary="a sequence that fills the space evenly: best with 2, 4, 8, 16, ... trials",
        reference="https://jmlr.org/papers/v13/bergstra12a.html",
    ),
    Component(
        name="grid",
        target=f"{_HOME}.exhaustive:grid",
        summary="every combination once, in mixed order",
    ),
    Component(
        name="brute_force",
        target=f"{_HOME}.exhaustive:brute_force",
        summary="every combination once, drawn at random from those that are left",
    ),
)
