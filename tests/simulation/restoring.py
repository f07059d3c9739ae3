"""A store that is lost and restored: its log is imported into a new database, beside a copy of its objects.

The restored store then lives on for long: what nothing keeps expires, and collections give its room back.
"""

from contextlib import aclosing
from typing import Final

from artifactstore.backends.root_marker import MARKER
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.retention import is_permanent
from artifactstore_protocols.unfinished_import import ImportRun, LogEnd, UnfinishedImport
from simulation.judge import Judge, address_of
from simulation.log import SimulatedLog
from simulation.posix import OBJECTS, SimulatedPosix
from simulation.process import Running
from simulation.store import SimulatedEventStore
from simulation.world import Life, World

__all__ = ["collect_all", "live_on", "restore"]

_EVENTS_MAX: Final = 7
"""The most events that are imported at once."""

_LATER_US: Final = 40 * 365 * 86_400_000_000
"""Longer than any retention that ends."""


async def restore(world: World, log: SimulatedLog, posix: SimulatedPosix, judge: Judge) -> SimulatedLog:
    """Import a log into a new database, whose store has the objects in a root of its own; the judge looks at it."""
    restored = SimulatedLog(world, log.nursery)
    store = SimulatedEventStore(world, restored, Life(0, 0))
    await store.open()
    end = LogEnd(log.head(), log.events[-1].event.event_id)
    run = ImportRun("a backup", 0, UnfinishedImport(end, "restore"))
    while restored.head() < log.head():
        count = world.random.randint(1, _EVENTS_MAX)
        await store.import_events(log.events[restored.head() :][:count], run)
    await store.close()
    judge.require(restored.tables.digest() == log.tables.digest(), "what was restored differs from what was there")
    posix.disk.remove(f"{OBJECTS}/{MARKER}")
    judge.look_at(restored)
    return restored


async def live_on(running: Running, world: World, judge: Judge) -> None:
    """Forty years later, only what is held or permanent is there, and it is whole."""
    registry = running.registry
    world.clock_ahead_us += _LATER_US
    await registry.confirm_clock()
    async with aclosing(registry.expire_packages(dry_run=True)) as due:
        count = len([each async for each in due])
    async with aclosing(registry.expire_packages(yes_expire=count)) as expired:
        gone = {each.package_id async for each in expired}
    judge.require(len(gone) == count, "of", count, "packages that were due, these went:", gone)
    await collect_all(running, judge)
    async with aclosing(registry.list_packages()) as packages:
        async for package in packages:
            kept = package.package_id in judge.watch.held() or is_permanent(package.retention_class)
            judge.require(kept, package.package_id, "did not expire, and nothing keeps it")
            for file in await registry.list_files(package.package_id):
                if file.kind == "file":
                    async with registry.get_file(package.package_id, file.path) as stream:
                        content = b"".join([chunk async for chunk in stream])
                    is_whole = address_of(content) == file.content_address
                    judge.require(is_whole, file.path, "of", package.package_id, "is not whole")


async def collect_all(running: Running, judge: Judge) -> None:
    """Two collections leave exactly what packages need."""
    for _ in range(2):
        try:
            report = await running.registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)
        except ArtifactStoreError as error:
            judge.require(False, "a collection failed:", repr(error))
            return
        judge.require(not report.failures, "a collection failed:", report.failures)
    judge.watch.must_be_exact()
