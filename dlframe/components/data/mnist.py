"""MNIST and Fashion-MNIST: IDX files from a folder, or downloaded into one."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlframe.components.data.download import Checksum, Source
from dlframe.components.data.standardize import Standardize
from dlframe.errors import DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor
from dlframe.interfaces.spec import InputKind

__all__ = ["fashion_mnist", "mnist", "read_idx"]

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    name: str
    mirrors: Sequence[str]
    checksums: Mapping[str, Checksum]
    class_names: tuple[str, ...]


_MNIST = _Collection(
    name="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    # Of the decompressed bytes: copies of the files differ in their gzip envelope.
    checksums={
        _FILES[0]: Checksum("6bbc9ace898e44ae57da46a324031adb", "content"),
        _FILES[1]: Checksum("a25bea736e30d166cdddb491f175f624", "content"),
        _FILES[2]: Checksum("2646ac647ad5339dbf082846283269ea", "content"),
        _FILES[3]: Checksum("27ae3e4e09519cfbb04c329615203637", "content"),
    },
    class_names=tuple(map(str, range(10))),
)

_FASHION_MNIST = _Collection(
    name="fashion_mnist",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    checksums={
        _FILES[0]: Checksum("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "file"),
        _FILES[1]: Checksum("25c81989df183df01b3e8a0aad5dffbe", "file"),
        _FILES[2]: Checksum("bef4ecab320f06d8554ea6380940ec79", "file"),
        _FILES[3]: Checksum("bb300cfdad3c16e7a12a480ee83cd310", "file"),
    },
    class_names=(
        "t-shirt", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
)  # fmt: skip


def mnist(
    *, root: str | None = None, download: bool = True, verify: bool = True, url: str | None = None
) -> Data:
    """Handwritten digits: 70,000 images ``[1, 28, 28]``, standardized; 10 classes.

    The last 10,000 are the fixed test part.

    Args:
        root: folder of the four ``*-ubyte.gz`` files; null means ``$DLFRAME_DATA/mnist``, or
            ``~/.cache/dlframe/mnist`` where that variable is not set.
        download: fetch files that ``root`` lacks.
        verify: compare the files' checksums with the published ones.
        url: address of a folder with the files, asked instead of the public mirrors.

    Raises:
        DataError: files are missing, damaged or have another checksum.

    Reference:
        LeCun, Bottou, Bengio and Haffner, 1998, doi:10.1109/5.726791.
    """
    return _Images(_MNIST, root, download, verify, url)


def fashion_mnist(
    *, root: str | None = None, download: bool = True, verify: bool = True, url: str | None = None
) -> Data:
    """Pictures of clothes: 70,000 images ``[1, 28, 28]``, standardized; 10 classes.

    The last 10,000 are the fixed test part.

    Args:
        root: folder of the four ``*-ubyte.gz`` files; null means ``$DLFRAME_DATA/fashion_mnist``,
            or ``~/.cache/dlframe/fashion_mnist`` where that variable is not set.
        download: fetch files that ``root`` lacks.
        verify: compare the files' checksums with the published ones.
        url: address of a folder with the files, asked instead of the public mirrors.

    Raises:
        DataError: files are missing, damaged or have another checksum.

    Reference:
        Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747.
    """
    return _Images(_FASHION_MNIST, root, download, verify, url)


class _Images(Data):
    input: InputKind = "image"

    def __init__(
        self,
        collection: _Collection,
        root: str | None,
        download: bool,
        verify: bool,
        url: str | None,
    ) -> None:
        self._collection = collection
        self._source = Source(
            name=collection.name,
            root=root,
            urls={name: [f"{mirror}/{name}" for mirror in collection.mirrors] for name in _FILES},
            checksums=collection.checksums,
            download=download,
            verify=verify,
            url=url,
        )

    def load(self) -> Examples:
        train_x, train_y, test_x, test_y = (read_idx(self._source.file(name)) for name in _FILES)
        for images, labels, name in ((train_x, train_y, _FILES[0]), (test_x, test_y, _FILES[2])):
            if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
                raise DataError(
                    f"the file {str(self._source.folder / name)!r} must hold one image per label; got "
                    f"the shapes {list(images.shape)} and {list(labels.shape)}: replace the files"
                )
        return Examples(
            x=np.concatenate([train_x, test_x])[:, np.newaxis],
            y=np.concatenate([train_y, test_y]).astype(np.int64),
            task="classification",
            class_names=self._collection.class_names,
            target_names=("class",),
            test=np.arange(len(train_x), len(train_x) + len(test_x)),
        )

    def preprocessor(self) -> Preprocessor:
        return Standardize()


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzip-compressed IDX file of unsigned bytes; the file says its shape.

    Raises:
        DataError: the file is damaged or of another format.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{str(path)!r} cannot be read ({error}); replace the file") from error
    # Two zero bytes, 8 for unsigned bytes, the number of axes, each size as a big-endian int32.
    axes = content[3] if len(content) >= 4 else 0
    values: NDArray[Any] = np.frombuffer(content, np.uint8)[4 + 4 * axes :]
    shape = np.frombuffer(content[4 : 4 + 4 * axes], ">i4") if len(content) >= 4 + 4 * axes else ()
    if content[:3] != b"\0\0\x08" or not axes or len(values) != np.prod(shape, dtype=np.int64):
        raise DataError(f"{str(path)!r} is not an IDX file of unsigned bytes; replace the file")
    return values.reshape(tuple(shape))
