"""What a regularizer must do."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dlframe.interfaces import Batch, Regularizer, Spec, Task
from dlframe.interfaces.spec import InputKind
from dlframe.testing.building import never_reseeds
from dlframe.testing.case import Case, require, skip
from dlframe.testing.common import through_file
from dlframe.testing.examples import (
    FORMS,
    batch_for,
    clone,
    inputs_of,
    make_network,
    make_task,
    spec_for,
)

__all__ = ["CHECKS"]


class _Training:
    """A small network with one regularizer, trained in dlframe's order of hooks."""

    def __init__(self, case: Case, regularizer: Regularizer | None, kind: InputKind) -> None:
        torch.manual_seed(9)
        tasks = [task for task in case.entry.component.tasks or FORMS[:1] if task in FORMS]
        if not tasks:
            skip(f"no examples can be made for {', '.join(case.entry.component.tasks)}")
        self.spec: Spec = spec_for(tasks[0], kind)
        self.task: Task = make_task(self.spec)
        self.regularizer = regularizer or Regularizer()
        self.plain = make_network(self.task, self.spec)
        self.network = self.regularizer.on_model(clone(self.plain), self.spec)
        require(
            isinstance(self.network, nn.Module),
            f"on_model returns a {type(self.network).__name__}, not an nn.Module",
        )
        self.optimizers = {
            name: torch.optim.SGD(part.parameters(), lr=0.05)
            for name, part in self.task.players(self.network).items()
        }

    def batch(self) -> Batch:
        """The batch after ``on_batch``, and what it promises."""
        batch = self.task.prepare(batch_for(self.spec))
        first = next(iter(self.optimizers))
        found = self.regularizer.on_batch(
            batch, lambda b: self.task.step(self.network, b, first).loss
        )
        require(isinstance(found, Batch), f"on_batch returns a {type(found).__name__}, not a Batch")
        require(
            found.x.shape == batch.x.shape and found.x.dtype == batch.x.dtype,
            f"on_batch turns inputs {list(batch.x.shape)} {batch.x.dtype} into "
            f"{list(found.x.shape)} {found.x.dtype}",
        )
        require(bool(torch.isfinite(found.x).all()), "on_batch gives inputs that are not finite")
        require(bool(torch.isfinite(found.y).all()), "on_batch gives targets that are not finite")
        require(
            not found.x.requires_grad, "on_batch leaves inputs attached to a graph; detach them"
        )
        require(len(found.y) == len(batch.y), "on_batch changes the number of targets")
        changed = found.y.shape != batch.y.shape or not torch.equal(found.y, batch.y)
        require(not (changed and found.clean), "on_batch changes targets and leaves clean=True")
        return found

    def penalty(self) -> Tensor | None:
        """The penalty, and what it promises."""
        value = self.regularizer.penalty(self.network)
        if value is not None:
            require(value.shape == (), f"the penalty has shape {list(value.shape)}, not []")
            require(bool(torch.isfinite(value)), f"the penalty is {value.item():g}")
        return value

    def run(self, steps: int) -> None:
        """Train so many steps."""
        self.network.train()
        for _ in range(steps):
            batch = self.batch()
            for name, optimizer in self.optimizers.items():
                optimizer.zero_grad()
                loss = self.task.step(self.network, batch, name).loss
                penalty = self.penalty()
                if penalty is not None:
                    loss = loss + penalty
                torch.autograd.backward(loss)
                self.regularizer.on_gradients(self.network)
                optimizer.step()
            with torch.no_grad():
                self.regularizer.after_step(self.network)
        for name, value in self.network.state_dict().items():
            require(bool(torch.isfinite(value).all()), f"after training, {name} is not finite")

    def weights(self) -> list[Tensor]:
        """The parameters' values."""
        return [p.detach().clone() for p in self.network.parameters()]


def _make(case: Case, **options: Any) -> Regularizer:
    """Build the regularizer; ``options`` replace those of the case."""
    changed = Case(case.entry, {**case.options, **options}) if options else case
    made: Regularizer = changed.make()
    require(
        isinstance(made, Regularizer), f"{type(made).__name__} does not derive from Regularizer"
    )
    return made


def _kinds(case: Case) -> Sequence[InputKind]:
    """Kinds of input to train on: those declared, else the two most different."""
    declared = inputs_of(case.entry) if case.entry.component.inputs else ("features", "image")
    return case.inputs or declared


def _close(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(first, second, strict=True)
    )


def constructs(case: Case) -> None:
    """It is built from its options and leaves the seed of random numbers alone."""
    _make(case)
    never_reseeds(case.make)


def hooks_keep_their_promises(case: Case) -> None:
    """Each hook returns what it promises, and training with it stays finite."""
    for kind in _kinds(case):
        _Training(case, _make(case), kind).run(3)


