"""Built-in optimizers, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.optimizers"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="sgd",
        target=f"{_HOME}.descent:sgd",
        summary="gradient descent, with momentum or Nesterov momentum on request",
        reference="doi:10.1214/aoms/1177729586",
    ),
    Component(
        name="rprop",
        target=f"{_HOME}.descent:rprop",
        summary="resilient backpropagation: steps from the signs of full-batch gradients",
        reference="doi:10.1109/ICNN.1993.298623",
    ),
    Component(
        name="adam",
        target=f"{_HOME}.adam:adam",
        summary="steps scaled by running moments of the gradient",
        reference="arXiv:1412.6980",
    ),
    Component(
        name="adamw",
        target=f"{_HOME}.adam:adamw",
        summary="Adam with weight decay apart from the gradient",
        reference="arXiv:1711.05101",
    ),
    Component(
        name="nadam",
        target=f"{_HOME}.adam:nadam",
        summary="Adam with Nesterov momentum",
        reference="https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
    ),
    Component(
        name="radam",
        target=f"{_HOME}.adam:radam",
        summary="Adam with a rectified variance, which needs no warm-up",
        reference="arXiv:1908.03265",
    ),
    Component(
        name="adamax",
        target=f"{_HOME}.adam:adamax",
        summary="Adam with the infinity norm in place of the second moment",
        reference="arXiv:1412.6980",
    ),
    Component(
        name="adagrad",
        target=f"{_HOME}.adaptive:adagrad",
        summary="steps that shrink with the sum of past squared gradients",
        reference="https://jmlr.org/papers/v12/duchi11a.html",
    ),
    Component(
        name="adadelta",
        target=f"{_HOME}.adaptive:adadelta",
        summary="steps from running means of squared gradients and squared steps",
        reference="arXiv:1212.5701",
    ),
    Component(
        name="rmsprop",
        target=f"{_HOME}.adaptive:rmsprop",
        summary="gradients divided by their running root mean square",
        reference="arXiv:1308.0850",
    ),
    Component(
        name="adafactor",
        target=f"{_HOME}.adaptive:adafactor",
        summary="second moments kept as row and column means, in little memory",
        reference="arXiv:1804.04235",
    ),
    Component(
        name="muon",
        target=f"{_HOME}.muon:Muon",
        summary="orthogonalized momentum for hidden weights, AdamW for all else",
        reference="arXiv:2502.16982",
    ),
    Component(
        name="lbfgs",
        target=f"{_HOME}.lbfgs:lbfgs",
        summary="limited-memory quasi-Newton method for full batches",
        reference="doi:10.1007/BF01589116",
    ),
)
