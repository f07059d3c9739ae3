"""Fixtures for tests that need a store: an empty one for each test, in a temporary directory.

Write `pytest_plugins = ["artifactstore.testing.fixtures"]` in your `conftest.py`, or run pytest with
`-p artifactstore.testing.fixtures`. This module needs pytest, and `artifactstore_trio_registry` needs pytest-trio.
"""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from artifactstore.blocking import BlockingRegistry
from artifactstore.blocking import open_registry as open_blocking_registry
from artifactstore.config import Settings
from artifactstore.open import open_registry
from artifactstore.places import sqlite_url
from artifactstore.registry import Registry

__all__ = [
    "artifactstore_directory",
    "artifactstore_registry",
    "artifactstore_settings",
    "artifactstore_trio_registry",
]


@pytest.fixture
def artifactstore_directory(tmp_path: Path) -> Path:
    """Return the directory of a store that does not exist yet, as `--store` and fsspec name it."""
    return tmp_path / "artifactstore"


@pytest.fixture
def artifactstore_settings(artifactstore_directory: Path) -> Settings:
    """Return the settings of that store. Neither the environment nor a project file counts."""
    return Settings(
        database_url=sqlite_url(artifactstore_directory / "artifactstore.db"),
        storage_local_root=artifactstore_directory / "objects",
    )


@pytest.fixture
def artifactstore_registry(artifactstore_settings: Settings) -> Generator[BlockingRegistry]:
    """Open that store during the test, for tests without an event loop."""
    with open_blocking_registry(artifactstore_settings) as registry:
        yield registry


@pytest.fixture
async def artifactstore_trio_registry(artifactstore_settings: Settings) -> AsyncGenerator[Registry]:
    """Open that store during the test, for tests that run trio."""
    async with open_registry(artifactstore_settings) as registry:
        yield registry
