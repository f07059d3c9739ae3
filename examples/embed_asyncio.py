"""Embed a store in an asyncio program: several uploads at once, one that is given up, and what is left of it.

Run me: python embed_asyncio.py
It makes a store below ./asyncio-store. The store runs in a thread of its own; this program's loop stays as it is.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from artifactstore import Settings
from artifactstore.aio import AsyncioRegistry, open_registry

SETTINGS = Settings(database_url="sqlite:///asyncio-store/log.db", storage_local_root=Path("asyncio-store/objects"))


async def upload(content: bytes) -> AsyncGenerator[bytes]:
    """Like a request's body: chunks that this loop reads from somewhere."""
    for start in range(0, len(content), 4096):
        await asyncio.sleep(0)
        yield content[start : start + 4096]


async def endless(begun: asyncio.Event) -> AsyncGenerator[bytes]:
    """Yield one chunk of an upload, and then wait for ever, as for a client that sleeps."""
    yield b"some bytes, and then none"
    begun.set()
    await asyncio.Event().wait()


async def give_up(registry: AsyncioRegistry, package: str) -> None:
    """Cancel an upload. When the cancelled task has ended, nothing of it runs any more, and nothing is half stored."""
    begun = asyncio.Event()
    task = asyncio.create_task(registry.ingest_file(package, "never.bin", endless(begun)))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    print("given up, and in the package:", [file.path for file in await registry.list_files(package)])


async def main() -> None:
    async with open_registry(SETTINGS) as registry:
        package = (await registry.create_package("uploads", principal="embed_asyncio")).package_id
        async with asyncio.TaskGroup() as uploads:
            for number in range(5):
                content = bytes([number]) * 100_000
                path = f"upload-{number}.bin"
                uploads.create_task(registry.ingest_file(package, path, upload(content), principal="embed_asyncio"))
        await give_up(registry, package)
        finalized = await registry.finalize_package(package, principal="embed_asyncio")
        print(f"finalized {finalized.files} files, {finalized.bytes} bytes: {finalized.tree_digest}")
        async for entry in registry.history(package):
            print(f"  {entry.sequence}: {entry.type} by {entry.principal}")


if __name__ == "__main__":
    asyncio.run(main())
