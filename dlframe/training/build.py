"""From a validated config to objects: each component built from its options and runtime arguments."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dlframe.config.signature import construct, load
from dlframe.errors import ConfigError
from dlframe.interfaces import Data, DataOptions, Initializer, Loss, Regularizer, Spec, Task
from dlframe.interfaces.options import COMMON_OPTIONS
from dlframe.plugin import KINDS, registry

__all__ = [
    "build",
    "build_data",
    "build_loss",
    "build_network",
    "build_regularizers",
    "build_task",
    "initialize",
    "needs_closure",
]

Config = dict[str, Any]


def build(kind: str, node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build one component.

    Args:
        kind: its kind.
        node: ``component`` and the options, validated.
        runtime: what dlframe passes in; those that the target's signature names are passed.

    Raises:
        ConfigError: the component refuses its options.
    """
    entry = registry().find(kind, node["component"])
    accepts = load(entry).accepts
    assert runtime.keys() <= set(KINDS[kind].runtime)
    common = {f.name for f in fields(COMMON_OPTIONS[kind])} if kind in COMMON_OPTIONS else set()
    options = {
        name: value
        for name, value in node.items()
        if name != "component" and not (name in common and name not in (accepts or ()))
    }
    return construct(entry, options, runtime)


def build_data(config: Config) -> tuple[Data, DataOptions]:
    """Build the data component and the options common to all data."""
    names = {f.name for f in fields(DataOptions)}
    options = DataOptions(**{k: v for k, v in config["data"].items() if k in names})
    return build("data", config["data"]), options


def build_loss(config: Config, spec: Spec) -> Loss:
    """Build the loss; a plain module or function is given the interface's defaults."""
    made = build("loss", config["loss"], spec=spec)
    return made if isinstance(made, Loss) else _PlainLoss(made)


class _PlainLoss(Loss):
    """A loss that a plugin wrote without the base class."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Call the plugin's function."""
        return self.function(outputs, targets)


def build_task(config: Config, spec: Spec) -> Task:
    """Build the task around its loss."""
    task = build("task", config["task"], spec=spec, loss=build_loss(config, spec))
    assert isinstance(task, Task)
    return task


def build_regularizers(config: Config) -> list[Regularizer]:
    """Build the regularizers in the order they are listed; ``trainer.gradient_clip`` is one too."""
    made: list[Regularizer] = [
        build("regularizer", node) for node in config["regularizer"].values()
    ]
    if config["trainer"]["gradient_clip"] is not None:
        from dlframe.components.regularizers.gradient_clipping import GradientClipping

        made.append(GradientClipping(max_norm=config["trainer"]["gradient_clip"]))
    return made


def build_network(
    config: Config, spec: Spec, task: Task, regularizers: list[Regularizer]
) -> nn.Module:
    """Build, initialize and regularize the network.

    Raises:
        ConfigError: the architecture does not fit the spec, or is not of the task's type.
    """
    network = build(
        "architecture",
        config["architecture"],
        spec=replace(spec, output_size=task.output_size()),
        activation=lambda: build("activation", config["activation"]),
    )
    if not isinstance(network, task.needs):
        raise ConfigError(
            f"task={spec.task} needs an architecture of type {task.needs.__name__}; "
            f"{config['architecture']['component']!r} is not one; `dlframe ls architecture` shows "
            "the tasks of each"
        )
    initialize(network, build("initializer", config["initializer"]))
    for regularizer in regularizers:
        network = regularizer.on_model(network, spec)
    return network


_WEIGHTED = (nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.Embedding)


def initialize(network: nn.Module, initializer: Initializer) -> None:
    """Fill the network's weights in place; biases become zero."""
    if getattr(initializer, "keeps_defaults", False):
        return
    with torch.no_grad():
        for module in network.modules():
            if not isinstance(module, _WEIGHTED):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 2:
                    initializer(parameter)
                elif "bias" in name:
                    parameter.zero_()


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``step`` requires a closure, as L-BFGS's does."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
