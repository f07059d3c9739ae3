"""Processes that finalize what others are filling: the manifest holds what was acknowledged, all of it and no more."""

import json
import subprocess
import sys
from pathlib import Path

import trio

from artifactstore import Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols import manifest
from integration.registry.samples import check_sound

PACKAGES = 2


def test_a_manifest_holds_exactly_what_was_acknowledged(location: DatabaseLocation, tmp_path: Path) -> None:
    url = location.url.render_as_string(hide_password=False)
    settings = Settings(database_url=url, storage_local_root=tmp_path / "objects")

    async def open_packages() -> list[str]:
        async with open_registry(settings) as registry:
            return [(await registry.create_package(f"package {number}")).package_id for number in range(PACKAGES)]

    package_ids = trio.run(open_packages)
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "integration.processes.finalizing",
            url,
            tmp_path / "objects",
            *package_ids,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)

    async def check() -> None:
        async with open_registry(settings) as registry:
            await check_sound(registry)
            assert (await registry.verify()).sound
            for number, package_id in enumerate(package_ids):
                payload = await registry.get_manifest_bytes(package_id)
                digest = f"blake3:{manifest.manifest_digest(payload).hex}"
                assert {manifests[number] for manifests in told["_finalize"]} == {digest}
                acknowledged = [path for files in told["_fill"] for path in files[number]]
                assert sorted(acknowledged) == [file.path for file in manifest.decode(payload).files]

    trio.run(check)
