"""Ingests, deletions, collections, readers and a backup at once, killed at random: every kept package is whole."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.testing.backend_conformance import address_of
from artifactstore_protocols.collection import ObjectTotals
from integration.processes.life_storm import content_at, paths_of
from integration.registry.samples import check_sound, content_of, settings_in, temp_files
from stored_objects import objects_in


def storm(settings: Settings, directory: Path, turns: int, seconds: int) -> dict[str, Any]:
    """Run a storm; return what it saw."""
    places = (settings.database_url, str(settings.storage_local_root), str(directory))
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "integration.processes.life_storm",
            *places,
            str(turns),
            str(seconds),
            "1",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


async def check_packages(registry: Registry, seen: dict[str, Any]) -> set[str]:
    """Every package is whole or gone, as its deletion was answered; return the contents of those that are whole."""
    held = set[str]()
    for package, (number, turn) in seen["packages"].items():
        is_gone = (await registry.get_package(package)).is_gone
        assert is_gone == (package in seen["deleted"]) or package in {*seen["deleting"]} - {*seen["deleted"]}
        if is_gone:
            continue
        assert {file.path for file in await registry.list_files(package)} == paths_of(number, turn)
        for path in paths_of(number, turn):
            assert await content_of(registry, package, path) == content_at(path)
            held.add(address_of(content_at(path)).digest.hex)
    return held


@pytest.mark.parametrize(
    ("turns", "seconds"), [(4, 3600), pytest.param(1_000_000, 120, marks=pytest.mark.soak)], ids=["sample", "whole"]
)
async def test_a_storm_leaves_every_package_whole_and_nothing_else(
    location: DatabaseLocation, tmp_path: Path, turns: int, seconds: int
) -> None:
    url = location.url.render_as_string(hide_password=False)
    settings = Settings(database_url=url, storage_local_root=tmp_path / "objects")
    seen = storm(settings, tmp_path, turns, seconds)
    happened = seen["happened"]
    assert happened["killed"] > 0
    assert min(happened[each] for each in ("read", "collected", "backed up")) > 0
    assert seconds < 3600 or happened["ingested"] == 4 * turns, "every ingest ended"
    async with open_registry(settings) as registry:
        held = await check_packages(registry, seen)
        # A package whose ingest nobody was told about may be there: its successor did not come to repeat the turn.
        async for package in registry.list_packages():
            held |= {file.content_address.partition(":")[2] for file in await registry.list_files(package.package_id)}
        report = await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)
        assert report.failures == ()
        assert sorted(name.partition(".")[0] for name in objects_in(settings.storage_local_root)) == sorted(held)
        preview = await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0, dry_run=True)
        assert (preview.orphans, preview.late, preview.retired) == (ObjectTotals(), ObjectTotals(), ObjectTotals())
        assert (await registry.verify()).sound
        await check_sound(registry)
        assert temp_files(settings) == []
        assert (await registry.backup(tmp_path / "backup")).flaws.missing_objects == 0
    async with open_registry(settings_in(tmp_path / "restored")) as registry:
        assert (await registry.restore(tmp_path / "backup")).flaws.missing_objects == 0
        await check_packages(registry, seen)
