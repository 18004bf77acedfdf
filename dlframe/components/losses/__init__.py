"""Built-in losses, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HERE = "dlframe.components.losses"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="cross_entropy",
        target=f"{_HERE}.cross_entropy:CrossEntropy",
        summary="negative log-likelihood of classes under the softmax",
        tasks=("classification", "language_modelling"),
        reference="arXiv:1512.00567",
    ),
    Component(
        name="kl",
        target=f"{_HERE}.cross_entropy:KLDivergence",
        summary="Kullback-Leibler divergence between target distribution and softmax",
        tasks=("classification",),
        reference="doi:10.1214/aoms/1177729694",
    ),
    Component(
        name="binary_cross_entropy",
        target=f"{_HERE}.binary_cross_entropy:BinaryCrossEntropy",
        summary="negative log-likelihood of labels under the sigmoid",
        tasks=("classification", "multilabel", "reconstruction", "generation"),
        reference="doi:10.1111/j.2517-6161.1958.tb00292.x",
    ),
    Component(
        name="focal",
        target=f"{_HERE}.focal:Focal",
        summary="cross entropy that fades where the prediction is right already",
        tasks=("classification", "multilabel"),
        reference="arXiv:1708.02002",
    ),
    Component(
        name="hinge",
        target=f"{_HERE}.hinge:Hinge",
        summary="how far scores stay below a margin of 1, as in support vector machines",
        tasks=("classification", "multilabel", "generation"),
        reference="doi:10.1007/BF00994018",
    ),
    Component(
        name="wasserstein",
        target=f"{_HERE}.wasserstein:Wasserstein",
        summary="how much higher a critic rates samples than the data",
        tasks=("generation",),
        reference="arXiv:1701.07875",
    ),
    Component(
        name="mse",
        target=f"{_HERE}.regression:MeanSquaredError",
        summary="mean squared error",
        tasks=("regression", "reconstruction", "generation"),
    ),
    Component(
        name="mae",
        target=f"{_HERE}.regression:MeanAbsoluteError",
        summary="mean absolute error",
        tasks=("regression", "reconstruction"),
    ),
    Component(
        name="huber",
        target=f"{_HERE}.regression:Huber",
        summary="squared for small errors, absolute for large ones",
        tasks=("regression", "reconstruction"),
        reference="doi:10.1214/aoms/1177703732",
    ),
    Component(
        name="log_cosh",
        target=f"{_HERE}.regression:LogCosh",
        summary="smooth passage from squared to absolute error",
        tasks=("regression", "reconstruction"),
        reference="arXiv:2208.04564",
    ),
    Component(
        name="quantile",
        target=f"{_HERE}.quantile:Quantile",
        summary="pinball loss: several quantiles of each target",
        tasks=("regression",),
        reference="doi:10.2307/1913643",
    ),
    Component(
        name="poisson_nll",
        target=f"{_HERE}.poisson:PoissonNLL",
        summary="negative log-likelihood of counts under Poisson rates",
        tasks=("regression",),
        reference="doi:10.2307/2344614",
    ),
)
