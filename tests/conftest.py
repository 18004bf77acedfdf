"""Fixtures of all tests."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Progress bars are drawn for a terminal that can; where the tests run, there may be a dumb one or none.
os.environ["TERM"] = "xterm-256color"
# A shell starts what it runs in the background deaf to Ctrl-C, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LONG = ("test_readme.py", "test_notebooks.py")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets; a test that needs one is skipped where it is missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DLFRAME_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DLFRAME_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(autouse=True)
def _logging_is_left_alone() -> Iterator[None]:
    """A test that sets the root logger up would make later tests print to a stream that is closed."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    assert (root.level, list(root.handlers)) == before, "this test changed the root logger"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: begun at the end, it would leave the other workers idle."""
    items.sort(key=lambda item: item.path.name not in _LONG)
