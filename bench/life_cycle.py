"""How long it takes to explain, count and list what is kept, what goes and what takes space, as a store grows.

Each question is asked of a store of 1,000 packages and 1,000,000 files, and of one of a tenth of it, on SQLite and on
PostgreSQL. The answers have the same length, so that both times should be about the same. The packages are real; all
but one of the 1,000 files of each are rows that SQL makes, so they have no bytes. The first half of the files of a
package are its own, and ten packages share the second half. Ten packages are due, ten expire tomorrow, and ten are
deleted. For each package, 100 further objects were condemned two days ago; 1,000 were within the last hour.

    python -m bench.life_cycle DIR [PACKAGES]
"""

import asyncio
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from string import Template
from time import perf_counter, time_ns
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore.database import engines
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.package_listing import PackageFilter
from postgres_server import running_server

PACKAGES: Final = 1_000
FILES: Final = 1_000
A_NAME: Final = 10
SOME: Final = 10
WAITING: Final = 1_000
CONDEMNED_A_PACKAGE: Final = 100
ROUNDS: Final = 5
_FILLING: Final = 8

type Question = Callable[[Registry], Awaitable[int]]


async def make_packages(registry: Registry, packages: int) -> None:
    """Make finalized packages of one small file, each name ten times."""

    async def make(numbers: range) -> None:
        for number in numbers:
            package = await registry.create_package(f"job-{number // A_NAME:03}", idempotency_key=f"{number}")
            await registry.ingest_file(package.package_id, "own", _stream(b"%d" % number), replace=True)
            await registry.finalize_package(package.package_id)

    async with trio.open_nursery() as nursery:
        for first in range(_FILLING):
            nursery.start_soon(make, range(first, packages, _FILLING))


async def _stream(content: bytes) -> AsyncGenerator[bytes]:
    yield content


_NUMBERS: Final = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $total)"
_STATEMENTS: Final = (
    "INSERT INTO contents $numbers SELECT $digest, 'blake3', $digest, 1000, 0, 1 FROM numbers",
    # The content of file i of package p is its own, or that of the first of ten packages.
    """
    INSERT INTO artifact_files WITH RECURSIVE files(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM files WHERE i < 999),
      ranks AS (SELECT row_number() OVER (ORDER BY created_sequence) - 1 AS p, created_sequence FROM artifact_packages),
      entries AS (SELECT created_sequence, i,
        (CASE WHEN i < 500 THEN p ELSE (p / 10) * 10 END) * 1000 + i + 1 AS n FROM ranks, files)
    SELECT created_sequence, 'part/file-' || i || '.txt', NULL, 0, 0, 'text/plain', $digest, NULL, 1 FROM entries
    """,
    """
    INSERT INTO storage_locations $numbers
    SELECT $digest, 'local', 'blake3/' || substr($hex, 1, 2) || '/' || substr($hex, 3, 2) || '/' || $hex, 0, 0,
      CASE WHEN n <= $own THEN 'live' ELSE 'condemned' END, 'intact', $now,
      CASE WHEN n <= $own THEN NULL WHEN n <= $older THEN $now - 2 * $day ELSE $now END,
      CASE WHEN n <= $own THEN NULL ELSE 'replaced' END, 1, 1 FROM numbers
    """,
    """
    UPDATE contents SET reference_count =
      (SELECT count(*) FROM artifact_files WHERE artifact_files.digest_primary = contents.digest_primary)
    """,
    "UPDATE artifact_packages SET file_count = 1000, total_bytes = 1000000, stored_bytes = 500000",
    """
    UPDATE store_totals SET files = $own, total_bytes = 1000 * CAST($own AS bigint), objects = $total,
      object_bytes = 1000 * CAST($total AS bigint), condemned = $total - $own, condemned_bytes = 1000 * ($total - $own)
    """,
    """
    UPDATE retention_state SET expires_at = $now - $day WHERE package_id IN
      (SELECT package_id FROM artifact_packages ORDER BY created_sequence LIMIT 10 OFFSET 10)
    """,
    """
    UPDATE retention_state SET expires_at = $now + $day WHERE package_id IN
      (SELECT package_id FROM artifact_packages ORDER BY created_sequence LIMIT 10 OFFSET 20)
    """,
    "ANALYZE",
)
_DIGESTS: Final = {
    "sqlite": ("CAST(printf('%032d', n) AS BLOB)", "lower(hex(CAST(printf('%032d', n) AS BLOB)))"),
    "postgresql": (
        "convert_to(lpad(n::text, 32, '0'), 'UTF8')",
        "encode(convert_to(lpad(n::text, 32, '0'), 'UTF8'), 'hex')",
    ),
}


