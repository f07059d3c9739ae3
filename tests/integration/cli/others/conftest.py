"""A directory that other users may pass through; pytest closes its own, whenever it starts anywhere on the machine."""

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Generator[Path]:
    """A directory that is open to everybody, and gone with the test."""
    directory = Path(tempfile.mkdtemp()).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
