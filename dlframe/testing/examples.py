"""Small specs, batches and networks that fit a component."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import nn

from dlframe.interfaces import Batch, InputKind, Spec, Task
from dlframe.plugin import BUILTIN, Entry, registry
from dlframe.testing.case import Case, CheckFailure, skip
from dlframe.training.build import build, build_task

__all__ = [
    "FORMS",
    "batch_for",
    "clone",
    "default_node",
    "form_of",
    "inputs_of",
    "make_network",
    "make_task",
    "spec_for",
    "task_for",
]

FORMS = (
    "classification",
    "multilabel",
    "regression",
    "reconstruction",
    "generation",
    "language_modelling",
)
"""Tasks whose targets the kit can make; any other task takes the form of its default loss."""

_SHAPES: dict[InputKind, tuple[int, ...]] = {
    "features": (6,),
    "image": (1, 8, 8),
    "sequence": (7, 3),
    "tokens": (7,),
}
_VOCABULARY = 11


def inputs_of(entry: Entry) -> Sequence[InputKind]:
    """Return the kinds of input that a component says it fits; all where it names none."""
    return [kind for kind in get_args(InputKind) if kind in entry.component.inputs] or list(
        get_args(InputKind)
    )


def form_of(task: str) -> str:
    """Return the form of a task's targets.

    A task of a plugin names a task with the same form in its descriptor (``tasks``), or takes the
    form of its default loss: ``{"loss": "mse"}`` means values.
    """
    entry = registry().find("task", task)
    component = entry.component
    if entry.plugin == BUILTIN and component.name in FORMS:
        return component.name
    named = list(component.tasks)
    if "loss" in component.defaults:
        named += registry().find("loss", component.defaults["loss"]).component.tasks
    for name in named:
        if name in FORMS:
            return name
    if "unsupervised" in component.tags:
        return "reconstruction"
    return skip(f"no examples can be made for the task {task!r}: name a known one in its `tasks`")


def task_for(entry: Entry) -> str:
    """Return the first task that a component says it fits."""
    return entry.component.tasks[0] if entry.component.tasks else "classification"


def spec_for(task: str, input: InputKind | None = None, *, classes: int = 3) -> Spec:
    """Return the spec of a small data set.

    Args:
        task: short name or id of the task.
        input: kind of input; None takes tokens for language models, features for others.
        classes: how many classes, for classification.
    """
    form, name = form_of(task), registry().find("task", task).component.name
    if input is None:
        input = "tokens" if form == "language_modelling" else "features"
    shape = _SHAPES[input]
    names = tuple(f"c{i}" for i in range(4 if form == "multilabel" else classes))
    labelled = form in ("classification", "multilabel")
    sizes = {"classification": classes, "multilabel": 4, "regression": 2}
    return Spec(
        input=input,
        input_shape=shape,
        output_size=sizes.get(form, math.prod(shape)),
        task=name,
        class_names=names if labelled else (),
        class_counts=tuple(range(10, 10 + len(names))) if labelled else (),
        feature_names=tuple(f"x{i}" for i in range(shape[0])) if input == "features" else (),
        target_names=("a", "b") if form == "regression" else (),
        target_mean=(1.0, -2.0) if form == "regression" else (),
        target_scale=(2.0, 0.5) if form == "regression" else (),
        vocabulary_size=_VOCABULARY if input == "tokens" else 0,
        horizon=2 if name == "forecasting" and input == "sequence" else 0,
    )


def batch_for(spec: Spec, size: int = 8, *, counts: bool = False) -> Batch:
    """Return random examples of a spec, with the targets that its task works on.

    Args:
        spec: what they look like.
        size: how many.
        counts: whether regression targets are counts in the data's units.
    """
    form = form_of(spec.task)
    if spec.input == "tokens":
        x = torch.randint(spec.vocabulary_size, (size, *spec.input_shape))
    elif form in ("reconstruction", "generation"):  # some losses take targets between 0 and 1
        x = torch.rand(size, *spec.input_shape)
    else:
        x = torch.randn(size, *spec.input_shape)
    if form == "classification":
        return Batch(x, torch.arange(size) % len(spec.class_names))
    if form == "multilabel":
        return Batch(x, (torch.rand(size, len(spec.class_names)) < 0.5).float())
    if form == "regression":
        values = torch.randint(6, (size, 2)).float() if counts else torch.randn(size, 2)
        return Batch(x, values)
    return Batch(x, torch.zeros(size, dtype=torch.int64))


def default_node(kind: str, name: str) -> dict[str, Any]:
    """Return the config node of a component with its default options."""
    return Case(registry().find(kind, name)).node()


def make_task(
    spec: Spec, *, node: dict[str, Any] | None = None, loss: dict[str, Any] | None = None
) -> Task:
    """Build the task of a spec.

    Args:
        spec: what the data says; it names the task.
        node: config node of the task; None takes its default options.
        loss: config node of the loss; None takes the task's default loss.
    """
    name = registry().find("task", spec.task).component.defaults.get("loss", "mse")
    config = {
        "task": node or default_node("task", spec.task),
        "loss": loss or default_node("loss", name),
    }
    return build_task(config, spec)


def make_network(task: Task, spec: Spec, node: dict[str, Any] | None = None) -> nn.Module:
    """Build a network that a task can train.

    Args:
        task: the task.
        spec: what the data says.
        node: config node of the architecture; None takes the first that is made for the task.
    """
    if node is None:
        fits = [
            entry
            for entry in registry().entries("architecture")
            if spec.task in entry.component.tasks and spec.input in inputs_of(entry)
        ]
        fits.sort(key=lambda entry: entry.plugin != BUILTIN)
        node = default_node("architecture", fits[0].id if fits else "mlp")
    sized = replace(spec, output_size=task.output_size())
    network: nn.Module = build("architecture", node, spec=sized, activation=nn.ReLU)
    return network


def clone(module: nn.Module) -> nn.Module:
    """Return a copy that shares nothing with ``module``.

    Raises:
        CheckFailure: it cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise CheckFailure(f"copy.deepcopy fails: {type(error).__name__}: {error}") from error
