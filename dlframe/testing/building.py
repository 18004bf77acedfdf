"""What building a component must leave alone."""

import random
from collections.abc import Callable

import numpy as np
import torch

from dlframe.testing.case import require

__all__ = ["draws_nothing", "never_reseeds"]


def never_reseeds(make: Callable[[], object]) -> None:
    """Building leaves the default dtype alone and does not set the seed of random numbers."""
    before, states = torch.get_default_dtype(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        make()
        states.append((torch.rand(()).item(), random.random(), np.random.rand()))
    require(torch.get_default_dtype() == before, "building it changes torch's default dtype")
    same = [a == b for a, b in zip(*states, strict=True)]
    require(not any(same), "building it sets the seed of random numbers; seeds belong to the run")


def draws_nothing(make: Callable[[], object]) -> None:
    """Building draws no random numbers, so that exchanging this part changes no other."""
    never_reseeds(make)
    before = torch.get_rng_state()
    make()
    require(
        torch.equal(before, torch.get_rng_state()),
        "building it draws random numbers, which changes the initial weights of the same seed",
    )
