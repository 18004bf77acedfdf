"""The loss for quantiles of the targets' distribution."""

import torch
from torch import Tensor

from dlframe.components.losses.targets import misfit, widen
from dlframe.errors import ConfigError
from dlframe.interfaces.loss import Loss
from dlframe.interfaces.spec import Spec

__all__ = ["Quantile"]


class Quantile(Loss):
    """Pinball loss, lowest where each output is a quantile of the targets given the inputs.

    ``mean max(q * (t - y), (q - 1) * (t - y))`` over examples, targets and quantiles ``q``, with
    outputs ``y[B, T * Q]`` (the ``Q`` quantiles of the first target first) and targets ``t[B, T]``,
    float. Predictions ``[B, T]`` are the quantile nearest to 0.5, with the default the median.

    Args:
        quantiles: probabilities of the quantiles, each above 0 and below 1.

    Raises:
        ConfigError: there is no quantile, one is not between 0 and 1, or the targets do not fit the
            outputs.

    Reference:
        doi:10.2307/1913643.
    """

    quantiles: Tensor

    def __init__(self, *, quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)) -> None:
        super().__init__()
        if not quantiles or not all(0 < quantile < 1 for quantile in quantiles):
            raise ConfigError(
                "loss.quantiles needs at least one number, each above 0 and below 1; got "
                f"{list(quantiles)}"
            )
        self.register_buffer("quantiles", torch.tensor(quantiles), persistent=False)
        self.middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over outputs ``[B, T * Q]``."""
        outputs = widen(outputs)
        q = self.quantiles.to(outputs.dtype)
        if outputs.ndim != 2 or targets.shape != (len(outputs), outputs.shape[1] / len(q)):
            fits = f"float values [B, T] for outputs [B, T * {len(q)}]"
            raise misfit("quantile", fits, outputs, targets)
        quantiles = outputs.reshape(len(outputs), -1, len(q))
        errors = targets.to(outputs.dtype).unsqueeze(2) - quantiles
        return torch.maximum(q * errors, (q - 1) * errors).mean()

    def output_size(self, spec: Spec) -> int:
        """Return the number of targets times that of quantiles."""
        return spec.output_size * len(self.quantiles)

    def link(self, outputs: Tensor) -> Tensor:
        """Map quantiles ``[B, T * Q]`` to the one nearest to the median, ``[B, T]``."""
        return outputs[:, self.middle :: len(self.quantiles)]
