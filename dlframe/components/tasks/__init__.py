"""Built-in tasks, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.tasks"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="classification",
        target=f"{_HOME}.classification:Classification",
        summary="one class for each example, of two or more",
        defaults={"loss": "cross_entropy"},
    ),
    Component(
        name="multilabel",
        target=f"{_HOME}.multilabel:Multilabel",
        summary="several labels for each example, each present or absent",
        defaults={"loss": "binary_cross_entropy"},
    ),
    Component(
        name="regression",
        target=f"{_HOME}.regression:Regression",
        summary="one or more numbers for each example",
        defaults={"loss": "mse"},
    ),
    Component(
        name="forecasting",
        target=f"{_HOME}.forecasting:Forecasting",
        summary="the next steps of one or more series",
        tasks=("regression",),
        defaults={"loss": "mse"},
    ),
    Component(
        name="language_modelling",
        target=f"{_HOME}.language_modelling:LanguageModelling",
        summary="the next token of a text, and texts that go on",
        defaults={"loss": "cross_entropy"},
        tags=frozenset({"unsupervised"}),
        reference="doi:10.1162/153244303322533223",
    ),
    Component(
        name="reconstruction",
        target=f"{_HOME}.reconstruction:Reconstruction",
        summary="an autoencoder gives its input back",
        defaults={"loss": "mse"},
        tags=frozenset({"unsupervised"}),
    ),
    Component(
        name="generation",
        target=f"{_HOME}.generation:Generation",
        summary="a generator and a discriminator are trained against each other",
        defaults={"loss": "binary_cross_entropy"},
        tags=frozenset({"stochastic", "unsupervised"}),
        reference="arXiv:1406.2661",
    ),
)
