"""Downloads that resume, are checked, and appear only when they are complete."""

import gzip
import hashlib
import os
import ssl
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from dlframe.errors import ConfigError, DataError, StorageError

__all__ = ["Checksum", "Source", "data_home", "fetch"]

_CHUNK = 1 << 18
_ATTEMPTS = 3
_TIMEOUT = 30.0  # seconds without an answer
_NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest that a file is known by.

    Args:
        digest: MD5 as 32 hexadecimal digits, or SHA-256 as 64.
        of: whether it is that of the ``file`` itself or of its ``content`` once decompressed, which
            does not depend on who compressed it.
    """

    digest: str
    of: Literal["file", "content"]

    def matches(self, path: Path) -> bool:
        """Whether the file at ``path`` (gzip, if the content counts) has this checksum."""
        # A guard against damage, not against forgery; machines in FIPS mode must be told so.
        name = "sha256" if len(self.digest) == 64 else "md5"
        digest = hashlib.new(name, usedforsecurity=False)
        try:
            with path.open("rb") if self.of == "file" else gzip.GzipFile(path) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error):  # broken content has no checksum
            return False
        return digest.hexdigest() == self.digest


def data_home() -> Path:
    """Return where data is kept: ``$DLFRAME_DATA``, or ``~/.cache/dlframe`` where that is not set."""
    return Path(os.environ.get("DLFRAME_DATA") or Path.home() / ".cache" / "dlframe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of published files that come from a download where they are missing.

    Args:
        name: of the data set, and of its folder in ``data_home``.
        root: the folder; None takes that one.
        urls: addresses of each file.
        checksums: of each file.
        download: whether to fetch files that the folder lacks.
        verify: whether to compare the files' checksums.
        url: address of a folder with the files, asked instead of ``urls``.

    Raises:
        ConfigError: ``url`` is no address of the web.
    """

    name: str
    root: str | None
    urls: Mapping[str, Sequence[str]]
    checksums: Mapping[str, Checksum]
    download: bool
    verify: bool
    url: str | None

    def __post_init__(self) -> None:
        """Refuse addresses that are not of the web."""
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"data.url must start with http:// or https://; got {self.url!r}")

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return data_home() / self.name if self.root is None else Path(self.root).expanduser()

    def file(self, name: str) -> Path:
        """Return where a file is, once it is there and its checksum is right.

        Raises:
            DataError: it is missing, or another than the published one.
        """
        path = self.folder / name
        checksum = self.checksums[name] if self.verify else None
        if path.exists():
            if checksum is not None and not checksum.matches(path):
                raise DataError(
                    f"the checksum of {str(path)!r} is not that of the published file; remove it to "
                    "download it anew, or take it as it is with data.verify=false"
                )
            return path
        remedy = (
            f"put {', '.join(self.urls)} into {str(self.folder)!r}, or name the folder that holds "
            f"{'it' if len(self.urls) == 1 else 'them'} with data.root"
        )
        if not self.download:
            raise DataError(f"no file is at {str(path)!r}; {remedy}, or set data.download=true")
        own = None if self.url is None else [f"{self.url.rstrip('/')}/{name}"]
        try:
            fetch(own or self.urls[name], path, checksum)
        except DataError as error:
            raise DataError(f"{error}; {remedy}") from error
        return path


def fetch(urls: Sequence[str], target: Path, checksum: Checksum | None) -> None:
    """Download one file from the first of several mirrors that has it; progress goes to stderr.

    The bytes gather in ``<target>.part``; a transfer that broke off, now or in an earlier process,
    goes on where it stopped. ``target`` appears by an atomic rename, once the checksum is right.
    Processes that ask for the same file wait for each other.

    Args:
        urls: addresses of the same file.
        target: where it goes; an existing file is left as it is.
        checksum: what the file must match; None takes it as it comes.

    Raises:
        DataError: no mirror gave the file; the message holds each one's reason.
        StorageError: the file cannot be written.
    """
    lock = target.with_name(f"{target.name}.lock")
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not target.exists():
                _from_mirrors(urls, target, checksum)
        lock.unlink(missing_ok=True)  # whoever comes later finds the target
    except DataError:
        lock.unlink(missing_ok=True)
        for folder in made:  # what is left of a transfer stays, to go on from
            if not any(folder.iterdir()):
                folder.rmdir()
        raise
    except OSError as error:
        raise StorageError(
            f"the download of {target.name} cannot be written to {str(target.parent)!r} ({error}); "
            "choose another folder"
        ) from error


def _from_mirrors(urls: Sequence[str], target: Path, checksum: Checksum | None) -> None:
    part = target.with_name(f"{target.name}.part")
    reasons: list[str] = []
    for url in urls:
        # What an earlier transfer left may be another file's beginning: then start anew, once.
        for _ in range(2 if part.exists() else 1):
            try:
                _transfer(url, part)
            except _NETWORK_ERRORS as error:
                reasons.append(f"{url}: {error}")
                break
            if checksum is None or checksum.matches(part):
                os.replace(part, target)
                return
            part.unlink()
            reasons.append(f"{url}: the checksum is wrong")
    raise DataError(f"{target.name} could not be downloaded ({'; '.join(reasons)})")


def _transfer(url: str, part: Path) -> None:
    """Bring ``part`` to its full length, resuming where the connection breaks."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _receive(url, part)
            return
        except HTTPError:
            raise
        except _NETWORK_ERRORS:
            if attempt == _ATTEMPTS:
                raise


def _receive(url: str, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response: HTTPResponse = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code != 416:  # 416: the file has no more bytes than are here already
                raise
            if error.headers["Content-Range"] == f"bytes */{done}":
                return
        part.unlink()  # longer than the file, so not of it
        _receive(url, part)
        return
    with response:
        if response.status != 206:  # the server sends the whole file anew
            done = 0
        length = response.headers["Content-Length"]
        total = None if length is None else done + int(length)
        with part.open("ab" if done else "wb") as file, _progress() as progress:
            bar = progress.add_task(part.stem, total=total, completed=done)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress.update(bar, completed=done)
    if total is not None and done < total:
        raise IncompleteRead(b"", total - done)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
