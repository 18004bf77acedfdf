"""What an architecture must do, for each kind of input it says it fits."""

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from dlframe.interfaces import Batch, GenerativeAdversarial, Spec, Task
from dlframe.testing.building import never_reseeds
from dlframe.testing.case import Case, require, skip
from dlframe.testing.common import weights_survive
from dlframe.testing.examples import (
    batch_for,
    form_of,
    inputs_of,
    make_network,
    make_task,
    spec_for,
    task_for,
)

__all__ = ["CHECKS"]

_STEPS = 150
_UNTRAINED = "untrained"


def _skip_untrained(case: Case) -> None:
    if _UNTRAINED in case.tags:
        skip("it has nothing to train")


class _Situation:
    """A network for one kind of input, with the first task that the component names."""

    def __init__(self, case: Case, spec: Spec) -> None:
        self.case, self.spec = case, spec
        self.task: Task = make_task(spec)
        self.form = form_of(spec.task)
        self.network = self.build()
        require(
            isinstance(self.network, self.task.needs),
            f"the task {spec.task} needs an {self.task.needs.__name__}; it makes a "
            f"{type(self.network).__name__}",
        )

    def build(self, seed: int | None = 12) -> nn.Module:
        if seed is not None:
            torch.manual_seed(seed)
        return make_network(self.task, self.spec, self.case.node())

    def batch(self, size: int = 8) -> Batch:
        return self.task.prepare(batch_for(self.spec, size))

    def inputs(self, size: int = 8) -> Tensor:
        """What ``forward`` takes: examples, or noise for a generator."""
        if self.form == "generation":
            return torch.randn(size, cast("GenerativeAdversarial", self.network).latent_size)
        return self.batch(size).x

    def step(self, network: nn.Module, batch: Batch, player: str) -> Tensor:
        return self.task.step(network, batch, player).loss


def _situations(case: Case) -> Iterator[_Situation]:
    for kind in case.inputs or inputs_of(case.entry):
        yield _Situation(case, spec_for(task_for(case.entry), kind))


def constructs(case: Case) -> None:
    """It is an ``nn.Module`` for each kind of input, and does not set the seed."""
    for found in _situations(case):
        require(isinstance(found.network, nn.Module), "it is no nn.Module")
        never_reseeds(partial(found.build, None))


def output_shape(case: Case) -> None:
    """Any batch size, 1 included, gives float32 outputs of the promised shape."""
    for found in _situations(case):
        network = found.network.eval()
        for size in (1, 2, 5):
            outputs = network(found.inputs(size))
            example: tuple[int, ...] = found.spec.input_shape
            if found.form == "language_modelling":
                example = (found.inputs().shape[1], found.task.output_size())
            elif found.form not in ("reconstruction", "generation"):
                example = (found.task.output_size(),)
            _expect(found, outputs, (size, *example))
            if found.form == "generation":
                judge = cast("GenerativeAdversarial", network).discriminator
                _expect(found, judge(found.batch(size).x), (size, 1))


def _expect(found: _Situation, outputs: Tensor, shape: tuple[int, ...]) -> None:
    require(
        tuple(outputs.shape) == shape and outputs.dtype == torch.float32,
        f"on {found.spec.input} the output is {list(outputs.shape)} {outputs.dtype}, not "
        f"{list(shape)} float32",
    )
    require(bool(torch.isfinite(outputs).all()), f"on {found.spec.input} the output is not finite")


def trains_every_parameter(case: Case) -> None:
    """Every trainable parameter gets a finite gradient; ``untrained`` ones have none."""
    for found in _situations(case):
        if _UNTRAINED in case.tags:
            trained = any(parameter.requires_grad for parameter in found.network.parameters())
            require(not trained, f"on {found.spec.input} it has parameters to train")
            continue
        for player, part in found.task.players(found.network.train()).items():
            part.zero_grad()
            torch.autograd.backward(found.step(found.network, found.batch(), player))
            for name, parameter in part.named_parameters():
                if parameter.requires_grad:
                    gradient = parameter.grad
                    require(gradient is not None, f"on {found.spec.input}, {name} gets no gradient")
                    assert gradient is not None
                    require(
                        bool(torch.isfinite(gradient).all()),
                        f"on {found.spec.input}, the gradient of {name} is not finite",
                    )


