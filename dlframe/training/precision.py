"""32-bit precision without the hooks that Lightning calls around each backward pass and step.

On a small network they take as long as the arithmetic, and nobody but the module listens to them.
"""

from collections.abc import Callable
from typing import Any

from lightning.pytorch.plugins.precision import Precision
from torch import Tensor

__all__ = ["QuietPrecision"]


class QuietPrecision(Precision):
    """Full precision; of the hooks around a step only the module's ``on_before_optimizer_step``."""

    def pre_backward(self, tensor: Tensor, module: Any) -> Tensor:
        """Return the loss as it is."""
        return tensor

    def post_backward(self, tensor: Tensor, module: Any) -> Tensor:
        """Return the loss without its graph."""
        return tensor.detach()

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **options: Any
    ) -> Any:
        """Run the optimizer, the module's hook in between."""

        def evaluated() -> Any:
            result = closure()
            model.on_before_optimizer_step(optimizer)
            return result

        return optimizer.step(closure=evaluated, **options)
