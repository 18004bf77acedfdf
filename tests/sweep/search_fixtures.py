"""Spaces for samplers to search."""

import pytest

from dlframe.sweep.definition import Parameter
from dlframe.sweep.space import build_space


def space_of(*overrides: str) -> tuple[Parameter, ...]:
    return build_space(overrides, {}, auto=False, config_dir=None)[1]


@pytest.fixture(scope="module")
def numbers() -> tuple[Parameter, ...]:
    return space_of(
        "optimizer.lr=tag(log,interval(1e-5,1e-1))", "optimizer.weight_decay=interval(0,0.1)",
        "trainer.max_epochs=int(interval(1,40))",
    )  # fmt: skip


@pytest.fixture(scope="module")
def nested() -> tuple[Parameter, ...]:
    return space_of(
        "optimizer=adam,sgd", "optimizer.lr=tag(log,interval(1e-4,1e-1))",
        "optimizer.momentum=interval(0,0.9)", "activation=relu,gelu,silu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def finite() -> tuple[Parameter, ...]:
    return space_of("activation=relu,gelu", "seed=range(1,4)", "optimizer.lr=range(0.1,0.5,0.2)")


@pytest.fixture(scope="module")
def branching() -> tuple[Parameter, ...]:
    return space_of("regularizer=[],[dropout]", "regularizer.dropout.p=0.1,0.2,0.3", "seed=1,2")
