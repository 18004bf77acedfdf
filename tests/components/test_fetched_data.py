"""Data sets that are fetched: MNIST, CIFAR-10, California housing, from folders and by download."""

import gzip
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from dlframe.components.data.cifar import cifar10
from dlframe.components.data.download import Checksum, fetch
from dlframe.components.data.housing import california_housing
from dlframe.components.data.mnist import fashion_mnist, mnist, read_idx
from dlframe.errors import ConfigError, DataError, StorageError

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


# --- IDX files ---


def idx(values: NDArray[np.uint8]) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    return gzip.compress(header + values.tobytes(), mtime=0)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with MNIST's four file names and other, small contents."""
    root = tmp_path / "small"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name, count in zip(NAMES, (30, 30, 20, 20), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        (root / name).write_bytes(idx(rng.integers(0, 10, shape, dtype=np.uint8)))
    return root


def test_idx_files_are_read_as_written(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "values.gz").write_bytes(idx(values))
    np.testing.assert_array_equal(read_idx(tmp_path / "values.gz"), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file"),
        (b"no gzip", "cannot be read"),
        (idx(np.arange(200, dtype=np.uint8))[:-12], "cannot be read"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abcd", mtime=0), "is not an IDX file"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\x04abcd", mtime=0), "is not an IDX file"),
        (gzip.compress(b"\0\0\x08\x03\0\0", mtime=0), "is not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.gz' {message}"):
        read_idx(path)


def test_mnist_from_the_folder_is_the_published_set(shared_data: Path) -> None:
    examples = mnist(root=str(shared_data / "mnist"), download=False).load()
    assert isinstance(examples.x, np.ndarray)
    assert examples.y is not None
    assert examples.test is not None
    assert examples.x.shape == (70_000, 1, 28, 28)
    assert examples.x.dtype == np.uint8
    np.testing.assert_array_equal(examples.test, np.arange(60_000, 70_000))
    # The published mean and standard deviation of the 60,000 training images.
    train = examples.x[:60_000] / np.float32(255)
    assert train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    assert examples.y[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert examples.y[60_000:60_008].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]


def test_other_files_than_the_published_need_verify_false(small: Path) -> None:
    for make in (mnist, fashion_mnist):
        with pytest.raises(DataError, match=r"checksum of '.*train-images-idx3-ubyte\.gz'"):
            make(root=str(small)).load()
        examples = make(root=str(small), verify=False).load()
        assert examples.x.shape == (50, 1, 28, 28)
        assert examples.test is not None
        assert examples.test.tolist() == list(range(30, 50))


def test_images_without_labels_are_refused(small: Path) -> None:
    shutil.copy(small / NAMES[3], small / NAMES[1])
    with pytest.raises(DataError, match=r"one image per label; got the shapes \[30, 28, 28\]"):
        mnist(root=str(small), verify=False).load()


def test_missing_files_without_download_say_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"put train-images.* into .*data\.root"):
        mnist(root=str(tmp_path / "none"), download=False).load()


# --- download, from a server on loopback ---


