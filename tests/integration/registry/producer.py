"""A process of its own that fills packages; `test_concurrency` starts several of them on one store at once.

Usage: python producer.py DIRECTORY NAME PACKAGES
Says "ready", begins when it is told to by a line on stdin, and prints the manifest digests as JSON.
"""

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import trio

from artifactstore import Registry, Settings, open_registry


async def _chunks(text: str) -> AsyncGenerator[bytes]:
    yield text.encode()


async def _produce(registry: Registry, name: str, digests: dict[str, str]) -> None:
    package = (await registry.create_package(name, idempotency_key=f"create {name}")).package_id
    await registry.ingest_file(package, "own", _chunks(name))
    await registry.ingest_file(package, "dir/shared", _chunks("the same in all of them"))
    digests[name] = (await registry.finalize_package(package)).manifest_digest


async def _main(directory: Path, name: str, packages: int) -> None:
    print("ready", flush=True)  # noqa: T201
    await trio.to_thread.run_sync(sys.stdin.readline)
    settings = Settings(
        database_url=f"sqlite:///{directory / 'artifactstore.db'}", storage_local_root=directory / "objects"
    )
    digests: dict[str, str] = {}
    async with open_registry(settings) as registry, trio.open_nursery() as nursery:
        for number in range(packages):
            nursery.start_soon(_produce, registry, f"{name}-{number}", digests)
    print(json.dumps(digests))  # noqa: T201


if __name__ == "__main__":
    trio.run(_main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
