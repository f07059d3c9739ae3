"""A process whose files may not grow any more for a while: it opens packages until that is refused, and then again.

Usage: python -m integration.processes.full DATABASE_URL OBJECTS    (prints as JSON what was acknowledged and refused)
"""

import json
import resource
import sys
from pathlib import Path

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore_protocols.errors import ArtifactStoreError


async def _until_refused(registry: Registry, acknowledged: list[str]) -> str:
    while True:
        try:
            package = await registry.create_package(f"package {len(acknowledged)}")
        except ArtifactStoreError as error:
            return f"{type(error).__name__}: {error}"
        acknowledged.append(package.package_id)


async def _run(settings: Settings, log: trio.Path) -> dict[str, object]:
    acknowledged: list[str] = []
    async with open_registry(settings) as registry:
        acknowledged.append((await registry.create_package("first")).package_id)
        size_bytes = (await log.stat()).st_size
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes + (256 << 10), unlimited[1]))
        refused = [await _until_refused(registry, acknowledged) for _ in range(2)]
        readable = (await registry.get_package(acknowledged[0])).name
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        acknowledged.append((await registry.create_package("last")).package_id)
        while not (healthy := (await registry.health(max_age_s=0)).healthy):
            pass  # a probe misses its deadline on a busy machine; a store that stays ill never ends this loop
    return {"acknowledged": acknowledged, "refused": refused, "readable": readable, "healthy": healthy}


def main(url: str, objects: str) -> None:
    log = trio.Path(f"{url.removeprefix('sqlite:///')}-wal")
    settings = Settings(database_url=url, storage_local_root=Path(objects))
    print(json.dumps(trio.run(_run, settings, log)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
