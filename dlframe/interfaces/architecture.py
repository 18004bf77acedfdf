"""Architectures: the networks."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

__all__ = ["Architecture", "Autoencoder", "GenerativeAdversarial", "LanguageModel"]


class Architecture(nn.Module, ABC):
    """A network, built from the data's spec, an activation and its own options.

    The constructor may take ``spec`` (a ``Spec``) and ``activation`` (a function without arguments that
    returns a new activation module); dlframe passes those that the signature names. All other
    parameters are options, written as keywords with types and defaults. Any ``nn.Module`` or function
    that returns one will do; deriving from this class is optional.

    The model gives raw numbers: no softmax, no sigmoid. Place ``nn.Dropout(0.0)`` where dropout
    belongs; the ``dropout`` regularizer sets its probability, and a network without any gets one
    after each activation.

    Raises:
        ConfigError: the spec or the options do not fit, in one sentence with the remedy.

    Example:
        >>> class Linear(Architecture):
        ...     def __init__(self, *, spec, bias: bool = True):
        ...         super().__init__()
        ...         self.layer = nn.Linear(spec.input_shape[0], spec.output_size, bias=bias)
        ...     def forward(self, x):
        ...         return self.layer(x)
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map ``x[B, *spec.input_shape]`` to ``y[B, spec.output_size]``, both float32."""


class Autoencoder(Architecture):
    """A network that the ``reconstruction`` task trains: encoder, code and decoder."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Map ``x[B, *input_shape]`` to its code ``z[B, latent]`` (the mean, where it is random)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Map codes ``z[B, latent]`` to inputs ``[B, *input_shape]``."""

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction ``[B, *input_shape]`` and a scalar that the loss adds.

        The scalar is what the architecture itself penalizes: the Kullback-Leibler term of a
        variational autoencoder, zero otherwise.
        """
        return self.decode(self.encode(x)), torch.zeros((), device=x.device)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction ``[B, *input_shape]`` of ``x``."""
        return self.reconstruct(x)[0]


class GenerativeAdversarial(Architecture):
    """Two networks that the ``generation`` task trains against each other.

    Attributes:
        generator: maps noise ``z[B, latent_size]`` to samples ``[B, *input_shape]``.
        discriminator: maps samples ``[B, *input_shape]`` to one logit each, ``[B, 1]``.
        latent_size: length of the noise vector.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent_size: int

    def forward(self, x: Tensor) -> Tensor:
        """Map noise ``x[B, latent_size]`` to samples ``[B, *input_shape]``."""
        samples: Tensor = self.generator(x)
        return samples


class LanguageModel(Architecture):
    """A network that the ``language_modelling`` task trains: at each token, which comes next."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``x[B, T]`` int64 to logits ``[B, T, spec.output_size]`` of each next token.

        ``T`` is any length below that of the data's rows. Those at place ``t`` depend on the tokens up
        to ``t`` alone, so that padding, which stands behind, changes none that counts.
        """
