"""The limited-memory quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno."""

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from torch import nn

from dlframe.interfaces.options import Gt, NonNegative, PositiveInt, Range

__all__ = ["lbfgs"]


def lbfgs(
    params: Iterable[nn.Parameter],
    *,
    lr: Annotated[float, Gt(0), Range(0.1, 1.0, log=True)] = 1.0,
    max_iter: PositiveInt = 20,
    history_size: PositiveInt = 10,
    tolerance_grad: NonNegative = 1e-7,
    tolerance_change: NonNegative = 1e-9,
    line_search: Literal["none", "strong_wolfe"] = "strong_wolfe",
) -> torch.optim.LBFGS:
    """L-BFGS, for small networks and full batches (``data.batch_size=all``).

    ``w -= s * H g``, where ``H`` approximates the inverse Hessian from the last ``history_size``
    changes of weights and gradient, and the step ``s`` is ``lr`` or the line search's. One step of
    the optimizer runs up to ``max_iter`` iterations and evaluates the batch in each.

    Args:
        params: parameters, in any shape, floating dtype; all on one device.
        lr: step length, or the first length that the line search tries.
        max_iter: iterations per optimizer step.
        history_size: changes that are remembered; memory grows with it.
        tolerance_grad: stop the step where no gradient is larger.
        tolerance_change: stop the step where weights or loss change by less.
        line_search: ``strong_wolfe`` looks for a length that lowers the loss enough; ``none`` takes
            ``lr`` as it is.

    Reference:
        Liu and Nocedal 1989, doi:10.1007/BF01589116.
    """
    return torch.optim.LBFGS(
        list(params),
        lr=lr,
        max_iter=max_iter,
        history_size=history_size,
        tolerance_grad=tolerance_grad,
        tolerance_change=tolerance_change,
        line_search_fn=None if line_search == "none" else line_search,
    )
