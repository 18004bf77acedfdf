"""CIFAR-10: the binary archive from a folder, or downloaded into one."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlframe.components.data.download import Checksum, Source
from dlframe.components.data.standardize import Standardize
from dlframe.errors import DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor
from dlframe.interfaces.spec import InputKind

__all__ = ["cifar10"]

_ARCHIVE = "cifar-10-binary.tar.gz"
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_SHAPE = (3, 32, 32)
_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def cifar10(
    *, root: str | None = None, download: bool = True, verify: bool = True, url: str | None = None
) -> Data:
    """Photographs: 60,000 images ``[3, 32, 32]``, standardized per channel; 10 classes.

    The last 10,000 are the fixed test part. Of the published forms the binary one is read, which holds
    no pickles.

    Args:
        root: folder of ``cifar-10-binary.tar.gz``, or of the ``*.bin`` files in it, whose checksums are
            not compared; null means ``$DLFRAME_DATA/cifar10``, or ``~/.cache/dlframe/cifar10`` where
            that variable is not set.
        download: fetch the archive where ``root`` lacks it.
        verify: compare the archive's checksum with the published one.
        url: address of a folder with the archive, asked instead of the public server.

    Raises:
        DataError: files are missing, damaged or have another checksum.

    Reference:
        Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf.
    """
    return _Cifar(
        Source(
            name="cifar10",
            root=root,
            urls={_ARCHIVE: [f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}"]},
            checksums={_ARCHIVE: Checksum("c32a1d4ab5d03f1284b67883e8d87530", "file")},
            download=download,
            verify=verify,
            url=url,
        )
    )


class _Cifar(Data):
    input: InputKind = "image"

    def __init__(self, source: Source) -> None:
        self._source = source

    def load(self) -> Examples:
        found = dict(self._contents())
        missing = [name for name in _BATCHES if name not in found]
        if missing:
            raise DataError(
                f"CIFAR-10 in {str(self._source.folder)!r} lacks {', '.join(missing)}; replace the "
                "files"
            )
        batches = [_records(name, found[name]) for name in _BATCHES]
        train = sum(len(batch) for batch in batches[:-1])
        records = np.concatenate(batches)
        return Examples(
            x=records[:, 1:].reshape(-1, *_SHAPE),
            y=records[:, 0].astype(np.int64),
            task="classification",
            class_names=_CLASSES,
            target_names=("class",),
            test=np.arange(train, len(records)),
        )

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each batch, from loose files or from the archive."""
        folder = self._source.folder
        for place in (folder, folder / "cifar-10-batches-bin"):
            if (place / _BATCHES[0]).is_file():
                for path in sorted(place.glob("*.bin")):
                    yield path.name, path.read_bytes()
                return
        path = self._source.file(_ARCHIVE)
        try:
            with tarfile.open(path, "r:gz") as archive:
                for member in archive:  # read, never unpacked: names in it lead nowhere
                    file = archive.extractfile(member) if member.isfile() else None
                    if file is not None and Path(member.name).name in _BATCHES:
                        yield Path(member.name).name, file.read()
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise DataError(f"{str(path)!r} cannot be read ({error}); replace the file") from error

    def preprocessor(self) -> Preprocessor:
        return Standardize()


def _records(name: str, content: bytes) -> NDArray[np.uint8]:
    """Return a batch's records ``[N, 1 + 3072]``: the class, then the planes of red, green, blue."""
    size = 1 + int(np.prod(_SHAPE))
    values = np.frombuffer(content, np.uint8)
    if not len(values) or len(values) % size or values[::size].max() >= len(_CLASSES):
        raise DataError(
            f"{name!r} is no batch of CIFAR-10, whose records are a class from 0 to 9 and {size - 1} "
            "bytes; replace the files"
        )
    return values.reshape(-1, size)
