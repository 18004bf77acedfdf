"""The next token of a text, and texts that go on."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from dlframe.components.tasks.figures import by_place
from dlframe.components.tasks.metrics import TokenMetric
from dlframe.components.tasks.sampling import go_on
from dlframe.errors import ConfigError
from dlframe.interfaces import Batch, LanguageModel, Loss, Spec, Stage, Step, Task
from dlframe.interfaces.options import Gt, Le, NonNegative, PositiveInt, Seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LanguageModelling"]

_PADDING = 0


class LanguageModelling(Task):
    """A network predicts each next token of a text; no labels are used.

    Of tokens ``x[B, T]`` the network sees ``x[:, :-1]`` and its logits are compared with ``x[:, 1:]``.
    The loss is the mean over all tokens of a batch but padding: nats per token, with cross entropy.

    Metrics, from validation on, are over all tokens of the part: perplexity, accuracy of the likeliest
    token, and ``bits_per_character``, or ``bits_per_token`` where tokens are not the whole text (words
    lack its white space). The characters of a token are counted in the training part.

    Predictions are texts that go on: the rows to predict are prompts, of which the last tokens count,
    as many as the network was trained on. The same prompts give the same texts.

    Args:
        spec: what the data gives.
        loss: the loss to train with, between logits ``[M, V]`` and tokens ``[M]``.
        length: tokens to add to a prompt.
        temperature: divides the logits before a token is drawn: 1 draws as the network predicts, less
            prefers likely tokens, 0 takes the likeliest.
        top_k: draw among so many of the likeliest tokens; null draws among all.
        top_p: draw among the likeliest tokens that together have this probability (nucleus).
        seed: of the draws.

    Raises:
        ConfigError: the data gives no tokens or too few in a row, or the loss weighs classes.

    Reference: Bengio et al. 2003, doi:10.1162/153244303322533223; top-p arXiv:1904.09751.
    """

    needs: ClassVar[type[nn.Module]] = LanguageModel
    makes_inputs: ClassVar[bool] = True

    def __init__(
        self,
        spec: Spec,
        loss: Loss,
        *,
        length: PositiveInt = 100,
        temperature: NonNegative = 1.0,
        top_k: PositiveInt | None = None,
        top_p: Annotated[float, Gt(0), Le(1)] = 1.0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(spec=spec, loss=loss)
        if spec.input != "tokens":
            raise ConfigError(
                f"language_modelling needs tokens and the data gives {spec.input}; use data=text"
            )
        if spec.input_shape[0] < 2:
            raise ConfigError(
                "language_modelling needs rows of at least 2 tokens, of which one predicts the next; "
                "the longest of the training part has 1: give longer texts"
            )
        if getattr(loss, "weights", None) is not None:
            raise ConfigError(
                "language_modelling counts all tokens alike; leave loss.class_weights out"
            )
        self.length, self.temperature, self.seed = length, temperature, seed
        self.top_k, self.top_p = top_k, top_p

    def output_size(self) -> int:
        """Return the number of different tokens."""
        return self.spec.vocabulary_size

    def prepare(self, batch: Batch) -> Batch:
        """Make the next tokens ``[B, T - 1]`` the targets of those before them."""
        return Batch(batch.x[:, :-1], batch.x[:, 1:], batch.clean)

    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        """Evaluate the loss on one batch."""
        return Step(self._loss(model(batch.x), batch.y))

    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return prompts ``x[N, T]`` with further tokens, ``[N, T + length]`` int64."""
        return go_on(
            cast("LanguageModel", model),
            x,
            length=self.length,
            window=self.spec.input_shape[0] - 1,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=self.seed,
        )

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss, and of each target token two numbers, ``[B, T - 1, 2]``.

        They are its negative log-likelihood in nats, and 1 where it was the likeliest, else 0; zeros
        for padding. The logits of a whole part would take a vocabulary's times the space.
        """
        logits = model(batch.x)
        nats = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), batch.y.flatten(), reduction="none"
        ).view_as(batch.y)
        hits = logits.argmax(2) == batch.y
        counts = (batch.y != _PADDING).unsqueeze(2)
        return self._loss(logits, batch.y), torch.stack((nats, hits.to(nats)), 2) * counts

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        counts = targets != _PADDING
        if not bool(counts.any()):  # texts of a single token ask for nothing
            return logits.float().sum() * 0
        loss: Tensor = self.loss(logits[counts], targets[counts])
        return loss

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return perplexity, accuracy and bits from validation on; training has the loss alone."""
        if stage == "train":
            return MetricCollection({})
        characters = self.spec.characters_per_token
        name = "bits_per_character" if characters else "bits_per_token"
        return MetricCollection(
            {
                "perplexity": TokenMetric("perplexity"),
                "accuracy": TokenMetric("accuracy"),
                name: TokenMetric("nats", scale=1 / (math.log(2) * (characters or 1))),
            }
        )

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw how well tokens are predicted, by how many the network has seen before them."""
        counts = (targets != _PADDING).sum(0).cpu().numpy()
        nats, hits = predictions.float().sum(0).cpu().numpy().T
        return {"by_context": by_place(nats / math.log(2), hits, counts)}
