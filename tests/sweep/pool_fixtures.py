"""One pool of warm processes for all tests, since its server takes seconds to import torch."""

from collections.abc import Iterator

import pytest

from dlframe.sweep.pool import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Give a pool whose trials have one thread, and two seconds to stop in order."""
    with Pool(threads=1, grace=2.0) as made:
        yield made
