"""Processes that fill packages while others finalize them, all at once.

Usage: python -m integration.processes.finalizing DATABASE_URL OBJECTS PACKAGE_ID…

Prints as JSON what each process was told: fillers, for each package, which files are in it; finalizers, its manifest.
"""

import json
import multiprocessing
import sys
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore_protocols.event_types import FILES_INGESTED
from artifactstore_protocols.packages import PackageChanged, PackageFinalizedAlready
from integration.registry.samples import add

_FORK = multiprocessing.get_context("fork")
_FILLERS, _FINALIZERS = 3, 2
_GUARD_S = 120
_FILES_MIN, _FILES_MAX = 8, 24
"""How many files a package has before it is finalized, and the most that a filler puts in, so that there is an end."""

type _Work = Callable[[Registry, str, int], Awaitable[object]]


async def _fill(registry: Registry, package_id: str, number: int) -> object:
    acknowledged: list[str] = []
    try:
        for file in range(_FILES_MAX):
            path = f"{number}/{file}"
            await add(registry, package_id, path, path.encode())
            acknowledged.append(path)
    except PackageFinalizedAlready:
        pass
    return acknowledged


async def _finalize(registry: Registry, package_id: str, _number: int) -> object:
    async with registry.tail_events() as tail:
        files = 0
        async for stored in tail:
            files += (stored.event.subject, stored.event.type) == (package_id, FILES_INGESTED.name)
            if files == _FILES_MIN:
                break
    while True:
        try:
            return (await registry.finalize_package(package_id)).manifest_digest
        except PackageChanged:
            continue


def _be(
    work: _Work,
    number: int,
    settings: Settings,
    package_ids: list[str],
    start: Barrier,
    told: "SimpleQueue[tuple[str, list[object]]]",
) -> None:
    async def run() -> None:
        async with open_registry(settings) as registry:
            await trio.to_thread.run_sync(start.wait, _GUARD_S)
            told.put((work.__name__, [await work(registry, package_id, number) for package_id in package_ids]))

    trio.run(run)


def main(url: str, objects: str, *package_ids: str) -> None:
    settings = Settings(database_url=url, storage_local_root=Path(objects))
    works: Sequence[_Work] = [*[_fill] * _FILLERS, *[_finalize] * _FINALIZERS]
    start = _FORK.Barrier(len(works))
    told: SimpleQueue[tuple[str, list[object]]] = _FORK.SimpleQueue()
    processes = [
        _FORK.Process(target=_be, args=(work, number, settings, list(package_ids), start, told))
        for number, work in enumerate(works)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a process failed")
    answers = [told.get() for _ in processes]
    report = {
        work: [answer for name, answer in answers if name == work] for work in (_fill.__name__, _finalize.__name__)
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