def off_is_the_identity(case: Case) -> None:
    """With strength 0, training gives the parameters of a training without it."""
    if case.off is None:
        skip('the options of strength 0 are not stated: set `off`, as in off = {"weight": 0.0}')
    for kind in _kinds(case):
        with_it = _Training(case, _make(case, **case.off), kind)
        without = _Training(case, None, kind)
        for training in (with_it, without):
            torch.manual_seed(10)  # what it may have drawn for itself must not count
            batches = [batch_for(training.spec) for _ in range(3)]
            _train_on(training, batches)
        require(
            _close(with_it.weights(), without.weights()),
            f"with {dict(case.off)} training on {kind} gives other parameters than without it",
        )


def _train_on(training: _Training, batches: list[Batch]) -> None:
    """Train one step on each batch, whatever random numbers the regularizer draws."""
    for number, batch in enumerate(batches):
        prepared = training.task.prepare(batch)
        first = next(iter(training.optimizers))
        changed = training.regularizer.on_batch(prepared, partial(_loss, training, first))
        for name, optimizer in training.optimizers.items():
            torch.manual_seed(number)
            optimizer.zero_grad()
            loss = training.task.step(training.network, changed, name).loss
            penalty = training.penalty()
            torch.autograd.backward(loss if penalty is None else loss + penalty)
            training.regularizer.on_gradients(training.network)
            optimizer.step()
        with torch.no_grad():
            training.regularizer.after_step(training.network)


def _loss(training: _Training, player: str, batch: Batch) -> Tensor:
    return training.task.step(training.network, batch, player).loss


def acts(case: Case) -> None:
    """At least one hook is overridden."""
    made = type(_make(case))
    hooks = ("on_model", "on_batch", "penalty", "on_gradients", "after_step", "callbacks")
    require(
        any(getattr(made, hook) is not getattr(Regularizer, hook) for hook in hooks),
        f"it overrides none of {', '.join(hooks)}",
    )


def callbacks_are_lightnings(case: Case) -> None:
    """``callbacks`` gives Lightning callbacks, new ones for each regularizer."""
    from lightning.pytorch import Callback

    first, second = _make(case).callbacks(), _make(case).callbacks()
    for callback in first:
        require(
            isinstance(callback, Callback),
            f"{type(callback).__name__} is no lightning.pytorch.Callback",
        )
    require(
        not {id(c) for c in first} & {id(c) for c in second},
        "two regularizers share a callback, so that two runs would share its state",
    )


def rebuilds(case: Case) -> None:
    """``on_model`` on a new network gives one that loads the trained weights."""
    for kind in _kinds(case):
        trained = _Training(case, _make(case), kind)
        trained.run(2)
        again = _Training(case, _make(case), kind)
        again.network.load_state_dict(through_file(trained.network.state_dict()), strict=True)
        x = batch_for(trained.spec).x
        outputs = [_evaluated(training, x) for training in (trained, again)]
        require(torch.equal(*outputs), f"on {kind} the rebuilt network computes other values")


def evaluation_is_deterministic(case: Case) -> None:
    """In evaluation the network gives the same outputs twice."""
    for kind in _kinds(case):
        training = _Training(case, _make(case), kind)
        training.run(1)
        x = batch_for(training.spec).x
        first, second = _evaluated(training, x), _evaluated(training, x)
        require(
            torch.equal(first, second), f"on {kind} two evaluations differ; act in training only"
        )


def _evaluated(training: _Training, x: Tensor) -> Tensor:
    with torch.no_grad():
        return training.task.predict(training.network.eval(), x)


def resumes_exactly(case: Case) -> None:
    """With its ``state_dict`` restored, training goes on as the uninterrupted one."""
    for kind in _kinds(case):
        whole = _Training(case, _make(case), kind)
        whole.run(2)
        state = through_file(
            (
                whole.network.state_dict(),
                {name: o.state_dict() for name, o in whole.optimizers.items()},
                whole.regularizer.state_dict(),
            )
        )
        rest = _Training(case, _make(case), kind)
        rest.network.load_state_dict(state[0])
        for name, optimizer in rest.optimizers.items():
            optimizer.load_state_dict(state[1][name])
        rest.regularizer.load_state_dict(copy.deepcopy(state[2]))
        for training in (whole, rest):
            torch.manual_seed(11)
            training.run(2)
        require(
            all(torch.equal(a, b) for a, b in zip(whole.weights(), rest.weights(), strict=True)),
            f"on {kind} a resumed training differs: keep what matters in state_dict()",
        )


CHECKS = (
    constructs,
    acts,
    hooks_keep_their_promises,
    off_is_the_identity,
    callbacks_are_lightnings,
    rebuilds,
    evaluation_is_deterministic,
    resumes_exactly,
)