async def fill(url: str, packages: int) -> None:
    """Add the rows of the other files, the condemned objects, and the ends of retention."""
    own = packages * FILES
    older = own + packages * CONDEMNED_A_PACKAGE
    numbers = {"own": own, "older": older, "total": older + WAITING, "now": time_ns() // 1000, "day": 86_400_000_000}
    engine = engines.writer_engine(DatabaseLocation.parse(url))
    async with engine.begin() as connection:
        digest, hexed = _DIGESTS[connection.dialect.name]
        for statement in _STATEMENTS:
            sql = statement.replace("$numbers", _NUMBERS)
            await connection.exec_driver_sql(Template(sql).substitute(digest=digest, hex=hexed, **numbers))
    await engine.dispose()


async def questions(registry: Registry) -> dict[str, Question]:
    """Return what is asked, by how a user asks it."""
    async with aclosing(registry.list_packages(PackageFilter(name="job-003"))) as found:
        package = [each async for each in found][-1].package_id

    async def explain(registry: Registry) -> int:
        return len((await registry.explain_retention(package)).reasons)

    async def expiring(registry: Registry) -> int:
        async with aclosing(registry.list_retention(expiring_within="7d")) as found:
            return len([each async for each in found])

    async def expire(registry: Registry) -> int:
        async with aclosing(registry.expire_packages(dry_run=True)) as found:
            return len([each async for each in found])

    async def collect(registry: Registry) -> int:
        report = await registry.collect_garbage(dry_run=True)
        return sum(totals.objects > 0 for totals in (report.waiting, report.condemned)) + bool(report.entries)

    async def stats(registry: Registry) -> int:
        return len([await registry.stats()])

    async def usage(name: str | None, registry: Registry) -> int:
        return len(await registry.disk_usage(name))

    async def unique(registry: Registry) -> int:
        return len([await registry.unique_usage([package])])

    return {
        "retention explain": explain,
        "retention list --expiring-within 7d": expiring,
        "expire --dry-run": expire,
        "gc --dry-run": collect,
        "stats": stats,
        "du job-003": partial(usage, "job-003"),
        "du": partial(usage, None),
        "du --unique of a package of 1,000 files": unique,
    }


async def measured(directory: Path, url: str, packages: int) -> dict[str, tuple[int, float]]:
    """Return for each question the length of the answer and the median of its times, in seconds."""
    settings = Settings(database_url=url, storage_local_root=directory / "objects")
    async with open_registry(settings) as registry:
        if not (await registry.stats()).packages:
            await make_packages(registry, packages)
            await trio.to_thread.run_sync(asyncio.run, fill(url, packages))
            async with aclosing(registry.list_packages(limit=SOME)) as latest:
                for each in [package async for package in latest]:
                    await registry.delete_package(each.package_id, reason="bench", before_expiry=True)
        found = dict[str, tuple[int, float]]()
        for question, ask in (await questions(registry)).items():
            times_s = list[float]()
            length = 0
            for _ in range(ROUNDS):
                began = perf_counter()
                length = await ask(registry)
                times_s.append(perf_counter() - began)
            found[question] = length, statistics.median(times_s)
    return found


def main() -> None:
    """Fill the stores, ask, and print a table."""
    directory, packages = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else PACKAGES
    sizes = packages // 10, packages
    with running_server() as server:
        found = list[dict[str, tuple[int, float]]]()
        for number in sizes:
            store = directory / f"store-{number}"
            store.mkdir(parents=True, exist_ok=True)
            found.append(trio.run(measured, store, f"sqlite:///{store / 'artifactstore.db'}", number))
            with server.fresh_database() as url:
                found.append(trio.run(measured, directory / f"objects-{number}", url, number))
    columns = [f"{name}, {number * FILES:,} files" for number in sizes for name in ("SQLite", "PostgreSQL")]
    sys.stdout.write("| question | " + " | ".join(columns) + " |\n" + "| --- " * (len(columns) + 1) + "|\n")
    for question in found[0]:
        times = " | ".join(f"{1000 * each[question][1]:.1f} ms" for each in found)
        sys.stdout.write(f"| `{question}` ({', '.join(str(each[question][0]) for each in found)}) | {times} |\n")


if __name__ == "__main__":
    main()
