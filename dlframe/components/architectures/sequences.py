"""Any input seen as a sequence of vectors."""

from torch import Tensor, nn

from dlframe.errors import ConfigError
from dlframe.interfaces import Spec

__all__ = ["SequenceView"]


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