class Server(ThreadingHTTPServer):
    """Serves ``files``; breaks the first ``breaks`` transfers off in the middle."""

    files: dict[str, bytes]
    breaks: int = 0
    ranges: bool = True
    seen: list[tuple[str, str | None]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path.rsplit("/", 1)[-1], self.headers["Range"]
        self.server.seen.append((self.path, wanted))
        if name not in self.server.files:
            self.send_error(404)
            return
        content, start = self.server.files[name], 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if self.server.breaks:
            self.server.breaks -= 1
            stop = start + (stop - start) // 2
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output free of one line per request."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.seen = {}, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


CONTENT = np.random.default_rng(0).bytes(300_000)
CHECKSUM = Checksum(hashlib.md5(CONTENT).hexdigest(), "file")


def test_a_download_appears_complete_and_alone(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["data.bin"] = CONTENT
    fetch([f"{server.url}/data.bin"], tmp_path / "new" / "data.bin", CHECKSUM)
    assert (tmp_path / "new" / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.bin"]
    output = capsys.readouterr()
    assert output.out == ""
    assert "data.bin" in output.err
    fetch([f"{server.url}/data.bin"], tmp_path / "new" / "data.bin", CHECKSUM)
    assert len(server.seen) == 1  # what is there is not fetched again


def test_a_broken_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["data.bin"], server.breaks = CONTENT, 2
    fetch([f"{server.url}/data.bin"], tmp_path / "data.bin", CHECKSUM)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.seen] == [None, "bytes=150000-", "bytes=225000-"]


def test_a_transfer_that_keeps_breaking_leaves_no_file_and_resumes_later(
    server: Server, tmp_path: Path
) -> None:
    server.files["data.bin"], server.breaks = CONTENT, 3
    with pytest.raises(DataError, match=r"data\.bin could not be downloaded .*IncompleteRead"):
        fetch([f"{server.url}/data.bin"], tmp_path / "data.bin", CHECKSUM)
    assert not (tmp_path / "data.bin").exists()
    fetch([f"{server.url}/data.bin"], tmp_path / "data.bin", CHECKSUM)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.seen[-1][1] == "bytes=262500-"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("left", [CONTENT[:1000], b"other" * 200, CONTENT, CONTENT + b"more"])
def test_whatever_an_earlier_transfer_left_the_file_gets_right(
    left: bytes, ranges: bool, server: Server, tmp_path: Path
) -> None:
    server.files["data.bin"], server.ranges = CONTENT, ranges
    (tmp_path / "data.bin.part").write_bytes(left)
    fetch([f"{server.url}/data.bin"], tmp_path / "data.bin", CHECKSUM)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert not (tmp_path / "data.bin.part").exists()


def test_the_next_mirror_serves_where_one_lacks_the_file_or_has_another(
    server: Server, tmp_path: Path
) -> None:
    server.files.update({"data.bin": CONTENT, "wrong.bin": b"wrong"})
    urls = [f"{server.url}/{name}" for name in ("missing.bin", "wrong.bin", "data.bin")]
    fetch(urls, tmp_path / "data.bin", CHECKSUM)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"missing\.bin: HTTP Error 404.*wrong\.bin: the checksum"):
        fetch(urls[:2], tmp_path / "again.bin", CHECKSUM)
    assert not (tmp_path / "again.bin").exists()
    assert not (tmp_path / "again.bin.part").exists()


def test_those_who_ask_at_once_share_one_transfer(server: Server, tmp_path: Path) -> None:
    server.files["data.bin"] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(fetch, [f"{server.url}/data.bin"], tmp_path / "data.bin", CHECKSUM)
            for _ in range(4)
        ]
    for future in asked:
        future.result()
    assert len(server.seen) == 1
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_the_checksum_of_the_content_ignores_the_gzip_envelope(tmp_path: Path) -> None:
    checksum = Checksum(hashlib.md5(b"text").hexdigest(), "content")
    for number, packed in enumerate(
        (gzip.compress(b"text", mtime=1), gzip.compress(b"text", 1, mtime=2))
    ):
        (tmp_path / f"{number}.gz").write_bytes(packed)
        assert checksum.matches(tmp_path / f"{number}.gz")
    for broken in (gzip.compress(b"test"), gzip.compress(b"text")[:-9], b"text", b""):
        (tmp_path / "broken.gz").write_bytes(broken)
        assert not checksum.matches(tmp_path / "broken.gz")


def test_a_folder_that_cannot_be_written_is_an_error_of_storage(
    server: Server, tmp_path: Path
) -> None:
    server.files["data.bin"] = CONTENT
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"data\.bin cannot be written to '.*file'"):
        fetch([f"{server.url}/data.bin"], tmp_path / "file" / "data.bin", CHECKSUM)


