"""Built-in initializers, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HERE = "dlframe.components.initializers"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="default",
        target=f"{_HERE}.fixed:Default",
        summary="the layers' own initialization, untouched",
    ),
    Component(
        name="xavier",
        target=f"{_HERE}.scaled:Xavier",
        summary="variance 2 / (fan_in + fan_out), for tanh and sigmoid (Glorot)",
    ),
    Component(
        name="kaiming",
        target=f"{_HERE}.scaled:Kaiming",
        summary="variance 2 / fan, for rectifiers (He)",
        reference="arXiv:1502.01852",
    ),
    Component(
        name="lecun",
        target=f"{_HERE}.scaled:LeCun",
        summary="variance 1 / fan_in, for selu",
        reference="doi:10.1007/978-3-642-35289-8_3",
    ),
    Component(
        name="orthogonal",
        target=f"{_HERE}.scaled:Orthogonal",
        summary="random matrices with orthogonal rows or columns",
        reference="arXiv:1312.6120",
    ),
    Component(
        name="normal",
        target=f"{_HERE}.random:Normal",
        summary="independent normal weights",
        reference="arXiv:1511.06434",
    ),
    Component(
        name="truncated_normal",
        target=f"{_HERE}.random:TruncatedNormal",
        summary="independent normal weights without outliers",
        reference="arXiv:1810.04805",
    ),
    Component(
        name="uniform",
        target=f"{_HERE}.random:Uniform",
        summary="independent uniform weights",
    ),
    Component(
        name="sparse",
        target=f"{_HERE}.random:Sparse",
        summary="normal weights, a fraction of each column zero",
    ),
    Component(
        name="dirac",
        target=f"{_HERE}.fixed:Dirac",
        summary="identity matrices and kernels: layers pass their input on",
        reference="arXiv:1706.00388",
    ),
    Component(
        name="zeros",
        target=f"{_HERE}.fixed:Zeros",
        summary="all weights zero, to show why a start must not be symmetric",
    ),
    Component(
        name="constant",
        target=f"{_HERE}.fixed:Constant",
        summary="all weights the same number",
    ),
)
