"""California housing: the archive from a folder, or downloaded into one."""

import io
import tarfile
import zlib

import numpy as np
import pandas as pd

from dlframe.components.data.download import Checksum, Source
from dlframe.components.data.standardize import Standardize
from dlframe.errors import DataError
from dlframe.interfaces.data import Data, Examples, Preprocessor

__all__ = ["california_housing"]

_ARCHIVE = "cal_housing.tgz"
_MEMBER = "CaliforniaHousing/cal_housing.data"
_COLUMNS = (
    "Longitude", "Latitude", "HouseAge", "rooms", "bedrooms", "Population", "households", "MedInc",
    "value",
)  # fmt: skip
_FEATURES = (
    "MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude",
)  # fmt: skip


def california_housing(
    *, root: str | None = None, download: bool = True, verify: bool = True, url: str | None = None
) -> Data:
    """Districts of California in 1990: 20,640 rows ``[8]``, standardized; median price of a house.

    The target is in units of 100,000 dollars and cut off at 5. Rows follow each other from place to
    place; columns and units are those of scikit-learn.

    Args:
        root: folder of ``cal_housing.tgz``; null means ``$DLFRAME_DATA/california_housing``, or
            ``~/.cache/dlframe/california_housing`` where that variable is not set.
        download: fetch the archive where ``root`` lacks it.
        verify: compare the archive's SHA-256 with the published one.
        url: address of a folder with the archive, asked instead of the public server.

    Raises:
        DataError: the file is missing, damaged or has another checksum.

    Reference:
        Pace and Barry, 1997, doi:10.1016/S0167-7152(96)00140-X.
    """
    digest = "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"
    return _Housing(
        Source(
            name="california_housing",
            root=root,
            urls={_ARCHIVE: ["https://ndownloader.figshare.com/files/5976036"]},
            checksums={_ARCHIVE: Checksum(digest, "file")},
            download=download,
            verify=verify,
            url=url,
        )
    )


class _Housing(Data):
    def __init__(self, source: Source) -> None:
        self._source = source

    def load(self) -> Examples:
        path = self._source.file(_ARCHIVE)
        try:
            with tarfile.open(path, "r:gz") as archive:
                file = archive.extractfile(_MEMBER)
                content = b"" if file is None else file.read()
            values = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
        except (tarfile.TarError, OSError, EOFError, KeyError, ValueError, zlib.error) as error:
            raise DataError(f"{str(path)!r} cannot be read ({error}); replace the file") from error
        if values.shape[1:] != (len(_COLUMNS),):
            raise DataError(
                f"{_MEMBER!r} must hold {len(_COLUMNS)} numbers in each row; got the shape "
                f"{list(values.shape)}: replace the file {str(path)!r}"
            )
        table = pd.DataFrame(values, columns=list(_COLUMNS))
        households = table["households"]
        table["AveRooms"] = table["rooms"] / households
        table["AveBedrms"] = table["bedrooms"] / households
        table["AveOccup"] = table["Population"] / households
        return Examples(
            x=table[list(_FEATURES)],
            y=table["value"].to_numpy() / 100_000,
            task="regression",
            feature_names=_FEATURES,
            target_names=("MedHouseVal",),
        )

    def preprocessor(self) -> Preprocessor:
        return Standardize()
