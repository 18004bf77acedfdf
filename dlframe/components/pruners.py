"""Built-in pruners: Optuna's, declared without importing it."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.sweep.pruners"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="none",
        target=f"{_HOME}:none",
        summary="ends no trial early",
    ),
    Component(
        name="power_law",
        target=f"{_HOME}:power_law",
        summary="ends a trial that at its present pace will not reach the best value",
    ),
    Component(
        name="median",
        target=f"{_HOME}:median",
        summary="ends a trial that is worse than half of the earlier ones were at that epoch",
        reference="doi:10.1145/3097983.3098043",
    ),
    Component(
        name="percentile",
        target=f"{_HOME}:percentile",
        summary="ends a trial that is not among the best share at that epoch",
        reference="doi:10.1145/3097983.3098043",
    ),
    Component(
        name="asha",
        target=f"{_HOME}:asha",
        summary="asynchronous successive halving: at each rung the best share goes on",
        reference="arXiv:1810.05934",
    ),
    Component(
        name="hyperband",
        target=f"{_HOME}:hyperband",
        summary="successive halving with several first rungs at once, for curves that cross",
        reference="arXiv:1603.06560",
    ),
    Component(
        name="threshold",
        target=f"{_HOME}:threshold",
        summary="ends a trial whose value leaves given bounds or is NaN",
    ),
    Component(
        name="patient",
        target=f"{_HOME}:patient",
        summary="lets another pruner end a trial only when it has not improved for some epochs",
    ),
    Component(
        name="wilcoxon",
        target=f"{_HOME}:wilcoxon",
        summary="ends a trial that is surely worse than the best one, epoch by epoch",
        reference="doi:10.2307/3001968",
    ),
)
