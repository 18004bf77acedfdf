"""What an initializer must do."""

import copy

import torch
from torch import Tensor

from dlframe.interfaces import Initializer
from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require
from dlframe.testing.examples import batch_for, make_network, make_task, spec_for
from dlframe.training.build import initialize

__all__ = ["CHECKS"]

_SHAPES = ((6, 4), (4, 6), (5, 5), (4, 3, 3), (8, 4, 3, 3))


def _make(case: Case) -> Initializer:
    initializer: Initializer = case.make()
    require(
        callable(initializer), f"it makes a {type(initializer).__name__}, which is not callable"
    )
    return initializer


def _keeps_defaults(initializer: Initializer) -> bool:
    return getattr(initializer, "keeps_defaults", False)


def _filled(initializer: Initializer, shape: tuple[int, ...]) -> Tensor:
    """A weight after the initializer; it starts as NaN, unless defaults are kept."""
    kept = _keeps_defaults(initializer)
    weight = torch.nn.Parameter(torch.full(shape, 0.1 if kept else torch.nan))
    before = weight.data_ptr()
    with torch.no_grad():
        initializer(weight)
    require(weight.data_ptr() == before, "it does not fill the weight in place")
    require(weight.shape == shape, f"the shape {list(shape)} becomes {list(weight.shape)}")
    return weight.detach()


def constructs(case: Case) -> None:
    """It is built from its options, drawing no random numbers."""
    _make(case)
    draws_nothing(case.make)


def fills_in_place(case: Case) -> None:
    """Every value of a weight is replaced by a finite one, for matrices and kernels."""
    for shape in _SHAPES:
        weight = _filled(_make(case), shape)
        bad = int((~torch.isfinite(weight)).sum())
        require(
            bad == 0, f"{bad} of {weight.numel()} values of a weight {list(shape)} are not finite"
        )


def same_seed_same_values(case: Case) -> None:
    """Equal seeds give equal weights."""
    for shape in _SHAPES:
        torch.manual_seed(7)
        first = _filled(_make(case), shape)
        torch.manual_seed(7)
        require(
            torch.equal(first, _filled(_make(case), shape)), "the same seed gives other weights"
        )


def keeps_no_state(case: Case) -> None:
    """A used initializer, and its deep copy, fill the next weight as a new one would."""
    used = _make(case)
    _filled(used, (6, 4))
    results = []
    for initializer in (used, copy.deepcopy(used), _make(case)):
        torch.manual_seed(8)
        results.append(_filled(initializer, (5, 5)))
    same = torch.equal(results[0], results[2]) and torch.equal(results[1], results[2])
    require(same, "it remembers earlier weights; each weight must be filled on its own")


def initializes_networks(case: Case) -> None:
    """Dense and convolutional networks give finite outputs after it."""
    for kind in ("features", "image"):
        spec = spec_for("classification", kind)
        task = make_task(spec)
        network = make_network(task, spec).eval()
        initialize(network, _make(case))
        outputs = network(batch_for(spec).x)
        require(bool(torch.isfinite(outputs).all()), f"a network on {kind} gives infinite outputs")


CHECKS = (
    constructs,
    fills_in_place,
    same_seed_same_values,
    keeps_no_state,
    initializes_networks,
)
