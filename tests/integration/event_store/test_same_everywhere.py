"""The same commands have equal outcomes, the same log byte for byte and one projection digest in every store."""

from hashlib import sha256
from itertools import batched

import pytest
import trio

from artifactstore.database.location import DatabaseLocation
from artifactstore.ingest.finalizing import build_manifest
from artifactstore_protocols.commands import Command, FinalizePackage, OnExisting, RegisterMetadataSchema
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.event_types import FilesIngested
from artifactstore_protocols.events import Committed, encode_record
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.paths import tree_order
from artifactstore_protocols.records import ReplayReport
from artifactstore_protocols.retention import RETENTION_CLASSES
from command_strategies import created, found, ingest, ingested, package_id_of
from database_tools import ACTOR, EPOCH_US, Scribe
from event_stores import SimulatedStores, SqlStores, Stores, log_of
from memory_log import MemoryLog
from story import STORY

EVENTS = 10_000
PACKAGES = 40
FILES = 241
"""Together with what else happens to a package, a little more than its share of the events, at one or two a file."""

# Bytewise: "B" < "Z" < "_" < "a" < "b" < "z" < "ä" < "😀"; no natural language sorts them so.
NAMES = ["a", "B", "b", "ä", "Z", "z", "_", "a b", "a-b", "ab", "😀", "\uffee", "ß", "ss", "İ", "i"]


async def _tell_of_a_package(number: int, store: EventStore, scribe: Scribe) -> None:
    """Open it, fill it in several ways, find flaws in it and repair them; finalize every other one."""
    retention = list(RETENTION_CLASSES)[number % len(RETENTION_CLASSES)]
    command = created(number, name=NAMES[number % 16], retention_class=retention, metadata={"n": f"{number}"})
    await scribe.tell(command)
    files = [
        ingested(f"{NAMES[i % 16]}/{i}", f"content {i % 97} of {number % 7}".encode(), executable=i % 3 == 0)
        for i in range(FILES)
    ]
    requests = [scribe.ask(ingest(file, package=number)) for file in files]
    for some in batched(requests, 40):
        await scribe.send(*some, files_per_package_max=FILES)
    again = [ingested(file.entry.path, f"replaced in {number}".encode()) for file in files[:4]]
    replaced = ingest(*again, package=number, on_existing=OnExisting.REPLACE)
    flawed = found((f"replaced in {number}".encode(), "damaged"))
    repaired = ingested("repaired", f"replaced in {number}".encode(), generation=2)
    await scribe.send(scribe.ask(replaced), scribe.ask(flawed), files_per_package_max=FILES)
    await scribe.send(scribe.ask(ingest(repaired, package=number)), files_per_package_max=FILES + 1)
    await scribe.tell(RegisterMetadataSchema(NAMES[number % 16], f'{{"minLength":{number}}}'))
    if number % 2:
        contents = await store.contents(package_id_of(number))
        payload, summary = build_manifest(contents, principal=ACTOR, finalized_at_us=EPOCH_US)
        await scribe.tell(FinalizePackage(package_id_of(number), contents.package.version, payload, summary))


async def _keep(stores: Stores) -> tuple[ReplayReport, str, list[str]]:
    """Write the log; what a replay of it says, a digest over its records, and paths in the order of the store."""
    async with stores.opened() as store:
        scribe = Scribe(store)
        for number in range(1, PACKAGES + 1):
            await _tell_of_a_package(number, store, scribe)
        records = sha256(b"".join(encode_record(stored.event) for stored in await log_of(store)))
        paths = [file.path for file in (await store.files(package_id_of(1)))[1]]
        return await store.replay(rebuild=False), records.hexdigest(), paths


@pytest.fixture
def kept_in(
    nursery: trio.Nursery, sqlite_location: DatabaseLocation, postgres_location: DatabaseLocation
) -> dict[str, Stores]:
    return {
        "simulated": SimulatedStores(nursery),
        "SQLite": SqlStores(sqlite_location),
        "PostgreSQL": SqlStores(postgres_location),
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, len(STORY)])
async def test_batches_have_equal_outcomes_and_one_digest_wherever_they_are_kept(
    kept_in: dict[str, Stores], size: int
) -> None:
    """Files, links, empty directories, replaced entries, a directory that is no longer empty, and refusals."""
    memory = MemoryLog()
    commands: list[Command] = []
    for step in STORY:
        commands.append(memory.command(step))
        memory.commit(commands[-1])
    answers: dict[str, list[Committed | str]] = {}
    for where, stores in kept_in.items():
        async with stores.opened() as store:
            scribe = Scribe(store)
            outcomes: list[CommandOutcome] = []
            for batch in batched(commands, size):
                outcomes += await scribe.send(*map(scribe.ask, batch))
            report = await store.replay(rebuild=False)
            assert report.identical
            assert report.projection_digest == str(ContentAddress(memory.views.digest()))
            answers[where] = [each if isinstance(each, Committed) else repr(each) for each in outcomes]
    assert answers["SQLite"] == answers["PostgreSQL"] == answers["simulated"]
    written = [stored for answer in answers["SQLite"] if isinstance(answer, Committed) for stored in answer.events]
    assert [stored.event.payload for stored in written] == [stored.event.payload for stored in memory.events[1:]]
    payloads = [stored.decode() for stored in written]
    ingests = [payload for payload in payloads if isinstance(payload, FilesIngested)]
    assert {entry.kind for payload in ingests for entry in payload.entries} == {"file", "link", "directory"}
    assert any(payload.replaced and payload.removed for payload in ingests)


@pytest.mark.slow
async def test_ten_thousand_events_give_one_digest_wherever_they_are_kept(kept_in: dict[str, Stores]) -> None:
    kept = {where: await _keep(stores) for where, stores in kept_in.items()}
    report, _records, paths = kept["simulated"]
    assert report.identical
    assert paths == sorted(paths, key=tree_order)
    assert report.events >= EVENTS
    assert kept["SQLite"] == kept["PostgreSQL"] == kept["simulated"]
