"""One log of 10,000 events is the same, byte for byte, and gives one projection digest wherever it is kept."""

from hashlib import sha256

import pytest
import trio

from artifactstore.database.location import DatabaseLocation
from artifactstore.ingest.sealing import build_manifest
from artifactstore_protocols.commands import (
    FinalizePackage,
    FlagObject,
    FlagObjects,
    OnExisting,
    RegisterMetadataSchema,
)
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import encode_record
from artifactstore_protocols.records import ReplayReport
from artifactstore_protocols.retention import RETENTION_CLASSES
from command_strategies import BACKEND_ID, Ids, address_of, created, ingest, ingested, package_id_of
from database_tools import ACTOR, EPOCH_US, Scribe
from event_stores import SimulatedStores, SqlStores, Stores, log_of

pytestmark = pytest.mark.slow

EVENTS = 10_000
PACKAGES = 40
FILES = 241
"""Together with what else happens to a package, a little more than its share of the events."""

# Bytewise: "B" < "Z" < "_" < "a" < "b" < "z" < "ä" < "😀"; no natural language sorts them so.
NAMES = ["a", "B", "b", "ä", "Z", "z", "_", "a b", "a-b", "ab", "😀", "\uffee", "ß", "ss", "İ", "i"]


async def _tell_of_a_package(number: int, store: EventStore, scribe: Scribe, ids: Ids) -> None:
    """Open it, fill it in several ways, find flaws in it and heal them; seal every other one."""
    retention = list(RETENTION_CLASSES)[number % len(RETENTION_CLASSES)]
    command = created(number, name=NAMES[number % 16], retention_class=retention, metadata={"n": f"{number}"}, ids=ids)
    await scribe.tell(command)
    files = [
        ingested(f"{NAMES[i % 16]}/{i}", f"content {i % 97} of {number % 7}".encode(), executable=i % 3 == 0, ids=ids)
        for i in range(FILES)
    ]
    requests = [scribe.ask(ingest(*files[i : i + 40], package=number)) for i in range(0, FILES, 40)]
    await scribe.send(*requests, files_per_package_max=FILES)
    again = [ingested(file.path, f"replaced in {number}".encode(), ids=ids) for file in files[:4]]
    replaced = ingest(*again, package=number, on_existing=OnExisting.REPLACE)
    flawed = FlagObject(ids(), address_of(f"replaced in {number}".encode()), BACKEND_ID, "damaged")
    healed = ingested("healed", f"replaced in {number}".encode(), outcome="rewritten", ids=ids)
    await scribe.send(scribe.ask(replaced), scribe.ask(FlagObjects((flawed,))), files_per_package_max=FILES)
    await scribe.send(scribe.ask(ingest(healed, package=number)), files_per_package_max=FILES + 1)
    await scribe.tell(RegisterMetadataSchema(ids(), NAMES[number % 16], f'{{"version":{number}}}'))
    if number % 2:
        contents = await store.contents(package_id_of(number))
        payload, summary = build_manifest(contents, actor=ACTOR, finalized_at_us=EPOCH_US)
        await scribe.tell(FinalizePackage(ids(), package_id_of(number), contents.package.version, payload, summary))


async def _keep(stores: Stores) -> tuple[ReplayReport, str, list[str]]:
    """Write the log; what a replay of it says, a digest over its records, and paths in the order of the store."""
    async with stores.opened() as store:
        scribe, ids = Scribe(store), Ids()
        for number in range(1, PACKAGES + 1):
            await _tell_of_a_package(number, store, scribe, ids)
        records = sha256(b"".join(encode_record(stored.event) for stored in await log_of(store)))
        paths = [file.path for file in await store.files(package_id_of(1))]
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


async def test_ten_thousand_events_give_one_digest_wherever_they_are_kept(kept_in: dict[str, Stores]) -> None:
    found = {where: await _keep(stores) for where, stores in kept_in.items()}
    report, _records, paths = found["simulated"]
    assert report.identical
    assert paths == sorted(paths, key=str.encode)
    assert report.events >= EVENTS
    assert found["SQLite"] == found["PostgreSQL"] == found["simulated"]
