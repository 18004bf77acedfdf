"""A folder of images, as data."""

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dlframe.components.data.decode import Aspect, Broken, Form, Look, each, look, read
from dlframe.components.data.download import data_home
from dlframe.components.data.image_cache import Decoded, cached
from dlframe.components.data.image_files import SUFFIXES, Listing, images_below, list_folder
from dlframe.components.data.standardize import Standardize
from dlframe.errors import DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor, Rows
from dlframe.interfaces.options import Ge, Le, PositiveInt
from dlframe.interfaces.spec import InputKind

__all__ = ["ImageFolder", "ImageRows"]

_LARGEST_SIDE = 224
_NAMED = 3
_VERSION = 1  # of what decoding gives; a new one makes old caches unused
_PATH = "path"
_log = logging.getLogger(__name__)


class ImageFolder(Data):
    """Images from a folder with a folder for each class: ``root/<class>/**``, of any sizes.

    Each becomes ``[C, H, W]``, standardized per channel. ``root/train/<class>`` with ``test`` and
    ``val`` beside ``train`` gives fixed parts; a folder with images and no class folders gives examples
    without targets, for autoencoders and GANs. Images are turned as their EXIF orientation says; of
    animated ones the first frame counts; transparency is put on white; palettes and CMYK become RGB, 16
    bits become 8. Hidden files and files of other kinds are passed over; an empty class folder is no
    class, which the log tells.

    Rows to predict are an image, a folder of images or an ``.npy`` file; predictions carry the names.

    Args:
        root: the folder.
        size: what all images are resized to, one number or [height,width]. ``auto``: their own size,
            where it is one for all, else a square with the median of their shorter sides, at most
            224.
        mode: ``rgb`` or ``grey``; ``auto`` is grey where no image has colours.
        aspect: how images of other proportions get the size: ``stretch``; ``crop`` (scale until the
            size is covered, keep the middle); ``pad`` (scale until it fits, fill up with black).
        broken: what becomes of files that cannot be read: ``error``, or ``skip``, which leaves them
            out, names them in the log and records them.
        max_pixels: most pixels of an image; one with more counts as broken and is not decoded.
        cache: keep decoded images under ``$DLFRAME_DATA/image_folder`` (``~/.cache/dlframe`` where that
            is not set), for as long as the files' names, sizes and times stay the same.

    Raises:
        DataError: there are no images, some are broken, or they lie beside class folders.
    """

    input: InputKind = "image"

    def __init__(
        self,
        *,
        root: str,
        size: Literal["auto"] | PositiveInt | tuple[PositiveInt, PositiveInt] = "auto",
        mode: Literal["auto", "rgb", "grey"] = "auto",
        aspect: Literal["stretch", "crop", "pad"] = "stretch",
        broken: Literal["error", "skip"] = "error",
        max_pixels: Annotated[int, Ge(1), Le(178_956_970)] = 50_000_000,
        cache: bool = True,
    ) -> None:
        self._root = Path(root).expanduser()
        self._size, self._mode, self._aspect = size, mode, aspect
        self._broken, self._max_pixels, self._cache = broken, max_pixels, cache

    def load(self) -> Examples:
        """Decode all images, or find them decoded."""
        listing = list_folder(self._root)
        make = partial(self._decode, listing)
        if self._cache:
            decoded = cached(data_home() / "image_folder" / f"{self._key(listing)}.images", make)
        else:
            decoded = make()
        self._check(decoded, len(listing.files))
        parts = np.array([listing.parts[row] for row in decoded.rows] if listing.parts else [])
        labels = np.array([listing.labels[row] for row in decoded.rows] if listing.labels else [])
        val, test = (np.flatnonzero(parts == name).astype(np.int64) for name in ("val", "test"))
        return Examples(
            x=decoded.pixels,
            y=labels.astype(np.int64) if listing.labels else None,
            task="classification" if listing.labels else "",
            class_names=listing.class_names,
            target_names=("class",) if listing.labels else (),
            notes={"broken": dict(decoded.broken)} if decoded.broken else {},
            val=val if len(val) else None,
            test=test if len(test) else None,
        )

    def read(self, path: Path) -> Rows:
        """Read rows to predict: an image, a folder of images, or ``.npy``.

        Images are a table with the column ``path``, whose files the preprocessor decodes.
        """
        if path.is_dir():
            names = list(images_below(path))
            if not names:
                raise DataError(
                    f"the folder {str(path)!r} holds no images ({', '.join(SUFFIXES)}); give one with "
                    "images to predict"
                )
            return pd.DataFrame({_PATH: [str(path / name) for name in names], "file": names})
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return pd.DataFrame({_PATH: [str(path)], "file": [path.name]})
        return super().read(path)

    def present(self, rows: Rows, predictions: pd.DataFrame) -> pd.DataFrame:
        """Put the names of the files before their predictions."""
        if isinstance(rows, pd.DataFrame) and "file" in rows and len(rows) == len(predictions):
            predictions.insert(0, "file", rows["file"].to_numpy())
        return predictions

    def preprocessor(self) -> Preprocessor:
        """Return a new ``ImageRows``."""
        return ImageRows(aspect=self._aspect, max_pixels=self._max_pixels)

    def _decode(self, listing: Listing) -> Decoded:
        paths = [listing.root / name for name in listing.files]
        reasons: dict[int, str] = {}
        form = self._form(paths, reasons)
        usable = [row for row in range(len(paths)) if row not in reasons]
        pixels = np.empty((len(usable), form.channels, form.height, form.width), np.uint8)
        rows: list[int] = []
        act = partial(read, form=form)
        for number, made in each("decoding images", act, [paths[row] for row in usable]):
            if isinstance(made, Broken):
                reasons[usable[number]] = str(made)
            else:
                pixels[len(rows)] = made
                rows.append(usable[number])
        broken = [(listing.files[row], reasons[row]) for row in sorted(reasons)]
        return Decoded(pixels[: len(rows)], rows, broken)

    def _form(self, paths: Sequence[Path], reasons: dict[int, str]) -> Form:
        """Decide on size and mode; adds to ``reasons`` where images are broken."""
        size, channels = self._size, {"rgb": 3, "grey": 1}.get(self._mode)
        if size == "auto" or channels is None:
            seen: list[Look] = []
            act = partial(look, max_pixels=self._max_pixels)
            for row, found in each("looking at images", act, paths):
                if isinstance(found, Broken):
                    reasons[row] = str(found)
                else:
                    seen.append(found)
            channels = channels or (1 if all(image.grey for image in seen) else 3)
            size = _common_size(seen) if size == "auto" else size
        height, width = (size, size) if isinstance(size, int) else size
        return Form(channels, height, width, self._aspect, self._max_pixels)

    def _key(self, listing: Listing) -> str:
        """Digest of all that decides what decoding gives, as far as it shows without reading."""
        options = (self._size, self._mode, self._aspect, self._max_pixels)
        facts = json.dumps([_VERSION, str(listing.root.resolve()), options])
        digest = hashlib.sha256(facts.encode())
        for name in listing.files:
            about = (listing.root / name).stat()
            digest.update(f"{name!r}:{about.st_size}:{about.st_mtime_ns};".encode())
        return digest.hexdigest()[:40]

    def _check(self, decoded: Decoded, count: int) -> None:
        if not decoded.broken:
            return
        said = _said(decoded.broken)
        if self._broken == "error" or not decoded.rows:
            raise DataError(
                f"{len(decoded.broken)} of {count} images in {str(self._root)!r} cannot be read: "
                f"{said}; mend or remove them"
                + (", or leave them out with data.broken=skip" if decoded.rows else "")
            )
        _log.warning("%d of %d images are left out: %s", len(decoded.broken), count, said)