def test_mnist_downloads_and_verifies(
    server: Server, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {name: (shared_data / "mnist" / name).read_bytes() for name in NAMES}
    monkeypatch.setenv("DLFRAME_DATA", str(tmp_path))
    examples = mnist(url=f"{server.url}/folder/").load()
    assert examples.x.shape == (70_000, 1, 28, 28)
    assert [path for path, _ in server.seen] == [f"/folder/{name}" for name in NAMES]
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(NAMES)
    # MNIST's files are not Fashion-MNIST's.
    with pytest.raises(DataError, match="the checksum is wrong"):
        fashion_mnist(url=server.url).load()


def cifar_archive() -> tuple[bytes, NDArray[np.uint8]]:
    """An archive in the published form, with 20 records in each batch, and these records."""
    draw = np.random.default_rng(0)
    records = draw.integers(0, 256, (6, 20, 3073), dtype=np.uint8)
    records[:, :, 0] = np.arange(20) % 10
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    contents = {"batches.meta.txt": b"airplane\nautomobile\n", "readme.html": b"<html>"}
    contents |= {name: batch.tobytes() for name, batch in zip(names, records, strict=True)}
    return packed(
        {f"cifar-10-batches-bin/{name}": text for name, text in contents.items()}
    ), records


def packed(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_cifar10_from_a_download_and_from_its_files(server: Server, tmp_path: Path) -> None:
    content, records = cifar_archive()
    server.files["cifar-10-binary.tar.gz"], server.breaks = content, 1
    examples = cifar10(root=str(tmp_path), url=server.url, verify=False).load()
    assert isinstance(examples.x, np.ndarray)
    assert examples.y is not None
    assert examples.test is not None
    assert examples.x.shape == (120, 3, 32, 32)
    # The published layout: 1,024 bytes of red row by row, then green, then blue.
    assert examples.x[21, 1, 2, 3] == records[1, 1, 1 + 1024 + 2 * 32 + 3]
    assert examples.y.tolist() == records[:, :, 0].reshape(-1).tolist()
    assert examples.test.tolist() == list(range(100, 120))
    assert examples.class_names[3:6] == ("cat", "deer", "dog")
    with pytest.raises(DataError, match=r"checksum of '.*cifar-10-binary\.tar\.gz' is not"):
        cifar10(root=str(tmp_path)).load()
    for folder in (tmp_path / "loose", tmp_path / "outer" / "cifar-10-batches-bin"):
        folder.mkdir(parents=True)
        for i, batch in enumerate(records[:5], 1):
            (folder / f"data_batch_{i}.bin").write_bytes(batch.tobytes())
        with pytest.raises(DataError, match=r"lacks test_batch\.bin"):
            cifar10(root=str(tmp_path / folder.relative_to(tmp_path).parts[0])).load()
        (folder / "test_batch.bin").write_bytes(records[5].tobytes())
        again = cifar10(root=str(tmp_path / folder.relative_to(tmp_path).parts[0])).load()
        np.testing.assert_array_equal(np.asarray(again.x), examples.x)
    (folder / "test_batch.bin").write_bytes(records[5].tobytes()[:-1])
    with pytest.raises(DataError, match=r"'test_batch\.bin' is no batch of CIFAR-10"):
        cifar10(root=str(tmp_path / "outer")).load()


@pytest.mark.parametrize("make", [cifar10, california_housing])
def test_damaged_archives_are_named(make: Any, tmp_path: Path) -> None:
    name = "cifar-10-binary.tar.gz" if make is cifar10 else "cal_housing.tgz"
    good = cifar_archive()[0] if make is cifar10 else packed({"other": b"1,2\n"})
    for content in (b"", b"no archive", good[:-100], good[: len(good) // 2]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}' cannot be read|lacks"):
            make(root=str(tmp_path), verify=False).load()
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"put {name} into .*data\.root"):
        make(root=str(tmp_path), download=False).load()


def test_california_housing_has_scikit_learns_columns(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first two rows of the published file, and scikit-learn's documented values of the first.
    rows = (
        b"-122.230000,37.880000,41.000000,880.000000,129.000000,322.000000,126.000000,8.325200,"
        b"452600.000000\n"
        b"-122.220000,37.860000,21.000000,7099.000000,1106.000000,2401.000000,1138.000000,8.301400,"
        b"358500.000000\n"
    )
    server.files["cal_housing.tgz"] = packed({"CaliforniaHousing/cal_housing.data": rows})
    monkeypatch.setenv("DLFRAME_DATA", str(tmp_path))
    examples = california_housing(url=server.url, verify=False).load()
    assert isinstance(examples.x, pd.DataFrame)
    assert examples.y is not None
    expected = [8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23]
    np.testing.assert_allclose(examples.x.iloc[0], expected, rtol=1e-8)
    assert examples.y.tolist() == [4.526, 3.585]
    assert [path.name for path in (tmp_path / "california_housing").iterdir()] == [
        "cal_housing.tgz"
    ]
    with pytest.raises(DataError, match="checksum"):
        california_housing().load()
    server.files["cal_housing.tgz"] = packed({"CaliforniaHousing/cal_housing.data": b"1,2\n3,4\n"})
    with pytest.raises(DataError, match=r"must hold 9 numbers in each row; got the shape \[2, 2\]"):
        california_housing(root=str(tmp_path / "other"), url=server.url, verify=False).load()


def test_california_housing_is_fetched_from_where_scikit_learn_does() -> None:
    from sklearn.datasets import _california_housing as theirs

    data = california_housing()
    source = vars(data)["_source"]
    assert source.urls == {"cal_housing.tgz": [theirs.ARCHIVE.url]}
    assert source.checksums["cal_housing.tgz"].digest == theirs.ARCHIVE.checksum


def test_sha256_and_md5_are_told_by_their_length(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    for name in ("md5", "sha256"):
        assert Checksum(hashlib.new(name, b"text").hexdigest(), "file").matches(tmp_path / "a")
        assert not Checksum(hashlib.new(name, b"test").hexdigest(), "file").matches(tmp_path / "a")


def test_a_download_that_fails_says_where_to_put_the_files(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    data = mnist(root=str(tmp_path / "here"), url=server.url)
    with pytest.raises(DataError, match=r"refused.*; put train-.* into '.*here'.*data\.root"):
        data.load()


def test_only_web_addresses_are_asked() -> None:
    with pytest.raises(ConfigError, match=r"data\.url must start with"):
        mnist(url="file:///etc")
