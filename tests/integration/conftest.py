"""What integration tests share: a database to work on, of either kind, empty and their own."""

from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings

from artifactstore.database.location import DatabaseLocation
from postgres_server import PostgresServer, running_server

# The same examples in every run, and no deadline that a busy machine could miss.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

__all__ = ["location", "postgres_location", "postgres_server", "sqlite_location"]


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """A PostgreSQL server; each worker of pytest-xdist has one of its own."""
    with running_server() as server:
        yield server


@pytest.fixture
def sqlite_location(tmp_path: Path) -> DatabaseLocation:
    """A SQLite file that does not exist yet, in a directory that does not either."""
    return DatabaseLocation.parse(f"sqlite:///{tmp_path}/var/artifactstore.db")


@pytest.fixture
def postgres_location(postgres_server: PostgresServer) -> Generator[DatabaseLocation]:
    """An empty PostgreSQL database. The test fails if it leaves a connection open."""
    with postgres_server.fresh_database() as url:
        yield DatabaseLocation.parse(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest) -> DatabaseLocation:
    """A database that is empty: every test that takes it runs on both kinds."""
    wanted = "sqlite_location" if request.param == "sqlite" else "postgres_location"
    return cast("DatabaseLocation", request.getfixturevalue(wanted))
