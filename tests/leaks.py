"""Names the line that opened what a test leaked: a file, a socket or a connection.

Only where NAME_LEAKS is set, because it takes time and memory: `NAME_LEAKS=1 make test`.
"""

import gc
import os
import tracemalloc
from collections.abc import Generator

import pytest

__all__ = ["leaks_are_named"]

_FRAMES = 5


@pytest.fixture(scope="module", autouse=True)
def leaks_are_named() -> Generator[None]:
    """Let the report of a leak in this module say where the object was made."""
    if not os.environ.get("NAME_LEAKS"):
        yield
        return
    tracemalloc.start(_FRAMES)
    yield
    gc.collect()  # reports what is left while its line is known
    tracemalloc.stop()
