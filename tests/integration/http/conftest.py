"""A store of one's own, serving HTTP in this process."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from artifactstore import Settings
from integration.http.described import Described, described
from integration.http.serving import Service, serving
from integration.registry.samples import settings_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store that does not exist yet."""
    return settings_in(tmp_path / "store")


@pytest.fixture
async def service(settings: Settings) -> AsyncGenerator[Service]:
    """That store, serving on a free port."""
    async with serving(settings) as service:
        yield service


@pytest.fixture
async def api(service: Service) -> Described:
    """That service, with its OpenAPI document and a token for everything."""
    return await described(service)
