"""Built-in activations, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HERE = "dlframe.components.activations"
_AXISWISE = frozenset({"axiswise"})

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="identity",
        target=f"{_HERE}.squashing:Identity",
        summary="x: no non-linearity",
    ),
    Component(
        name="sigmoid",
        target=f"{_HERE}.squashing:Sigmoid",
        summary="1 / (1 + exp(-x)): between 0 and 1",
        reference="doi:10.1038/323533a0",
    ),
    Component(
        name="logsigmoid",
        target=f"{_HERE}.squashing:LogSigmoid",
        summary="log(sigmoid(x)): at most 0",
    ),
    Component(
        name="hardsigmoid",
        target=f"{_HERE}.squashing:Hardsigmoid",
        summary="relu6(x + 3) / 6: the sigmoid in three straight pieces",
        reference="arXiv:1905.02244",
    ),
    Component(
        name="tanh",
        target=f"{_HERE}.squashing:Tanh",
        summary="hyperbolic tangent: between -1 and 1",
        reference="doi:10.1007/978-3-642-35289-8_3",
    ),
    Component(
        name="hardtanh",
        target=f"{_HERE}.squashing:Hardtanh",
        summary="x, cut off at -1 and 1",
        reference="arXiv:1103.0398",
    ),
    Component(
        name="softsign",
        target=f"{_HERE}.squashing:Softsign",
        summary="x / (1 + |x|): between -1 and 1, slow to saturate",
    ),
    Component(
        name="relu",
        target=f"{_HERE}.rectifiers:ReLU",
        summary="max(0, x): rectified linear unit",
        reference="doi:10.1109/TSSC.1969.300225",
    ),
    Component(
        name="relu6",
        target=f"{_HERE}.rectifiers:ReLU6",
        summary="min(max(0, x), 6): rectifier cut off at six",
        reference="arXiv:1801.04381",
    ),
    Component(
        name="leaky_relu",
        target=f"{_HERE}.rectifiers:LeakyReLU",
        summary="rectifier with a small slope below zero",
        reference="arXiv:1505.00853",
    ),
    Component(
        name="prelu",
        target=f"{_HERE}.rectifiers:PReLU",
        summary="rectifier whose slope below zero is learned",
        reference="arXiv:1502.01852",
    ),
    Component(
        name="rrelu",
        target=f"{_HERE}.rectifiers:RReLU",
        summary="rectifier whose slope below zero is random in training",
        reference="arXiv:1505.00853",
    ),
    Component(
        name="elu",
        target=f"{_HERE}.rectifiers:ELU",
        summary="exponential linear unit: saturates smoothly below zero",
        reference="arXiv:1511.07289",
    ),
    Component(
        name="selu",
        target=f"{_HERE}.rectifiers:SELU",
        summary="scaled exponential linear unit: self-normalizing with initializer=lecun",
        reference="arXiv:1706.02515",
    ),
    Component(
        name="celu",
        target=f"{_HERE}.rectifiers:CELU",
        summary="exponential linear unit with a continuous slope for every alpha",
        reference="arXiv:1704.07483",
    ),
    Component(
        name="gelu",
        target=f"{_HERE}.smooth:GELU",
        summary="x * Phi(x): Gaussian error linear unit",
        reference="arXiv:1606.08415",
    ),
    Component(
        name="silu",
        target=f"{_HERE}.smooth:SiLU",
        summary="x * sigmoid(x), also called swish",
        reference="arXiv:1702.03118",
    ),
    Component(
        name="mish",
        target=f"{_HERE}.smooth:Mish",
        summary="x * tanh(softplus(x))",
        reference="arXiv:1908.08681",
    ),
    Component(
        name="softplus",
        target=f"{_HERE}.smooth:Softplus",
        summary="log(1 + exp(x)): smooth and positive rectifier",
    ),
    Component(
        name="hardswish",
        target=f"{_HERE}.smooth:Hardswish",
        summary="x * relu6(x + 3) / 6: silu without an exponential",
        reference="arXiv:1905.02244",
    ),
    Component(
        name="hardshrink",
        target=f"{_HERE}.shrinkage:Hardshrink",
        summary="zero for small values, x otherwise",
        reference="doi:10.1093/biomet/81.3.425",
    ),
    Component(
        name="softshrink",
        target=f"{_HERE}.shrinkage:Softshrink",
        summary="every value moved towards zero, small ones all the way",
        reference="doi:10.1109/18.382009",
    ),
    Component(
        name="tanhshrink",
        target=f"{_HERE}.shrinkage:Tanhshrink",
        summary="x - tanh(x)",
    ),
    Component(
        name="softmax",
        target=f"{_HERE}.axiswise:Softmax",
        summary="positive values that sum to 1 along an axis",
        tags=_AXISWISE,
        reference="doi:10.1007/978-3-642-76153-9_28",
    ),
    Component(
        name="log_softmax",
        target=f"{_HERE}.axiswise:LogSoftmax",
        summary="logarithm of the softmax along an axis",
        tags=_AXISWISE,
    ),
    Component(
        name="sin",
        target=f"{_HERE}.periodic:Sin",
        summary="sin(omega * x), for functions with fine detail",
        reference="arXiv:2006.09661",
    ),
)
