"""Many at once, in one process and in several: no error, no gap, no duplicate, and a replay that is identical."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore_protocols import manifest
from artifactstore_protocols.records import FinalizedPackage
from integration.registry import producer
from integration.registry.samples import add, check_sound, objects, plant, quiet, settings_in, temp_files

PRODUCERS = 64
PROCESSES = 4
PACKAGES_PER_PROCESS = 8


@pytest.mark.slow
async def test_64_producers_in_one_process(registry: Registry, settings: Settings, tree: Path) -> None:
    plant(tree, {"shared.txt": b"the same in all of them", "sub/empty": b""})
    finalized: dict[int, FinalizedPackage] = {}

    async def produce(number: int) -> None:
        package = (await registry.create_package(f"p{number}", principal=f"producer {number}")).package_id
        await add(registry, package, "own", b"%d" % number)
        await registry.ingest_directory(package, tree, principal=f"producer {number}")
        finalized[number] = await registry.finalize_package(package)

    async with trio.open_nursery() as nursery:
        for number in range(PRODUCERS):
            nursery.start_soon(produce, number)
    log = await check_sound(registry)
    assert Counter(stored.event.type for stored in log) == {
        "v1.log.created": 1,
        "v1.package.created": PRODUCERS,
        "v1.objects.stored": PRODUCERS + 1,
        "v1.files.ingested": 2 * PRODUCERS,
        "v1.package.finalized": PRODUCERS,
    }
    assert all(package.files == 3 for package in finalized.values())
    assert len({package.manifest_digest for package in finalized.values()}) == PRODUCERS
    assert len(objects(settings)) == PRODUCERS + 2, "what they share is stored once"
    assert (await registry.verify()).objects == PRODUCERS + 2
    await quiet(registry)
    assert temp_files(settings) == []


@pytest.mark.slow
async def test_one_package_filled_by_64_producers(registry: Registry) -> None:
    package = (await registry.create_package("shared")).package_id
    async with trio.open_nursery() as nursery:
        for number in range(PRODUCERS):
            nursery.start_soon(add, registry, package, f"file {number}", b"%d" % number)
    finalized = await registry.finalize_package(package)
    assert finalized.files == PRODUCERS
    listed = manifest.decode(await registry.get_manifest_bytes(package)).files
    assert {file.path for file in listed} == {f"file {number}" for number in range(PRODUCERS)}
    await check_sound(registry)


@pytest.mark.slow
async def test_64_producers_of_the_same_content_store_it_once(registry: Registry, settings: Settings) -> None:
    content = b"everybody writes this at once" * 1000
    packages = [(await registry.create_package(f"p{number}")).package_id for number in range(PRODUCERS)]
    async with trio.open_nursery() as nursery:
        for package in packages:
            nursery.start_soon(add, registry, package, "f", content)
    assert list(objects(settings).values()) == [content]
    assert (await registry.verify()).mismatches == ()
    assert temp_files(settings) == []


@pytest.mark.slow
def test_4_processes_at_once_on_a_store_that_does_not_exist_yet(tmp_path: Path) -> None:
    """First use races too: the first process creates the file, its schema and the storage root."""
    store = tmp_path / "store"
    digests: dict[str, str] = {}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-W",
                        "error",
                        producer.__file__,
                        store,
                        f"process{each}",
                        str(PACKAGES_PER_PROCESS),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for each in range(PROCESSES)
        ]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, err = process.communicate()
            assert (process.returncode, err) == (0, "")
            digests |= json.loads(out)

    async def check() -> None:
        async with open_registry(settings_in(store)) as registry:
            log = await check_sound(registry)
            assert Counter(stored.event.type for stored in log) == {
                "v1.log.created": 1,
                "v1.package.created": PROCESSES * PACKAGES_PER_PROCESS,
                "v1.objects.stored": PROCESSES * PACKAGES_PER_PROCESS + 1,
                "v1.files.ingested": 2 * PROCESSES * PACKAGES_PER_PROCESS,
                "v1.package.finalized": PROCESSES * PACKAGES_PER_PROCESS,
            }
            found = {package.name: package.manifest_digest async for package in registry.list_packages()}
            assert found == digests
            assert (await registry.verify()).objects == PROCESSES * PACKAGES_PER_PROCESS + 1

    assert len(digests) == PROCESSES * PACKAGES_PER_PROCESS
    trio.run(check)
    assert temp_files(settings_in(store)) == []
