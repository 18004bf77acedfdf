"""What the shapes of a spec allow: images, repeated halving, widths of layers."""

from collections.abc import Sequence

from dlframe.errors import ConfigError
from dlframe.interfaces import Spec

__all__ = ["check_widths", "halved_sizes", "image_shape"]


def check_widths(option: str, widths: Sequence[int]) -> None:
    """Refuse widths below one.

    Raises:
        ConfigError: a width is not positive.
    """
    if any(width < 1 for width in widths):
        raise ConfigError(f"every number in `{option}` must be at least 1; got {list(widths)}")


def image_shape(spec: Spec, user: str) -> tuple[int, int, int]:
    """Return channels, height and width of the images that ``spec`` describes.

    Raises:
        ConfigError: the input is no image.
    """
    if spec.input != "image" or len(spec.input_shape) != 3:
        raise ConfigError(
            f"{user} needs images [channels, height, width]; the data gives "
            f"{spec.input} {list(spec.input_shape)}: use another architecture or other data"
        )
    channels, height, width = spec.input_shape
    return channels, height, width


def halved_sizes(
    height: int, width: int, times: int, *, what: str, free: int = 0, smallest: int = 1
) -> list[tuple[int, int]]:
    """Return the map sizes of a network that halves its maps ``times`` times, rounding up.

    Args:
        height: height of the image.
        width: width of the image.
        times: number of halvings.
        what: what the user asks for by it, such as ``convolutions in `channels```.
        free: how many of those come without halving.
        smallest: least number of pixels that the last map must have.

    Returns:
        ``times + 1`` pairs of height and width, the image's own first.

    Raises:
        ConfigError: the image is too small; the message names the largest number possible.
    """
    sizes = [(height, width)]
    while min(sizes[-1]) > 1:
        smaller = ((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2)
        if smaller[0] * smaller[1] < smallest:
            break
        sizes.append(smaller)
    most = len(sizes) - 1
    if times > most:
        raise ConfigError(
            f"images of {height} x {width} allow at most {most + free} {what}; "
            f"got {times + free}: use fewer"
        )
    return sizes[: times + 1]
