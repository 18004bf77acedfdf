"""Autoencoders: plain, denoising, sparse and variational, dense or convolutional."""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlframe.components.architectures.images import ImageDecoder, ImageEncoder
from dlframe.components.architectures.layers import ActivationFactory, dense_layers
from dlframe.errors import ConfigError
from dlframe.interfaces import Autoencoder, Range, Spec
from dlframe.interfaces.options import Ge, Gt, Lt, Normalization

__all__ = ["DenseOrConvAutoencoder"]


class DenseOrConvAutoencoder(Autoencoder):
    """An encoder to a short code and a decoder back: plain, denoising, sparse, variational.

    ``z = E(x)``, ``x' = D(z)``; ``x[B, *input_shape]`` float32, ``z[B, latent_size]``, ``x'`` as
    ``x``. The outputs are raw numbers.

    With ``noise`` the encoder sees ``x + noise * e``, ``e ~ N(0, 1)``, in training only
    (denoising).

    With ``sparsity`` the code is ``z = sigmoid(E(x))`` and the loss gains ``sparsity / N * sum over j
    of KL(activity || mean over B of z_j)``, the Kullback-Leibler divergence of two coins, which is
    least where each number of the code is on for that share of the examples.

    With ``variational`` the encoder gives a mean and a log-variance, in training
    ``z = mean + exp(log_variance / 2) * e``, in evaluation ``z = mean``, and the loss gains
    ``beta / N * mean over B of sum over j of (mean_j^2 + exp(log_variance_j) - 1 -
    log_variance_j) / 2``, the Kullback-Leibler divergence from a standard normal code. Division by
    ``N``, the number of values of one input, puts it on the scale of a loss that is a mean over
    values, so that ``beta = 1`` with a Gaussian likelihood of variance 1/2 is the evidence lower
    bound.

    Args:
        spec: what the data gives.
        activation: makes an activation.
        kind: ``dense`` layers over the flattened input, or ``conv`` for images of any size.
        latent_size: length of the code.
        hidden: widths of the dense encoder's hidden layers; the decoder has them in reverse.
        channels: channels of the convolutional encoder, each halving the image; the decoder has
            them in reverse.
        normalization: normalization before each activation.
        noise: standard deviation of the noise added to the input in training, in the input's units.
        sparsity: weight of the penalty on a code that is too busy (Ng 2011); the code is then longer
            than one would choose else.
        activity: mean of each number of a sparse code.
        variational: whether the code is random, with a Kullback-Leibler term.
        beta: weight of the Kullback-Leibler term (Higgins et al. 2017).

    Raises:
        ConfigError: ``conv`` with an input that is no image or with an image too small for the
            channels, a width that is not positive, a code both sparse and variational, or an input of
            tokens.

    Reference: Kingma and Welling 2013, arXiv:1312.6114; denoising doi:10.1145/1390156.1390294;
        sparse A. Ng 2011, Sparse autoencoder (CS294A lecture notes, Stanford).
    """

    def __init__(
        self,
        spec: Spec,
        activation: ActivationFactory,
        *,
        kind: Literal["dense", "conv"] = "dense",
        latent_size: Annotated[int, Ge(1), Range(2, 256, log=True)] = 32,
        hidden: tuple[int, ...] = (128,),
        channels: tuple[int, ...] = (16, 32),
        normalization: Normalization = "none",
        noise: Annotated[float, Ge(0), Range(0.0, 1.0)] = 0.0,
        sparsity: Annotated[float, Ge(0), Range(1e-2, 10.0, log=True)] = 0.0,
        activity: Annotated[float, Gt(0), Lt(1), Range(0.01, 0.2, log=True)] = 0.05,
        variational: bool = False,
        beta: Annotated[float, Ge(0), Range(1e-3, 10.0, log=True)] = 1.0,
    ) -> None:
        super().__init__()
        if spec.input == "tokens":
            raise ConfigError("autoencoder needs numbers and the data gives tokens; use other data")
        if sparsity > 0 and variational:
            raise ConfigError(
                "a code is sparse or variational, not both; set architecture.sparsity=0 or "
                "architecture.variational=false"
            )
        self.sparsity, self.activity = sparsity, activity
        self.noise, self.beta, self.values = noise, beta, math.prod(spec.input_shape)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if kind == "conv":
            encoder = ImageEncoder(spec, channels, activation, normalization)
            self.encoder, size = encoder, encoder.size
            self.decoder = ImageDecoder(spec, latent_size, channels, activation, normalization)
        else:
            back = hidden[::-1]
            self.encoder = nn.Sequential(
                nn.Flatten(), *dense_layers(self.values, hidden, activation, normalization)
            )
            self.decoder = nn.Sequential(
                *dense_layers(latent_size, back, activation, normalization),
                nn.Linear(back[-1] if back else latent_size, self.values),
                nn.Unflatten(1, spec.input_shape),
            )
            size = hidden[-1] if hidden else self.values
        self.mean = nn.Linear(size, latent_size)
        self.log_variance = nn.Linear(size, latent_size) if variational else None

    def encode(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to the code ``z[B, latent_size]`` (its mean, if random)."""
        return self._code(self.encoder(x))

    def _code(self, h: Tensor) -> Tensor:
        z: Tensor = self.mean(h)
        return z.sigmoid() if self.sparsity > 0 else z

    def decode(self, z: Tensor) -> Tensor:
        """Map codes ``z[B, latent_size]`` to inputs ``[B, *input_shape]``."""
        x: Tensor = self.decoder(z)
        return x

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction ``[B, *input_shape]`` and the scalar penalty on the code."""
        if self.training and self.noise > 0:
            x = x + self.noise * torch.randn_like(x)
        h = self.encoder(x)
        mean = self._code(h)
        if self.log_variance is None:
            return self.decode(mean), self._busy(mean)
        full = torch.promote_types(
            mean.dtype, torch.float32
        )  # exp() needs more than half precision
        mean, log_variance = mean.to(full), self.log_variance(h).to(full)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        z = mean
        if self.training:
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.decode(z.to(h.dtype)), self.beta / self.values * divergence

    def _busy(self, code: Tensor) -> Tensor:
        """Return the penalty on a code ``[B, latent_size]`` that is too busy."""
        if self.sparsity == 0:
            return torch.zeros((), device=code.device)
        # Away from 0 and 1, where a number that is never used would weigh infinitely.
        share, wanted = code.float().mean(0).clamp(1e-6, 1 - 1e-6), self.activity
        on = wanted * (math.log(wanted) - share.log())
        off = (1 - wanted) * (math.log1p(-wanted) - torch.log1p(-share))
        return self.sparsity / self.values * (on + off).sum()
