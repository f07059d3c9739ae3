"""A store of one's own for fsspec, closed after the test. Without the group `examples`, these tests are skipped."""

from collections.abc import Generator
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the dependency group examples is not installed")

from artifactstore.config import Settings
from artifactstore.fsspec import ArtifactStoreFileSystem
from integration.filesystem.stores import store_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a store that does not exist yet."""
    return store_in(tmp_path / "store")


@pytest.fixture
def fs(tmp_path: Path) -> Generator[ArtifactStoreFileSystem]:
    """The file system of that store."""
    yield ArtifactStoreFileSystem(store=str(tmp_path / "store"))
    ArtifactStoreFileSystem.clear_instance_cache()
