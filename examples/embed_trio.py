"""Embed a store in a trio program: as a child of its nursery, written to and watched at the same time.

Run me: python embed_trio.py
It makes a store below ./trio-store, finalizes a package of streamed results, and prints each event as it happens.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import trio

from artifactstore import Registry, Settings, open_registry, run_registry

SETTINGS = Settings(database_url="sqlite:///trio-store/log.db", storage_local_root=Path("trio-store/objects"))


async def measure(samples: int) -> AsyncGenerator[bytes]:
    """Bytes that come into being while they are stored: nothing holds all of them."""
    for number in range(samples):
        await trio.lowlevel.checkpoint()
        yield b"sample %d\n" % number


async def watch(registry: Registry, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Print events until a package is finalized. A tail misses none, whenever it begins."""
    since = events[-1].sequence if (events := await registry.read_events()) else 0
    async with registry.tail_events(since) as tail:
        task_status.started()
        async for stored in tail:
            print(f"  event {stored.sequence}: {stored.event.type}")
            if stored.event.type == "v1.package.finalized":
                return


async def produce(registry: Registry) -> str:
    """Fill a package from two tasks at once, and finalize it."""
    package = (await registry.create_package("measurements", retention="short", principal="embed_trio")).package_id
    async with trio.open_nursery() as producers:
        for name, samples in (("first.log", 1000), ("second.log", 10)):
            producers.start_soon(registry.ingest_file, package, name, measure(samples))
    finalized = await registry.finalize_package(package, principal="embed_trio")
    print(f"finalized {finalized.files} files, {finalized.bytes} bytes: {finalized.tree_digest}")
    return package


async def main() -> None:
    async with trio.open_nursery() as nursery:
        # The store runs as a child: cancelling the nursery stops it in order, and what was acknowledged is kept.
        registry: Registry = await nursery.start(run_registry, SETTINGS)
        async with trio.open_nursery() as work:
            await work.start(watch, registry)
            package = await produce(registry)
        nursery.cancel_scope.cancel()

    # Or as a block, which is the way to choose where the store is one step among others.
    async with open_registry(SETTINGS) as registry, registry.get_file(package, "second.log") as chunks:
        print("read again:", b"".join([chunk async for chunk in chunks]).split(b"\n")[0].decode())


if __name__ == "__main__":
    trio.run(main)
