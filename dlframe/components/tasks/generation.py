"""A generator and a discriminator are trained against each other."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import MetricCollection

from dlframe.components.tasks.figures import histograms, image_grid
from dlframe.components.tasks.metrics import FrechetDistance
from dlframe.components.tasks.supervised import at_least_single
from dlframe.errors import ConfigError
from dlframe.interfaces import Batch, GenerativeAdversarial, Loss, Range, Spec, Stage, Step, Task
from dlframe.interfaces.options import Ge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Generation"]


class Generation(Task):
    """A generator learns to make inputs that a discriminator takes for the data's.

    With noise ``z ~ N(0, 1)`` and the discriminator's logits ``D``, the discriminator lowers
    ``(loss(D(x), 1) + loss(D(G(z)), 0)) / 2`` and the generator ``loss(D(G(z)), 1)``, its
    non-saturating form. Binary cross entropy gives the original game, mean squared error that of
    least squares (Mao et al. 2016). No labels are used.

    With ``loss=wasserstein``, ``gradient_penalty=10`` and ``critic_steps=5`` it is the Wasserstein GAN
    with gradient penalty. The penalty is ``mean (|grad D(u)| - 1)^2`` at points ``u = a x + (1 - a)
    G(z)``, ``a`` uniform in [0, 1] for each example, with the gradient's length over all values of an
    example; its weight is that of the paper, where the critic's loss is twice the one above.

    The losses of two players say nothing of the samples, so the best checkpoint is the one with the
    lowest ``val/frechet``: the squared Fréchet distance between generated and real values, by mean
    and spread of each value. Logged in training are the mean logits ``d_real`` and ``d_fake``.
    Predictions are samples ``[B, *input_shape]``, and rows to predict are noise ``[B,
    latent_size]``.

    Args:
        spec: what the data gives.
        loss: the loss between logits ``[B, 1]`` and targets of ones or zeros ``[B, 1]``.
        gradient_penalty: weight of the gradient penalty on the discriminator; 0 has none.
        critic_steps: steps of the discriminator to one of the generator.

    Raises:
        ConfigError: a gradient penalty on a discriminator with batch normalization, which looks at
            examples together.

    Reference: Goodfellow et al. 2014, arXiv:1406.2661; least squares arXiv:1611.04076; gradient
        penalty Gulrajani et al. 2017, arXiv:1704.00028.
    """

    monitor: ClassVar[str] = "val/frechet"
    mode: ClassVar[Literal["min", "max"]] = "min"
    needs: ClassVar[type[nn.Module]] = GenerativeAdversarial
    makes_inputs: ClassVar[bool] = True
    from_noise: ClassVar[bool] = True

    def __init__(
        self,
        spec: Spec,
        loss: Loss,
        *,
        gradient_penalty: Annotated[float, Ge(0), Range(0.1, 100.0, log=True)] = 0.0,
        critic_steps: Annotated[int, Ge(1), Range(1, 5)] = 1,
    ) -> None:
        super().__init__(spec=spec, loss=loss)
        self.gradient_penalty, self.critic_steps = gradient_penalty, critic_steps

    def output_size(self) -> int:
        """Return the number of values of one sample."""
        return math.prod(self.spec.input_shape)

    def players(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Name the two networks; the discriminator's step comes first."""
        networks = cast("GenerativeAdversarial", model)
        if self.gradient_penalty > 0 and any(
            isinstance(module, _BatchNorm) for module in networks.discriminator.modules()
        ):
            raise ConfigError(
                "task.gradient_penalty needs a discriminator that looks at each example by itself, and "
                "batch normalization does not; set architecture.normalization=layer"
            )
        return {"discriminator": networks.discriminator, "generator": networks.generator}

    def every(self, player: str) -> int:
        """Let the generator wait for the discriminator's steps."""
        return self.critic_steps if player == "generator" else 1

    def prepare(self, batch: Batch) -> Batch:
        """Make the inputs the targets: metrics compare samples with them."""
        return Batch(batch.x, batch.x, batch.clean)

    def targets(self, batch: Batch) -> Tensor:
        """Return the ones and zeros that mark real and generated samples."""
        return torch.tensor([[0.0], [1.0]])

    def step(self, model: nn.Module, batch: Batch, player: str) -> Step:
        """Evaluate the loss of ``discriminator`` or ``generator`` on one batch and fresh noise."""
        networks = cast("GenerativeAdversarial", model)
        noise = self._noise(networks, batch.x)
        if player == "generator":
            return Step(self._loss(networks.discriminator(networks.generator(noise)), real=True))
        with torch.no_grad():
            samples = networks.generator(noise)
        real, fake = networks.discriminator(batch.x), networks.discriminator(samples)
        loss = self._loss(real, real=True) + self._loss(fake, real=False)
        logs = {"d_real": real.detach().mean(), "d_fake": fake.detach().mean()}
        if self.gradient_penalty > 0:
            penalty = _gradient_penalty(networks.discriminator, batch.x, samples)
            loss = loss + self.gradient_penalty * penalty
            logs["gradient_penalty"] = penalty.detach()
        return Step(loss / 2, logs=logs)

    def predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Map noise ``x[B, latent_size]`` to samples ``[B, *input_shape]``."""
        return at_least_single(cast("GenerativeAdversarial", model).generator(x))

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the discriminator's loss on the batch and as many samples, and the samples."""
        networks = cast("GenerativeAdversarial", model)
        samples = networks.generator(self._noise(networks, batch.x))
        real, fake = networks.discriminator(batch.x), networks.discriminator(samples)
        loss = (self._loss(real, real=True) + self._loss(fake, real=False)) / 2
        return loss, at_least_single(samples)

    def _noise(self, networks: GenerativeAdversarial, x: Tensor) -> Tensor:
        return torch.randn(len(x), networks.latent_size, dtype=x.dtype, device=x.device)

    def _loss(self, logits: Tensor, *, real: bool) -> Tensor:
        logits = at_least_single(logits)
        loss: Tensor = self.loss(logits, torch.full_like(logits, float(real)))
        return loss

    def metrics(self, stage: Stage) -> MetricCollection:
        """Return the Fréchet distance from validation on; in training there is no metric."""
        if stage == "train":
            return MetricCollection({})
        return MetricCollection({"frechet": FrechetDistance(self.output_size())})

    def figures(self, predictions: Tensor, targets: Tensor) -> Mapping[str, "Figure"]:
        """Draw a grid of samples, for images; else the values' histograms beside the data's."""
        samples, real = predictions.float().cpu().numpy(), targets.float().cpu().numpy()
        if self.spec.input == "image":
            return {"samples": image_grid(samples, like=real)}
        flat = samples.reshape(len(samples), -1), real.reshape(len(real), -1)
        return {"samples": histograms(*flat, self.spec.feature_names)}


def _gradient_penalty(discriminator: nn.Module, real: Tensor, samples: Tensor) -> Tensor:
    """Return the mean of ``(|grad D(u)| - 1)^2`` at points between real and generated examples."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)
    between = (share * real + (1 - share) * samples.to(real.dtype)).requires_grad_()
    with torch.enable_grad():
        logits = discriminator(between).sum()
        # The penalty itself is trained on, so that its gradient needs a graph.
        (gradient,) = torch.autograd.grad(logits, between, create_graph=True)
    # A norm of exactly zero has no gradient; in half precision squares would vanish or overflow.
    return (gradient.float().flatten(1).square().sum(1).clamp_min(1e-12).sqrt() - 1).square().mean()
