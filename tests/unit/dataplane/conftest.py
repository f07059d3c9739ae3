from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from artifactstore.dataplane import open_local_data_plane
from artifactstore_protocols.dataplane import DataPlane


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
async def plane(root: Path) -> AsyncIterator[DataPlane]:
    async with open_local_data_plane(root) as plane:
        yield plane
