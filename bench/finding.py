"""How long it takes to find things in a store of 10,000 packages and 1,000,000 files, beside one of a tenth of it.

Each question is asked of both stores, whose answers have the same length, so that both times should be about the same.
The stores stay in DIR, and the next call finds them there: filling takes minutes. Each of 100 jobs has a package a
night. A package has 100 files: a report of its own, and 99 that change every tenth night. Every thousandth package
has a `crash.log` and the metadata `broken`. Two packages of 10,000 files, which differ in 100 of them, come last.

    python -m bench.finding DIR [PACKAGES]
"""

import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path
from time import perf_counter

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore_protocols.package_listing import EntryFilter, PackageFilter
from artifactstore_protocols.records import PackageRecord

PACKAGES = 10_000
JOBS = 100
FILES = 100
LARGE_FILES = 10_000
LARGE_CHANGES = 100
NIGHTS_A_VERSION = 10
CRASHES_EVERY = 1_000
FILLING = 4
"""How many packages are filled at the same time."""

ROUNDS = 5
SHOWN = 10

type Question = Callable[[Registry], Awaitable[int]]


async def fill(registry: Registry, packages: int, trees: Path) -> None:
    """Put what is missing into the store; each package has an idempotency key."""
    there = (await registry.stats()).finalized
    numbers = count(max(0, there - FILLING))  # those that were under way when an earlier call was interrupted

    async def fill_in_turn(tree: Path) -> None:
        for number in numbers:
            if number >= packages:
                return
            night, job = divmod(number, JOBS)
            metadata: dict[str, bool | int] = {"night": night}
            write(tree, FILES, f"{job} {night // NIGHTS_A_VERSION}")
            (tree / "part-0000" / "report.txt").write_text(f"report of package {number}\n")
            if number % CRASHES_EVERY == CRASHES_EVERY - 1:
                metadata["broken"] = True
                (tree / "crash.log").write_text(f"package {number} crashed\n")
            await registry.ingest_tree(
                tree, name=f"job-{job:02}", metadata=metadata, idempotency_key=f"{number}", files_cache=False
            )
            (tree / "crash.log").unlink(missing_ok=True)
            if number % 500 == 0:
                sys.stderr.write(f"{number} of {packages} packages\n")

    async with trio.open_nursery() as nursery:
        for each in range(FILLING):
            nursery.start_soon(fill_in_turn, trees / f"tree-{each}")
    large = trees / "large"
    write(large, LARGE_FILES, "before")
    await registry.ingest_tree(large, name="large-before", idempotency_key="before", files_cache=False)
    for number in range(LARGE_CHANGES):
        (large / f"part-{number:04}" / "file-00.txt").write_text(f"changed {number}\n")
    await registry.ingest_tree(large, name="large-after", idempotency_key="after", files_cache=False)


def write(tree: Path, files: int, version: str) -> None:
    """Write that many files; `report.txt`, which the caller writes, is one of the first hundred."""
    for number in range(files):
        directory = tree / f"part-{number // FILES:04}"
        if number % FILES == 0:
            directory.mkdir(parents=True, exist_ok=True)
        if number != FILES - 1:
            (directory / f"file-{number % FILES:02}.txt").write_text(f"{version}, file {number}\n")


async def questions(registry: Registry) -> dict[str, Question]:
    """Return what is asked, by how a user asks it. The middle of the store is where nothing is newest."""
    middle = (await one(registry, PackageFilter(name="job-50", metadata={"night": 4}))).package_id
    report = await registry.get_file_record(middle, "part-0000/report.txt")

    def packages(where: PackageFilter, limit: int | None = SHOWN) -> Question:
        async def ask(registry: Registry) -> int:
            async with aclosing(registry.list_packages(where, limit=limit)) as found:
                return len([each async for each in found])

        return ask

    def entries(wanted: EntryFilter) -> Question:
        async def ask(registry: Registry) -> int:
            async with aclosing(registry.find(wanted, limit=SHOWN)) as found:
                return len([each async for each in found])

        return ask

    def name(reference: str) -> Question:
        async def ask(registry: Registry) -> int:
            await registry.get_package(reference)
            return 1

        return ask

    def diff(before: str, after: str) -> Question:
        async def ask(registry: Registry) -> int:
            return len(await registry.diff_packages(before, after))

        return ask

    return {
        "package list --limit 10": packages(PackageFilter()),
        "package list --name job-50 --limit 10": packages(PackageFilter(name="job-50")),
        "package list --name 'job-5*' --limit 10": packages(PackageFilter(name="job-5*")),
        "package list --meta broken:=true (1 or 10 packages)": packages(PackageFilter(metadata={"broken": True}), None),
        "find --path part-0000/report.txt --limit 10": entries(EntryFilter(path="part-0000/report.txt")),
        "find --path 'crash*' (1 or 10 files)": entries(EntryFilter(path="crash*")),
        "find --name crash.log (1 or 10 files)": entries(EntryFilter(name="crash.log")),
        "find --name '*.log' (1 or 10 files)": entries(EntryFilter(name="*.log")),
        "find --path '**/*.tar.gz' (no file)": entries(EntryFilter(path="**/*.tar.gz")),
        "find --digest of one file": entries(EntryFilter(digest=report.content_address)),
        "find --digest, SHA-256": entries(EntryFilter(digest=report.sha256)),
        "find --name of no file": entries(EntryFilter(name="nothing.txt")),
        "find --path '**/nothing.txt'": entries(EntryFilter(path="**/nothing.txt")),
        "a package by name": name("job-50"),
        "a package by NAME@{5}": name("job-50@{5}"),
        "a package by the end of its id": name(middle[-10:]),
        "diff of two packages of 100 files": diff("job-50@{1}", "job-50"),
        "diff of two packages of 10,000 files, 100 changes": diff("large-before", "large-after"),
    }


async def one(registry: Registry, where: PackageFilter) -> PackageRecord:
    """Return the only package that a filter lets through."""
    async with aclosing(registry.list_packages(where)) as found:
        [package] = [each async for each in found]
    return package


async def measured(directory: Path, packages: int) -> dict[str, tuple[int, float]]:
    """Return for each question the length of the answer and the median of its times, in seconds."""
    store = directory / f"store-{packages}"
    settings = Settings(database_url=f"sqlite:///{store / 'artifactstore.db'}", storage_local_root=store / "objects")
    async with open_registry(settings) as registry:
        await fill(registry, packages, directory / "trees")
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
    """Fill both stores, ask, and print a table."""
    directory, packages = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else PACKAGES
    small = trio.run(measured, directory, packages // 10)
    large = trio.run(measured, directory, packages)
    sys.stdout.write(
        f"| question | answers | {packages // 10} packages | {packages} packages |\n| --- | --- | --- | --- |\n"
    )
    for question, (length, seconds) in large.items():
        before, before_s = small[question]
        times = f"{1000 * before_s:.1f} ms | {1000 * seconds:.1f} ms"
        sys.stdout.write(f"| `{question}` | {before}, {length} | {times} |\n")


if __name__ == "__main__":
    main()
