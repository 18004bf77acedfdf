"""What the tests of losses share: building a loss, specs and outputs to try it on."""

import inspect
from typing import Any

import torch
from torch import Tensor

from dlframe.components.losses import COMPONENTS
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.spec import Spec

BY_NAME = {component.name: component for component in COMPONENTS}
CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])


def spec(task: str, size: int = 3, counts: tuple[int, ...] = ()) -> Spec:
    names = tuple(f"c{i}" for i in range(size)) if task in ("classification", "multilabel") else ()
    return Spec(
        input="features",
        input_shape=(4,),
        output_size=size,
        task=task,
        class_names=names,
        class_counts=counts,
    )


def build(name: str, about: Spec, **options: Any) -> Loss:
    target = BY_NAME[name].load()
    takes_spec = "spec" in inspect.signature(target).parameters
    loss = target(spec=about, **options) if takes_spec else target(**options)
    assert isinstance(loss, Loss)
    return loss


def logits(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
