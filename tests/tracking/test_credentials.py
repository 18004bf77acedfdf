"""A store's password must reach the delivery process, and no run's folder."""

import base64
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from tracking_support import end_delivery

from dlframe.tracking.credentials import FILE, kept_apart, with_credentials
from dlframe.tracking.launch import resolve_uri

pytest_plugins = ["tracking_fixtures"]

SECRET = "store-secret-4"


@pytest.mark.parametrize(
    ("uri", "plain"),
    [
        ("postgresql://me:pw@host:5432/db", "postgresql://host:5432/db"),
        ("https://token@host", "https://host"),
        ("https://host/a@b", "https://host/a@b"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_what_is_kept_apart_is_put_in_again(uri: str, plain: str, tmp_path: Path) -> None:
    assert kept_apart(uri, tmp_path) == plain
    assert with_credentials(plain, tmp_path) == uri
    assert resolve_uri(plain, tmp_path) == uri
    assert (tmp_path / FILE).exists() == (uri != plain)


def test_each_address_has_its_own_and_the_last_one_counts(tmp_path: Path) -> None:
    kept_apart("http://a:1@one", tmp_path)
    kept_apart("http://b:2@two", tmp_path)
    kept_apart("http://c:3@one", tmp_path)
    assert with_credentials("http://one", tmp_path) == "http://c:3@one"
    assert with_credentials("http://two", tmp_path) == "http://b:2@two"
    assert with_credentials("http://d:4@two", tmp_path) == "http://d:4@two"
    assert with_credentials("http://three", tmp_path) == "http://three"
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


class Asked(BaseHTTPRequestHandler):
    """A server that is out of service; keeps what it was told of the caller."""

    seen: ClassVar[list[str]] = []
    told = threading.Event()

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.told.set()
        self.send_error(503)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def asked() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


_RECORD = """
import sys
from pathlib import Path
from dlframe.tracking.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), uri=sys.argv[2], experiment="e", run_name=None)
recorder.metrics({"train/loss": 0.5}, 1)
recorder.finish("FINISHED")
"""


def test_the_delivery_process_has_a_password_that_the_runs_folder_has_not(
    root: Path, asked: int
) -> None:
    uri = f"http://me:{SECRET}@127.0.0.1:{asked}"
    subprocess.run([sys.executable, "-c", _RECORD, str(root), uri], timeout=120, check=True)
    assert Asked.told.wait(120)
    assert base64.b64decode(Asked.seen[0].removeprefix("Basic ")).decode() == f"me:{SECRET}"
    end_delivery(root)
    holders = [p.name for p in root.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    assert holders == [FILE]
