"""Limits on the gradient."""

from typing import Annotated

from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from dlframe.interfaces.options import Gt, Positive, Range
from dlframe.interfaces.regularizer import Regularizer

__all__ = ["GradientClipping"]


class GradientClipping(Regularizer):
    """Shorten the gradient of all parameters together, ``g *= min(1, max_norm / |g|)``.

    With ``max_value`` each of its values is first limited to ``[-max_value, max_value]``.

    Args:
        max_norm: largest Euclidean length of the whole gradient; null sets no limit.
        max_value: largest absolute value of one entry; null sets no limit.

    Reference:
        Pascanu et al. 2013, arXiv:1211.5063.
    """

    def __init__(
        self,
        *,
        max_norm: Annotated[float, Gt(0), Range(0.1, 10.0, log=True)] | None = 1.0,
        max_value: Positive | None = None,
    ) -> None:
        self.max_norm = max_norm
        self.max_value = max_value

    def on_gradients(self, model: nn.Module) -> None:
        """Limit the gradients in place; parameters without gradient are skipped."""
        if self.max_value is not None:
            clip_grad_value_(model.parameters(), self.max_value)
        if self.max_norm is not None:
            clip_grad_norm_(model.parameters(), self.max_norm)
