"""What a loss must do, for each form of targets that its tasks promise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from dlframe.errors import DlframeError
from dlframe.interfaces import Loss, Spec
from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require, skip
from dlframe.testing.common import weights_survive
from dlframe.testing.examples import FORMS, batch_for, spec_for
from dlframe.training.build import build_loss

__all__ = ["CHECKS"]

_SIZE = 12


@dataclass(frozen=True, slots=True)
class _Situation:
    """A loss with targets of one form."""

    name: str
    form: str
    loss: Loss
    outputs: Tensor
    targets: Tensor

    def value(self, outputs: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        value: Tensor = self.loss(
            self.outputs if outputs is None else outputs,
            self.targets if targets is None else targets,
        )
        return value


def _situations(case: Case) -> list[_Situation]:
    """Every form of targets, with random outputs; specs that the loss refuses are left out."""
    promised = case.entry.component.tasks or ("regression",)
    found: list[_Situation] = []
    refusal = ""
    for task in promised:
        # A language model's tokens are classes to the loss.
        if task not in FORMS or task == "language_modelling":
            continue
        before = len(found)
        for classes in (2, 3) if task == "classification" else (3,):
            spec = spec_for(task, classes=classes)
            try:
                loss = build_loss({"loss": case.node()}, spec)
                found += _forms(task, spec, loss)
            except DlframeError as error:
                refusal = str(error)
        require(len(found) > before, f"it names the task {task} and refuses it: {refusal}")
    return found or skip(f"no examples can be made for {', '.join(promised)}")


def _forms(task: str, spec: Spec, loss: Loss) -> Iterator[_Situation]:
    batch = batch_for(spec, _SIZE, counts=loss.raw_targets)
    size = loss.output_size(spec)
    if task == "generation":  # logits of the discriminator
        targets = (torch.arange(_SIZE) % 2).float().unsqueeze(1)
        yield _Situation(task, task, loss, torch.randn(_SIZE, 1), targets)
    elif task == "reconstruction":
        yield _Situation(task, task, loss, torch.randn_like(batch.x), batch.x)
    else:
        outputs = torch.randn(_SIZE, size)
        name = f"{task} with {len(spec.class_names)} classes" if task == "classification" else task
        yield _Situation(name, task, loss, outputs, batch.y)
        if task == "classification":
            soft = 0.9 * F.one_hot(batch.y, len(spec.class_names)).float()
            soft = soft + 0.1 / len(spec.class_names)
            yield _Situation(f"{name}, as probabilities", task, loss, outputs, soft)


def constructs(case: Case) -> None:
    """It is built from its options, drawing no random numbers."""
    for found in _situations(case):
        require(isinstance(found.loss, Loss), "it is no loss")
    task = next(t for t in (*case.entry.component.tasks, "regression") if t in FORMS)
    draws_nothing(partial(build_loss, {"loss": case.node()}, spec_for(task, classes=2)))


def scalar(case: Case) -> None:
    """It gives one number with a finite gradient for every form of targets."""
    for found in _situations(case):
        outputs = found.outputs.clone().requires_grad_()
        value = found.value(outputs)
        require(value.shape == (), f"{found.name}: the shape is {list(value.shape)}, not []")
        require(value.dtype == torch.float32, f"{found.name}: the dtype is {value.dtype}")
        require(value.requires_grad, f"{found.name}: the value has no gradient")
        torch.autograd.backward(value)
        assert outputs.grad is not None
        require(bool(torch.isfinite(value)), f"{found.name}: the value is {value.item()}")
        require(
            bool(torch.isfinite(outputs.grad).all()), f"{found.name}: the gradient is not finite"
        )
        require(bool(outputs.grad.any()), f"{found.name}: the gradient is zero")


def finite_at_extremes(case: Case) -> None:
    """Value and gradient are finite for outputs of -50, 0 and 50."""
    for found in _situations(case):
        for size in (-50.0, 0.0, 50.0):
            signs = torch.ones_like(found.outputs)
            signs.view(-1)[::2] = -1
            for outputs in (torch.full_like(found.outputs, size), size * signs):
                outputs.requires_grad_()
                value = found.value(outputs)
                torch.autograd.backward(value)
                assert outputs.grad is not None
                require(
                    math.isfinite(value.item()) and bool(torch.isfinite(outputs.grad).all()),
                    f"{found.name}: outputs of size {size:g} give {value.item():g}, or such a gradient",
                )


def batch_order(case: Case) -> None:
    """The order of the examples does not matter, and repeating all of them changes nothing."""
    for found in _situations(case):
        value, order = found.value(), torch.randperm(_SIZE)
        permuted = found.value(found.outputs[order], found.targets[order])
        require(torch.allclose(permuted, value, rtol=1e-4), f"{found.name}: the order matters")
        twice = found.value(found.outputs.repeat(2, *[1] * (found.outputs.ndim - 1)),
                            found.targets.repeat(2, *[1] * (found.targets.ndim - 1)))  # fmt: skip
        require(
            torch.allclose(twice, value, rtol=1e-4),
            f"{found.name}: a batch repeated twice gives {twice.item():g} instead of "
            f"{value.item():g}; take the mean over the examples",
        )


def lower_at_the_answer(case: Case) -> None:
    """Outputs that lower it, found by descent, predict the targets."""
    for found in _situations(case):
        outputs = found.outputs.clone().requires_grad_()
        optimizer = torch.optim.Adam([outputs], lr=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            value = found.value(outputs)
            torch.autograd.backward(value)
            optimizer.step()
        require(bool(value < found.value()), f"{found.name}: descent does not lower it")
        _predicts(found, outputs.detach())


def _predicts(found: _Situation, outputs: Tensor) -> None:
    before, after = found.loss.link(found.outputs), found.loss.link(outputs)
    if found.form == "classification":
        right = found.targets if found.targets.ndim == 1 else found.targets.argmax(1)
        wrong = int((after.argmax(1) != right).sum())
        require(wrong == 0, f"{found.name}: {wrong} of {_SIZE} classes are wrong where it is least")
    elif found.form in ("multilabel", "generation"):
        lowest, highest = after[found.targets == 1].min(), after[found.targets == 0].max()
        require(
            bool(lowest > highest), f"{found.name}: labels are not told apart where it is least"
        )
    else:
        error = (after - found.targets).abs().mean().item()
        start = (before - found.targets).abs().mean().item()
        require(
            error < 0.5 * start,
            f"{found.name}: the mean error falls from {start:g} only to {error:g} where it is least",
        )


def link_gives_predictions(case: Case) -> None:
    """``link`` gives finite predictions: ``[B, C]`` for classes, else of the targets' shape."""
    for found in _situations(case):
        predictions = found.loss.link(found.outputs)
        shape = found.targets.shape
        if found.form == "classification":
            classes = 2 if found.outputs.shape[1] == 1 else found.outputs.shape[1]
            shape = torch.Size((_SIZE, classes))
        require(
            predictions.shape == shape,
            f"{found.name}: predictions have the shape {list(predictions.shape)}, not {list(shape)}",
        )
        require(
            bool(torch.isfinite(predictions).all()), f"{found.name}: predictions are not finite"
        )


def half_precision(case: Case) -> None:
    """With bfloat16 outputs under autocast it is close to what it is in single precision."""
    for found in _situations(case):
        half = found.outputs.to(torch.bfloat16)
        wanted = found.value(half.float()).item()
        with torch.autocast("cpu", torch.bfloat16):
            value = found.value(half).item()
        require(
            abs(value - wanted) <= 0.02 * abs(wanted) + 0.02,
            f"{found.name}: {value:g} instead of {wanted:g}",
        )


def copies(case: Case) -> None:
    """Deep copies and ``state_dict`` keep what it computes."""
    for found, other in zip(_situations(case), _situations(case), strict=True):
        weights_survive(found.loss, other.loss, found.outputs, found.targets)


CHECKS = (
    constructs,
    scalar,
    finite_at_extremes,
    batch_order,
    lower_at_the_answer,
    link_gives_predictions,
    half_precision,
    copies,
)