class ImageRows(Standardize):
    """Standardizes images; those that are files are decoded as those of the training were.

    Args:
        aspect: how images of other proportions get the size.
        max_pixels: most pixels of an image.
    """

    def __init__(self, *, aspect: Aspect, max_pixels: int) -> None:
        super().__init__()
        self._aspect, self._max_pixels = aspect, max_pixels

    def transform(self, x: Rows) -> Tensor:
        """Map images ``[N, C, H, W]``, or the files that a column ``path`` names, to float32.

        Raises:
            DataError: a file cannot be read, or rows are of another size.
        """
        if isinstance(x, pd.DataFrame) and _PATH in x:
            x = self._decode([Path(path) for path in x[_PATH]])
        return super().transform(x)

    def _decode(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        channels, height, width = self._shape
        form = Form(channels, height, width, self._aspect, self._max_pixels)
        pixels = np.empty((len(paths), *self._shape), np.uint8)
        broken: list[tuple[str, str]] = []
        for row, made in each("decoding images", partial(read, form=form), paths):
            if isinstance(made, Broken):
                broken.append((str(paths[row]), str(made)))
            else:
                pixels[row] = made
        if broken:
            raise DataError(
                f"{len(broken)} of {len(paths)} images to predict cannot be read: {_said(broken)}; "
                "mend or remove them"
            )
        return pixels


def _common_size(seen: Sequence[Look]) -> tuple[int, int]:
    """Return the size of all images, or that of a square where they differ."""
    sizes = {(image.height, image.width) for image in seen}
    if len(sizes) == 1:
        return sizes.pop()
    sides = [min(image.height, image.width) for image in seen]
    side = min(_LARGEST_SIDE, int(median(sides))) if sides else 1
    return side, side


def _said(broken: Sequence[tuple[str, str]]) -> str:
    """Name the first few broken files, and why they are."""
    said = ", ".join(f"{name} ({reason})" for name, reason in broken[:_NAMED])
    return said + (f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else "")
