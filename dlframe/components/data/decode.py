"""Image files as arrays of bytes: any format, size and mode brought to one form, or refused."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["LARGEST", "Aspect", "Broken", "Form", "Look", "each", "look", "read"]

LARGEST = 178_956_970
"""Pixels above which Pillow refuses an image in any case."""

Aspect = Literal["stretch", "crop", "pad"]

# What a file is called does not matter; none of these formats starts another program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
_ORIENTATION = 0x0112
_WITH_ORIENTATION = ("JPEG", "MPO", "TIFF", "WEBP")
_TURNED = (5, 6, 7, 8)
_DRAFT = 2  # how much larger than asked for a JPEG is decoded at least

Made = TypeVar("Made")


class Broken(Exception):
    """An image that cannot be read; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Form:
    """What every image becomes.

    Args:
        channels: 1 for grey, 3 for red, green and blue.
        height: in pixels.
        width: in pixels.
        aspect: ``stretch`` to the size; scale until the size is covered and ``crop`` the middle; or
            scale until it fits and ``pad`` with black.
        max_pixels: most pixels that an image may have as it is stored.
    """

    channels: int
    height: int
    width: int
    aspect: Aspect
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Look:
    """What an image's header says: size as it is to be seen, and whether it has no colours."""

    height: int
    width: int
    grey: bool


def look(path: Path, max_pixels: int) -> Look:
    """Read an image's header.

    Raises:
        Broken: it has none, or too many pixels.
    """
    with _opened(path, max_pixels) as image:
        width, height = image.size
        # A PNG would be decoded to find its orientation, which hardly any has.
        if image.format in _WITH_ORIENTATION and image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return Look(height, width, image.mode in _GREY)


def read(path: Path, form: Form) -> NDArray[np.uint8]:
    """Decode one image to ``[C, H, W]`` uint8.

    The first frame of several; turned as its EXIF orientation says; transparency on white; palettes
    and CMYK become RGB; 16 bits become 8 by their upper half.

    Raises:
        Broken: it cannot be decoded, or has too many pixels or pixels of 32 bits.
    """
    with _opened(path, form.max_pixels) as image:
        size = form.width, form.height
        # Lets a JPEG be decoded at a half, quarter or eighth of its size, still larger than asked for.
        image.draft(None, (_DRAFT * max(size), _DRAFT * max(size)))
        plain = _plain(ImageOps.exif_transpose(image))
        plain = plain.convert("L" if form.channels == 1 else "RGB")
        if plain.size != size:
            by = Image.Resampling.BILINEAR
            match form.aspect:
                case "stretch":
                    plain = plain.resize(size, by)
                case "crop":
                    plain = ImageOps.fit(plain, size, by)
                case "pad":
                    plain = ImageOps.pad(plain, size, by)
        pixels = np.asarray(plain, dtype=np.uint8).reshape(form.height, form.width, form.channels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    try:
        if not path.stat().st_size:
            raise Broken("it is empty")
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise Broken(
                    f"{width} x {height} pixels are more than data.max_pixels={max_pixels}"
                )
            yield image
    except (Broken, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Broken(f"it has more than {LARGEST} pixels") from error
    except UnidentifiedImageError as error:
        raise Broken("it is no image of a known format") from error
    except Exception as error:  # every format has errors of its own
        raise Broken(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _plain(image: Image.Image) -> Image.Image:
    """Return an image without transparency and with 8 bits per channel."""
    if image.mode in ("I", "F"):
        raise Broken("its pixels have 32 bits; convert it to 8 or 16")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image


def each(
    what: str, act: Callable[[Path], Made], paths: Sequence[Path]
) -> Iterator[tuple[int, Made | Broken]]:
    """Apply ``act`` to all files, several at a time, and yield what it made, or why not, in order.

    Args:
        what: for the progress on standard error.
        act: of one file; may raise ``Broken``.
        paths: the files.
    """

    def one(path: Path) -> Made | Broken:
        try:
            return act(path)
        except Broken as reason:
            return reason

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
    # Pillow warns of what is made good or refused here: odd EXIF data, many pixels.
    with warnings.catch_warnings(), progress, ThreadPoolExecutor(_workers()) as pool:
        warnings.simplefilter("ignore")
        bar = progress.add_task(what, total=len(paths))
        for start in range(0, len(paths), _AT_ONCE):
            for number, made in enumerate(pool.map(one, paths[start : start + _AT_ONCE]), start):
                progress.update(bar, advance=1)
                yield number, made


_AT_ONCE = 256
"""Files whose arrays may wait to be taken."""


def _workers() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
