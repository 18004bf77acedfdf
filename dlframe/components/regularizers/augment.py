"""Random changes of images that leave their meaning.

Shapes: batch B, channels C, height H, width W.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from kornia import augmentation as kornia
from torch import Tensor, nn
from torch.nn import functional as F

from dlframe.errors import ConfigError
from dlframe.interfaces.options import Ge, Le, NonNegativeInt, Probability, Range
from dlframe.interfaces.regularizer import Regularizer
from dlframe.interfaces.spec import Batch, Spec

__all__ = ["Augment"]


class Augment(Regularizer):
    """Flip, turn and shift each image at random and add noise, on the device where the batch is.

    Each image draws its own changes. Pixels from outside take the value of the nearest pixel
    inside, since zero is no neutral value once images are standardized. With all options 0 nothing
    changes.

    Args:
        horizontal_flip: probability of swapping left and right; digits and letters need 0.
        vertical_flip: probability of swapping top and bottom.
        rotation: largest angle, in degrees, drawn evenly in both directions.
        crop: largest shift, in whole pixels: the image is padded by so much on each side and
            cropped back to its size at a random place.
        noise: standard deviation of Gaussian noise, in units of the (standardized) pixels.

    Reference:
        Riba et al. 2020 (kornia), arXiv:1910.02190.
    """

    def __init__(
        self,
        *,
        horizontal_flip: Probability = 0.0,
        vertical_flip: Probability = 0.0,
        rotation: Annotated[float, Ge(0), Le(180), Range(0.0, 30.0)] = 10.0,
        crop: NonNegativeInt = 2,
        noise: Annotated[float, Ge(0), Range(0.0, 0.3)] = 0.0,
    ) -> None:
        self.crop = crop
        # A list, not a Sequential: kornia's containers would look for keypoints and masks too.
        self._changes: list[nn.Module] = []
        if horizontal_flip:
            self._changes.append(kornia.RandomHorizontalFlip(p=horizontal_flip))
        if vertical_flip:
            self._changes.append(kornia.RandomVerticalFlip(p=vertical_flip))
        if rotation:
            turn = kornia.RandomAffine(rotation, padding_mode="border", p=1.0)
            self._changes.append(turn)
        if noise:
            self._changes.append(kornia.RandomGaussianNoise(std=noise, p=1.0))

    def on_model(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Check the images' size; the network stays as it is.

        Raises:
            ConfigError: the shift is as large as the image.
        """
        if self.crop >= min(spec.input_shape[-2:]):
            raise ConfigError(
                f"regularizer.augment.crop must be less than the images' height and width "
                f"{list(spec.input_shape[-2:])}, but it is {self.crop}; lower it"
            )
        return model

    def on_batch(self, batch: Batch, loss: Callable[[Batch], Tensor]) -> Batch:
        """Return the batch with changed images ``[B, C, H, W]`` of the same dtype."""
        x = batch.x
        # In bfloat16 the sampling grid would be off by whole pixels.
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():
            for change in self._changes:
                x = change(x)
            if self.crop:
                x = _random_crop(x, self.crop)
        return replace(batch, x=x)


def _random_crop(x: Tensor, padding: int) -> Tensor:
    """Pad images ``[B, C, H, W]`` and crop each at its own place, in one gather.

    kornia's crop slices image by image, which a GPU is slow at.
    """
    batch, channels, height, width = x.shape
    padded = F.pad(x, (padding,) * 4, mode="replicate")

    def indices(length: int) -> Tensor:
        start = torch.randint(2 * padding + 1, (batch, 1), device=x.device)
        return start + torch.arange(length, device=x.device)

    images = torch.arange(batch, device=x.device).view(-1, 1, 1, 1)
    planes = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    rows, columns = indices(height)[:, None, :, None], indices(width)[:, None, None, :]
    return padded[images, planes, rows, columns]
