"""What an activation must do."""

from typing import Any

import torch
from torch import Tensor, nn

from dlframe.testing.building import draws_nothing
from dlframe.testing.case import Case, require, skip
from dlframe.testing.common import weights_survive

__all__ = ["CHECKS"]

_SHAPES = ((6,), (5, 4), (3, 5, 4), (2, 4, 3, 3))


def _make(case: Case) -> nn.Module:
    module: Any = case.make()
    require(isinstance(module, nn.Module), f"it makes a {type(module).__name__}, not an nn.Module")
    assert isinstance(module, nn.Module)
    return module


def constructs(case: Case) -> None:
    """It is built from its options, drawing no random numbers."""
    _make(case)
    draws_nothing(case.make)


def shape_and_dtype(case: Case) -> None:
    """The output has the input's shape and dtype."""
    for dtype in (torch.float32, torch.float64):
        module = _make(case).to(dtype)
        for shape in _SHAPES:
            x = torch.randn(shape, dtype=dtype)
            y = module(x)
            require(y.shape == x.shape, f"the shape {list(shape)} becomes {list(y.shape)}")
            require(y.dtype == dtype, f"the dtype {dtype} becomes {y.dtype}")


def elementwise(case: Case) -> None:
    """Permuting the values permutes the result, unless the tag ``axiswise`` is given."""
    if "axiswise" in case.tags:
        skip("tagged axiswise: it mixes values along an axis")
    module = _make(case).eval()
    x = torch.randn(4, 6)
    order = torch.randperm(x.numel())
    mixed = module(x.flatten()[order].view_as(x))
    require(
        torch.allclose(mixed, module(x).flatten()[order].view_as(x), atol=1e-6),
        "a value's result depends on the other values; if that is meant, give the tag 'axiswise'",
    )


def gradient(case: Case) -> None:
    """The gradient is that of the values, by finite differences in double precision."""
    module = _make(case).double().eval()
    x = 2 * torch.randn(5, 4, dtype=torch.float64)  # kinks have measure zero
    inputs = (x.requires_grad_(), *(p for p in module.parameters() if p.requires_grad))
    torch.autograd.gradcheck(lambda value, *_: module(value), inputs)


def finite(case: Case) -> None:
    """Values and gradients are finite at zero and at large inputs."""
    module = _make(case)
    x = torch.tensor([0.0, -0.0, 1e-30, 1.0, -1.0, 50.0, -50.0, 1e4, -1e4]).requires_grad_()
    y = module(x)
    y.sum().backward()
    assert x.grad is not None
    for name, values in (("value", y), ("gradient", x.grad)):
        bad = x[~torch.isfinite(values)].tolist()
        require(not bad, f"the {name} is not finite at {bad}")


def half_precision(case: Case) -> None:
    """It works in bfloat16, as input and under autocast, close to single precision."""
    module = _make(case).eval()
    x = torch.randn(5, 4)
    wanted = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        _close(module(x), wanted, "under autocast")
    half = _make(case).eval().to(torch.bfloat16)(x.to(torch.bfloat16))
    require(half.dtype == torch.bfloat16, f"a bfloat16 input gives {half.dtype}")
    _close(half, wanted, "in bfloat16")


def _close(y: Tensor, wanted: Tensor, where: str) -> None:
    far = (y.float() - wanted).abs().max().item()
    require(far <= 0.05 * (1 + wanted.abs().max().item()), f"{where} the result is off by {far:g}")


def same_seed_same_output(case: Case) -> None:
    """Equal seeds give equal results, in training too."""
    module, x = _make(case).train(), torch.randn(5, 4)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(module(x))
    require(torch.equal(*results), "two calls with the same seed differ")


def copies(case: Case) -> None:
    """Deep copies and ``state_dict`` keep what it computes."""
    weights_survive(_make(case), _make(case), torch.randn(5, 4))


CHECKS = (
    constructs,
    shape_and_dtype,
    elementwise,
    gradient,
    finite,
    half_precision,
    same_seed_same_output,
    copies,
)
