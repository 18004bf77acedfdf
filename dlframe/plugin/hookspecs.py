"""The hooks a plugin may implement: one per kind, each yielding descriptors.

A hook runs whenever dlframe starts, so it must import nothing heavy: name targets as strings.
"""

from collections.abc import Iterable

import pluggy

from dlframe.plugin.component import Component

__all__ = ["PROJECT", "Specs", "hookimpl"]

PROJECT = "dlframe"
_hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Specs:
    """One method per kind; a plugin implements those it provides components for.

    Example:
        >>> @hookimpl
        ... def dlframe_activations():
        ...     yield Component(name="swish", target="acme.layers:Swish", summary="x * sigmoid(x)")
    """

    @_hookspec
    def dlframe_architectures(self) -> Iterable[Component]:
        """Yield networks: ``y[B, output_size] = model(x[B, *input_shape])``; see ``Architecture``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_activations(self) -> Iterable[Component]:
        """Yield activations: ``y = f(x)``, same shape and dtype; see ``Activation``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_losses(self) -> Iterable[Component]:
        """Yield losses: ``scalar = loss(outputs, targets)``; see ``Loss``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_optimizers(self) -> Iterable[Component]:
        """Yield optimizers: ``torch.optim.Optimizer`` from ``params``; see ``Optimizer``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_regularizers(self) -> Iterable[Component]:
        """Yield regularizers, which act on model, batch, loss or step; see ``Regularizer``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_schedulers(self) -> Iterable[Component]:
        """Yield learning-rate schedules: ``LRScheduler`` from ``optimizer``; see ``Scheduler``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_initializers(self) -> Iterable[Component]:
        """Yield initializers, which fill one weight tensor in place; see ``Initializer``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_data(self) -> Iterable[Component]:
        """Yield data sets and readers of the user's files; see ``Data``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_tasks(self) -> Iterable[Component]:
        """Yield tasks: what a step, a prediction and a metric are; see ``Task``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_sinks(self) -> Iterable[Component]:
        """Yield places that runs are delivered to, chosen with ``tracking.sinks``; see ``Sink``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_samplers(self) -> Iterable[Component]:
        """Yield what proposes a sweep's values: Optuna's ``BaseSampler`` from ``seed``, ``space``."""
        raise NotImplementedError

    @_hookspec
    def dlframe_pruners(self) -> Iterable[Component]:
        """Yield what ends a sweep's trials early: Optuna's ``BasePruner`` from ``max_resource``."""
        raise NotImplementedError
