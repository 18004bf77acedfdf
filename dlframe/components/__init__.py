"""The built-in components, declared here and imported when they are first used.

One folder per kind; its ``__init__`` holds the descriptors and imports no torch. The built-ins take the
same road as any plugin's components.
"""

from collections.abc import Iterable

from dlframe.components import (
    activations,
    architectures,
    data,
    initializers,
    losses,
    optimizers,
    pruners,
    regularizers,
    samplers,
    schedulers,
    tasks,
)
from dlframe.plugin.component import Component
from dlframe.plugin.hookspecs import hookimpl

__all__: list[str] = []


@hookimpl
def dlframe_architectures() -> Iterable[Component]:
    """Yield the built-in networks."""
    return architectures.COMPONENTS


@hookimpl
def dlframe_activations() -> Iterable[Component]:
    """Yield the built-in activations."""
    return activations.COMPONENTS


@hookimpl
def dlframe_losses() -> Iterable[Component]:
    """Yield the built-in losses."""
    return losses.COMPONENTS


@hookimpl
def dlframe_optimizers() -> Iterable[Component]:
    """Yield the built-in optimizers."""
    return optimizers.COMPONENTS


@hookimpl
def dlframe_regularizers() -> Iterable[Component]:
    """Yield the built-in regularizers."""
    return regularizers.COMPONENTS


@hookimpl
def dlframe_schedulers() -> Iterable[Component]:
    """Yield the built-in learning-rate schedules."""
    return schedulers.COMPONENTS


@hookimpl
def dlframe_initializers() -> Iterable[Component]:
    """Yield the built-in initializers."""
    return initializers.COMPONENTS


@hookimpl
def dlframe_data() -> Iterable[Component]:
    """Yield the built-in data sets and readers."""
    return data.COMPONENTS


@hookimpl
def dlframe_tasks() -> Iterable[Component]:
    """Yield the built-in tasks."""
    return tasks.COMPONENTS


@hookimpl
def dlframe_sinks() -> Iterable[Component]:
    """Yield the built-in places that runs are delivered to."""
    yield Component(
        name="mlflow",
        target="dlframe.tracking.mlflow_sink:MlflowSink",
        summary="an MLflow store or server: tracking.uri",
    )
    yield Component(
        name="tensorboard",
        target="dlframe.tracking.tensorboard_sink:TensorboardSink",
        summary="TensorBoard's event files in the run's folder",
    )
    yield Component(
        name="alert",
        target="dlframe.tracking.alert:AlertSink",
        summary="a command or a webhook told of what happens: tracking.alert_command",
    )


@hookimpl
def dlframe_samplers() -> Iterable[Component]:
    """Yield the built-in samplers, Optuna's."""
    return samplers.COMPONENTS


@hookimpl
def dlframe_pruners() -> Iterable[Component]:
    """Yield the built-in pruners, Optuna's."""
    return pruners.COMPONENTS
