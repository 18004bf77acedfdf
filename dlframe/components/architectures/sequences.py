"""Any input seen as a sequence of vectors, of which some steps may be padding."""

import torch
from torch import Tensor, nn

from dlframe.errors import ConfigError
from dlframe.interfaces import Spec

__all__ = ["AttentionPooling", "SequenceView", "lengths", "masked_mean"]

_PADDING = 0
_SPREAD = 0.1  # torch's own is 1


class SequenceView(nn.Module):
    """Reads any input as a sequence ``[B, length, size]``.

    ====================  ==========================================================
    input                 sequence
    ====================  ==========================================================
    features ``[F]``      ``F`` steps of one value
    image ``[C, H, W]``   ``H`` steps, each the row's ``C * W`` values
    sequence ``[T, D]``   as it is
    tokens ``[T]``        ``T`` steps, each the token's trained vector of ``embedding``
    ====================  ==========================================================

    Token 0 is padding: no output may depend on how much of it stands behind a row.

    Args:
        spec: what the data gives.
        embedding: length of a token's vector.

    Attributes:
        length: number of steps.
        size: values per step.

    Raises:
        ConfigError: the data gives tokens and does not say how many different ones.
    """

    def __init__(self, spec: Spec, embedding: int) -> None:
        super().__init__()
        self.input = spec.input
        self.length = spec.input_shape[1 if spec.input == "image" else 0]
        self.tokens: nn.Embedding | None = None
        match spec.input:
            case "features":
                self.size = 1
            case "image":
                self.size = spec.input_shape[0] * spec.input_shape[2]
            case "sequence":
                self.size = spec.input_shape[1]
            case "tokens":
                if spec.vocabulary_size < 1:
                    raise ConfigError(
                        "tokens need a vocabulary_size of at least 1 in the data's spec; got "
                        f"{spec.vocabulary_size}"
                    )
                self.size = embedding
                self.tokens = nn.Embedding(spec.vocabulary_size, embedding)
                # A rare word moves only when it occurs: what it starts from must not drown that.
                nn.init.normal_(self.tokens.weight, std=_SPREAD)

    def mask(self, x: Tensor) -> Tensor | None:
        """Return which steps of ``x`` are more than padding, ``[B, length]`` bool; None: all are."""
        return None if self.tokens is None else x != _PADDING

    def trim(self, x: Tensor) -> Tensor:
        """Return ``x`` without the last steps where they are padding in all rows, to save time.

        Compiled networks keep their shapes.
        """
        if self.tokens is None or torch.compiler.is_compiling():
            return x
        return x[:, : max(1, int(lengths(x != _PADDING).max()))]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to ``[B, length, size]``."""
        if self.tokens is not None:
            vectors: Tensor = self.tokens(x)
            return vectors
        if self.input == "features":
            return x.unsqueeze(2)
        if self.input == "image":
            return x.transpose(1, 2).flatten(2)
        return x


class AttentionPooling(nn.Module):
    """Mean over steps, weighted by how much each matters.

    ``sum_t a_t h_t`` with ``a = softmax(v^T tanh(W h_t + b))`` over the steps that count; zeros where
    none does. ``h[B, T, size]`` to ``[B, size]``.

    Args:
        size: size of each step's vector.

    Reference: Yang et al. 2016, doi:10.18653/v1/N16-1174.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)  # the softmax would take a bias out again

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``h[B, T, size]`` to ``[B, size]``; ``mask[B, T]`` tells which steps count."""
        scores: Tensor = self.score(torch.tanh(self.hidden(h)))
        if mask is None:
            return (scores.softmax(1) * h).sum(1)
        counts = mask.unsqueeze(2)
        # Not minus infinity: in a row of padding alone all scores are equal, and then multiplied by 0.
        weights = scores.masked_fill(~counts, torch.finfo(scores.dtype).min).softmax(1) * counts
        return (weights * h).sum(1)


def masked_mean(h: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean ``[B, size]`` of ``h[B, T, size]`` over the steps that ``mask[B, T]`` counts.

    Zeros where none counts; all steps where there is no mask.
    """
    if mask is None:
        return h.mean(1)
    counts = mask.unsqueeze(2)
    return (h * counts).sum(1) / counts.sum(1).clamp(min=1)


def lengths(mask: Tensor) -> Tensor:
    """Return how many steps ``[B]`` int64 go up to the last one that ``mask[B, T]`` counts."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * places).amax(1)
