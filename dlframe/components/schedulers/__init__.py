"""Built-in learning-rate schedules, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.schedulers"
_PER_STEP = frozenset({"per_step"})

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="constant",
        target=f"{_HOME}.per_epoch:constant",
        summary="the optimizer's learning rate throughout",
    ),
    Component(
        name="step",
        target=f"{_HOME}.per_epoch:step",
        summary="multiply by gamma every so many epochs",
    ),
    Component(
        name="multi_step",
        target=f"{_HOME}.per_epoch:multi_step",
        summary="multiply by gamma after chosen epochs",
    ),
    Component(
        name="exponential",
        target=f"{_HOME}.per_epoch:exponential",
        summary="multiply by gamma after every epoch",
    ),
    Component(
        name="plateau",
        target=f"{_HOME}.per_epoch:plateau",
        summary="multiply by a factor where the monitored value stops to improve",
    ),
    Component(
        name="cosine",
        target=f"{_HOME}.per_step:cosine",
        summary="half a cosine from the full rate down",
        tags=_PER_STEP,
        reference="arXiv:1608.03983",
    ),
    Component(
        name="warmup_cosine",
        target=f"{_HOME}.per_step:warmup_cosine",
        summary="linear warm-up, then half a cosine down",
        tags=_PER_STEP,
        reference="arXiv:1608.03983",
    ),
    Component(
        name="linear",
        target=f"{_HOME}.per_step:linear",
        summary="linear warm-up, then a straight line down",
        tags=_PER_STEP,
        reference="arXiv:1810.04805",
    ),
    Component(
        name="polynomial",
        target=f"{_HOME}.per_step:polynomial",
        summary="a power of the remaining share of the training",
        tags=_PER_STEP,
        reference="arXiv:1606.00915",
    ),
    Component(
        name="one_cycle",
        target=f"{_HOME}.per_step:one_cycle",
        summary="cosine rise to the full rate, then a cosine fall to almost nothing",
        tags=_PER_STEP,
        reference="arXiv:1708.07120",
    ),
)
