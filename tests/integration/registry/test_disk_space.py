"""Disk space comes back: after a collection, the root of the objects is as large as what packages refer to."""

import os
import random
import shutil
from pathlib import Path

import pytest

from artifactstore import Registry, Settings
from artifactstore.testing.backend_conformance import address_of
from integration.registry.samples import paths_in

MIB = 1 << 20
SMALL, LARGE = (1 << 10, 64 << 10), ((64 << 10) + 1, 2 << 20)
ALLOWANCE = 16 * MIB
"""What the issue allows beside 15 %, for the write-ahead log and free pages."""


def plant_round(tree: Path, size_bytes: int, chance: random.Random) -> None:
    """Make files of every size, small ones and large ones each of half of the bytes."""
    for kind, (least, most) in (("small", SMALL), ("large", LARGE)):
        (tree / kind).mkdir(parents=True)
        left, number = size_bytes // 2, 0
        while left > 0:
            size = int(least * (most / least) ** chance.random())
            (tree / kind / f"{number:06}").write_bytes(os.urandom(size))
            left -= size
            number += 1


@pytest.mark.parametrize(
    ("rounds", "size_bytes", "allowance"),
    [
        pytest.param(2, 8 * MIB, MIB, marks=pytest.mark.slow, id="16 MiB"),
        pytest.param(8, 128 * MIB, ALLOWANCE, marks=pytest.mark.soak, id="1 GiB"),
    ],
)
async def test_the_disk_falls_to_what_packages_refer_to(
    registry: Registry, settings: Settings, tmp_path: Path, rounds: int, size_bytes: int, allowance: int
) -> None:
    """One package keeps every fourth file of the others, so that what goes and what stays lie beside each other."""
    chance = random.Random(1)  # noqa: S311 - sizes
    kept, gone = tmp_path / "kept", list[str]()
    for number in range(rounds):
        tree = tmp_path / "tree"
        plant_round(tree, size_bytes, chance)
        gone.append((await registry.ingest_tree(tree, name="gone")).package_id)
        for kind in ("small", "large"):
            (kept / kind / f"{number}").mkdir(parents=True)
            for file in sorted((tree / kind).iterdir())[::4]:
                file.rename(kept / kind / f"{number}" / file.name)
        shutil.rmtree(tree)
    package = (await registry.ingest_tree(kept, name="kept")).package_id
    root = settings.storage_local_root
    before = taken(root)
    assert before > rounds * size_bytes
    for each in gone:
        await registry.delete_package(each, reason="a test", before_expiry=True)
    report = await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)
    assert report.failures == ()

    small, large = (
        {path: path.stat().st_size for path in (kept / kind).rglob("*") if path.is_file()}
        for kind in ("small", "large")
    )
    objects = [path for path in root.glob("blake3/??/??/*") if path.is_file()]
    assert sum(path.stat().st_size for path in objects) == sum(large.values())
    assert {path.name for path in objects} == {address_of(path.read_bytes()).digest.hex for path in large}
    assert {*root.glob("blake3/??/??")} == {path.parent for path in objects}, "empty directories are removed"
    assert taken(root / "small") < 1.15 * sum(small.values()) + MIB
    assert taken(root) < 1.15 * (sum(small.values()) + sum(large.values())) + allowance
    assert len(await paths_in(registry, package)) == len(small) + len(large)
    assert (await registry.verify()).sound
    again = await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)
    assert (again.deleted.objects, again.compacted_bytes) == (0, 0), "nothing is left to do"


def taken(directory: Path) -> int:
    """All bytes of the files below a directory, but for the index that SQLite keeps of its log in memory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and path.suffix != ".db-shm")