def language_models_are_causal(case: Case) -> None:
    """The logits of a language model do not depend on later tokens, nor on how many there are."""
    if form_of(task_for(case.entry)) != "language_modelling":
        return  # there is nothing that it must not see
    for found in _situations(case):
        network, x = found.network.eval(), found.inputs()
        with torch.no_grad():
            logits = network(x)
            for place in range(1, x.shape[1]):
                other = x.clone()
                other[:, place:] = (other[:, place:] + 1) % found.spec.vocabulary_size
                for changed in (other, x[:, :place]):
                    require(
                        torch.allclose(network(changed)[:, :place], logits[:, :place], atol=1e-5),
                        f"logits before place {place} depend on the tokens from there on",
                    )


def same_seed_same_weights(case: Case) -> None:
    """Equal seeds give equal weights, and other seeds others."""
    _skip_untrained(case)
    for found in _situations(case):
        states = [found.build(seed).state_dict() for seed in (1, 1, 2)]
        same = [all(torch.equal(a[k], states[0][k]) for k in a) for a in states[1:]]
        require(same[0], f"on {found.spec.input} the same seed gives other weights")
        require(not same[1], f"on {found.spec.input} another seed gives the same weights")


def half_precision(case: Case) -> None:
    """Under bfloat16 autocast loss and gradients are finite."""
    _skip_untrained(case)
    for found in _situations(case):
        for player, part in found.task.players(found.network.train()).items():
            part.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = found.step(found.network, found.batch(), player)
            torch.autograd.backward(loss)
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            require(
                bool(torch.isfinite(loss)) and all(bool(g.isfinite().all()) for g in gradients),
                f"on {found.spec.input}, bfloat16 gives a loss of {loss.item():g} or such a gradient",
            )


def evaluation_is_deterministic(case: Case) -> None:
    """In evaluation equal inputs give equal outputs, and an example's do not depend on the others."""
    for found in _situations(case):
        network, x = found.network.eval(), found.inputs()
        with torch.no_grad():
            outputs, again, single = network(x), network(x), network(x[:1])
        require(torch.equal(outputs, again), f"on {found.spec.input} two evaluations differ")
        require(
            torch.allclose(outputs[:1], single, atol=1e-4),
            f"on {found.spec.input} an example's output depends on the rest of the batch",
        )


def copies(case: Case) -> None:
    """Deep copies and ``state_dict`` keep what it computes."""
    for found in _situations(case):
        weights_survive(found.network, found.build(13), found.inputs())


def overfits_one_batch(case: Case) -> None:
    """Within 150 steps the loss on 8 examples falls to a fifth.

    For reconstruction it must fall to four fifths; two players must both move and stay finite.
    """
    _skip_untrained(case)
    for found in _situations(case):
        batch, network = found.batch(), found.network.train()
        if found.form == "generation":
            _both_move(found, batch)
            continue
        share = 0.8 if found.form == "reconstruction" else 0.2
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        first = last = float("nan")
        for step in range(_STEPS):
            optimizer.zero_grad()
            loss = found.step(network, batch, "model")
            last = loss.item()
            first = last if step == 0 else first
            if last < share * first:
                break
            torch.autograd.backward(loss)
            optimizer.step()
        require(
            last < share * first,
            f"on {found.spec.input}, {_STEPS} steps on one batch take the loss from {first:g} to "
            f"{last:g}, not below {share:g} of it",
        )


def _both_move(found: _Situation, batch: Batch) -> None:
    for player, part in found.task.players(found.network).items():
        before = [p.detach().clone() for p in part.parameters()]
        optimizer = torch.optim.Adam(part.parameters(), lr=1e-3)
        for _ in range(5):
            optimizer.zero_grad()
            loss = found.step(found.network, batch, player)
            require(bool(torch.isfinite(loss)), f"the loss of {player} is {loss.item():g}")
            torch.autograd.backward(loss)
            optimizer.step()
        moved = [not torch.equal(a, b) for a, b in zip(part.parameters(), before, strict=True)]
        require(any(moved), f"{player} does not move")


CHECKS = (
    constructs,
    output_shape,
    language_models_are_causal,
    trains_every_parameter,
    same_seed_same_weights,
    half_precision,
    evaluation_is_deterministic,
    copies,
    overfits_one_batch,
)
