"""A training whose loss is no number any more ends with a sentence."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlframe.errors import TrainingDivergedError

__all__ = ["check_finite"]


def check_finite(
    losses: Tensor,
    *,
    steps: int,
    accumulate: int,
    epoch: int,
    over_processes: Callable[[Tensor], Tensor] | None,
) -> None:
    """Look at the losses of the last batches.

    Args:
        losses: of one batch each ``[batches]``.
        steps: optimizer steps so far, those of these batches included.
        accumulate: batches per optimizer step.
        epoch: number of the epoch, from 1.
        over_processes: adds up values of all processes; None where there is one.

    Raises:
        TrainingDivergedError: one is NaN or infinite, in any process.
    """
    wrong = ~torch.isfinite(losses)
    if over_processes:  # one process that stopped alone would leave the others waiting
        wrong = over_processes(wrong.int()) > 0
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        step = steps - (len(losses) - 1 - first) // accumulate
        raise TrainingDivergedError(
            f"the training loss became {float(losses[first])} at optimizer step {step} (epoch "
            f"{epoch}); try a lower optimizer.lr, trainer.gradient_clip=1, or check the data for "
            "extreme values"
        )
