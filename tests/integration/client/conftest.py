"""A store of one's own that serves HTTP in this process, and a client of it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from artifactstore import Settings
from artifactstore.client import RemoteRegistry, connect
from integration.http.serving import Service, serving
from integration.registry.samples import plant, settings_in

FILES = {
    "bin/run.sh": b"#!/bin/sh\n",
    "data/report.json": b'{"ok": true}\n',
    "data/empty": b"",
    "big": b"0123456789" * 300_000,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store that does not exist yet."""
    return settings_in(tmp_path / "store")


@pytest.fixture
async def service(settings: Settings, tmp_path: Path) -> AsyncGenerator[Service]:
    """A service with packages in every state, a tag, a hold, links and an empty directory."""
    tree = plant(tmp_path / "tree", FILES)
    (tree / "bin/run.sh").chmod(0o755)
    (tree / "to-report").symlink_to("data/report.json")
    (tree / "loop").symlink_to("loop")
    (tree / "none").mkdir()
    async with serving(settings) as service:
        registry = service.registry
        await registry.ingest_tree(tree, name="nightly", metadata={"branch": "main", "build": 412}, principal="ci")
        (tree / "data/report.json").write_bytes(b'{"ok": false}\n')
        (tree / "data/empty").rename(tree / "data/renamed")
        second = await registry.ingest_tree(tree, name="nightly", metadata={"branch": "main"})
        await registry.set_tag("release", second.package_id, protect=True)
        await registry.place_hold(second.package_id, reason="an audit")
        gone = await registry.ingest_tree(tree, name="old")
        await registry.delete_package(gone.package_id, reason="a test", before_expiry=True)
        child = await registry.create_package("open one", parents=[second.package_id])
        await registry.annotate_package(child.package_id, {"note": {"deep": [1, "two"]}})
        yield service


@pytest.fixture
async def remote(service: Service) -> AsyncGenerator[RemoteRegistry]:
    """A client of that service, with a token for everything."""
    secret = await service.registry.create_token("all", scopes=("read", "admin"))
    async with connect(service.url, str(secret)) as remote:
        yield remote
