"""A store of one's own: settings in a temporary directory, and a registry that is open for the test."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, open_registry
from integration.registry.samples import settings_in
from leaks import leaks_are_named

__all__ = ["leaks_are_named", "registry", "settings", "tree"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store that does not exist yet."""
    return settings_in(tmp_path / "store")


@pytest.fixture
async def registry(settings: Settings) -> AsyncGenerator[Registry]:
    """That store, open."""
    async with open_registry(settings) as registry:
        yield registry


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory to ingest."""
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree
