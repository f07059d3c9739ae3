"""Replay on both databases: damage is found and repaired, writers continue, and what cannot be projected stops it.

What every event store promises in terms of its interface is in `tests/integration/event_store`.
"""

import uuid
from collections.abc import Callable

import pytest
import trio
from sqlalchemy import Executable, and_, delete, func, insert, select, update

from artifactstore.database import events, replay, schema
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.errors import LogDamaged
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE
from artifactstore.database.store import SqlEventStore
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.admission import LogTables
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.event_types import UnknownEventType, package_finalized
from artifactstore_protocols.events import EventRefused, PayloadDiffers, digest_of_payload
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.records import ReplayReport
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import (
    CLASSES,
    CLOCK,
    CONTENTS,
    FILES,
    HOLDS,
    KEEP_POLICIES,
    LOCATIONS,
    PACKAGES,
    PARENTS,
    PURGED,
    REQUIREMENTS,
    RETENTION,
    SCHEMAS,
    TAGS,
    TOKENS,
    TOTALS,
    VALUES,
    VIEWS,
    Cell,
    NamedCells,
    ViewTable,
)
from command_strategies import Create, FileStep, Find, Ingest, Register
from database_tools import Gate, Scribe, event, opened, surgery
from memory_log import MemoryLog
from story import assert_identical, tell_story


async def count_rows(connection: AsyncConnection) -> dict[str, int]:
    return {
        view.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        for view, table in LIVE.items()
    }


@pytest.mark.slow
async def test_views_are_what_the_log_implies(store: SqlEventStore, scribe: Scribe, database: Database) -> None:
    memory = await tell_story(scribe)
    assert_identical(await store.replay(rebuild=False), memory)
    assert all((await database.read(count_rows)).values()), "the story leaves a view empty"


_CHANGED: dict[ViewTable, NamedCells] = {
    PACKAGES: {"version": 99, "name": "renamed"},
    CONTENTS: {"size_bytes": 99, "digest_sha256": b"another"},
    FILES: {"executable": 99, "path": "elsewhere", "link_target": "nowhere"},
    LOCATIONS: {"integrity": "missing", "state": "elsewhere", "stored_at": 0, "verified_sequence": 99},
    RETENTION: {"expires_at": None, "duration_us": 1, "status": "lost"},
    SCHEMAS: {"registered_at": -1, "schema": b"{}"},
    REQUIREMENTS: {"schema": "another@1"},
    TAGS: {"package_id": "another", "protected": 7},
    TOTALS: {"files": 99, "object_bytes": 1},
    VALUES: {"annotation": "5", "term": None},
    KEEP_POLICIES: {"rules": b"\xa0", "set_by": "another"},
    PARENTS: {"manifest_digest": "another"},
    CLASSES: {"duration_us": 1, "added_by": "another"},
    CLOCK: {"observed_at": 0},
    HOLDS: {"package_id": "another", "reason": "none"},
    TOKENS: {"scopes": "admin", "expires_at": 1, "revoked_at": None, "revoked_by": "another"},
    PURGED: {"reason": "none", "purged_at": 0},
}


def damage(view: ViewTable, how: str, memory: MemoryLog) -> Executable:
    """A statement that harms the first row of a view, or adds one like it."""
    table = LIVE[view]
    row = memory.views.rows(view)[0]
    is_first = and_(*(table.c[name] == row[name] for name in view.key))
    match how:
        case "deleted":
            return delete(table).where(is_first)
        case "changed":
            return update(table).where(is_first).values(_CHANGED[view])
        case "emptied":
            return delete(table)
        case _:
            others: dict[type, Cell] = {int: 99, str: "zzz", bytes: b"zzz"}
            other_key = {name: others[type(row[name])] for name in view.key}
            return insert(table).values({**row, **other_key})


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "changed", "emptied", "added"])
async def test_damage_in_any_view_is_found_and_repaired(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe, how: str
) -> None:
    memory = await tell_story(scribe)
    seen = {(await store.replay(rebuild=False)).live_digest}
    for view in VIEWS:
        await surgery(location, damage(view, how, memory))
        found = await store.replay(rebuild=False)
        assert not found.identical
        assert found.projection_digest == str(ContentAddress(memory.views.digest()))
        assert found.live_digest not in seen, f"what was {how} in {view.name} does not show"
        seen.add(found.live_digest)
    repaired = await store.replay(rebuild=True)
    assert_identical(repaired, memory)
    rows = sum(len(memory.views.rows(view)) for view in VIEWS)
    assert repaired.repaired_rows == (rows if how == "emptied" else len(VIEWS))
    assert_identical(await store.replay(rebuild=False), memory)


@pytest.mark.slow
async def test_all_damage_at_once_is_repaired_at_once(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    memory = await tell_story(scribe)
    await surgery(location, *(damage(view, how, memory) for how in ("added", "changed", "deleted") for view in VIEWS))
    assert_identical(await store.replay(rebuild=True), memory)


@pytest.mark.slow
async def test_numbers_that_no_event_could_hold_are_damage_too(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    memory = await tell_story(scribe)
    await surgery(location, update(LIVE[CONTENTS]).values(size_bytes=2**60))
    found = await store.replay(rebuild=False)
    assert not found.identical
    assert_identical(await store.replay(rebuild=True), memory)


@pytest.mark.slow
async def test_a_check_is_identical_while_another_connection_writes(
    location: DatabaseLocation, scribe: Scribe, store: SqlEventStore
) -> None:
    """Log and views are read in one snapshot, and the head's lock is never taken."""
    memory = await tell_story(scribe)
    reports: list[ReplayReport] = []
    async with opened(location) as other:
        store_beside = SqlEventStore(other)

        async def check() -> None:
            while True:
                reports.append(await store_beside.replay(rebuild=False))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(check)
            for i in range(100, 135):
                await scribe.tell(memory.command(Create(i, "short", {})))
            nursery.cancel_scope.cancel()
        reports.append(await store_beside.replay(rebuild=False))
    assert all(report.identical for report in reports)


@pytest.mark.slow
async def test_a_check_never_waits_for_the_head(location: DatabaseLocation, scribe: Scribe) -> None:
    memory = await tell_story(scribe)
    gate = Gate()

    async def hold(_transaction: Transaction) -> None:
        await gate.stop_here()

    async with (
        opened(location) as writer,
        opened(location, lock_timeout_s=0.1) as reader,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(writer.write, hold)
        await gate.arrival()
        assert_identical(await SqlEventStore(reader).replay(rebuild=False), memory)
        gate.open()


@pytest.mark.slow
async def test_a_rebuild_beside_writers_takes_in_all_that_they_write(
    location: DatabaseLocation, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some commit after the rebuild has noted what differs, and some touch the very rows that it will repair."""
    memory = await tell_story(scribe)
    await surgery(location, *(damage(view, how, memory) for how in ("changed", "added") for view in VIEWS))
    gates = [Gate(), Gate()]  # when it has replayed what it found, and when it has caught up
    waiting = iter(gates)
    replay_all = events.replay

    async def with_stops(
        connection: AsyncConnection, *, into: LogTables, after: int = 0, told: Callable[[int], None] = lambda _: None
    ) -> int:
        sequence = await replay_all(connection, into=into, after=after, told=told)
        if gate := next(waiting, None):
            await gate.stop_here()
        return sequence

    monkeypatch.setattr(events, "replay", with_stops)
    reports: list[ReplayReport] = []
    async with opened(location) as other, trio.open_nursery() as nursery:

        async def rebuild() -> None:
            reports.append(await SqlEventStore(other).replay(rebuild=True))

        nursery.start_soon(rebuild)
        for gate, step in zip(gates, (20, 21), strict=True):
            await gate.arrival()
            for command in (
                memory.command(Create(step, "short", {})),
                memory.command(Ingest(2, (FileStep(f"late {step}", b"x", False, step - 18),), OnExisting.REFUSE)),
                memory.command(Register(f"late {step}")),
                memory.command(Find(((b"x", "damaged"),))),
            ):
                assert memory.commit(command) is None
                await scribe.tell(command)
            gate.open()
    assert_identical(reports[0], memory)
    assert reports[0].repaired_rows == 2 * len(VIEWS)


@pytest.mark.slow
async def test_a_rebuild_catches_up_until_little_is_left(
    scribe: Scribe, store: SqlEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = await tell_story(scribe)
    monkeypatch.setattr(replay, "_LITTLE_EVENTS", -1)  # it never is little: the lock is taken all the same
    assert_identical(await store.replay(rebuild=True), memory)


@pytest.mark.slow
async def test_a_manifest_is_checked_in_parts(
    store: SqlEventStore, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entries are never loaded all at once, however large the package is."""
    memory = await tell_story(scribe)
    monkeypatch.setattr(events, "_REPLAY_BATCH", 1)
    monkeypatch.setattr(package_finalized, "_PART_ENTRIES", 1)
    loaded: list[Needs] = []
    state = TableViewWriter.state

    async def noted(self: TableViewWriter, needed: Needs) -> LogState:
        loaded.append(needed)
        return await state(self, needed)

    monkeypatch.setattr(TableViewWriter, "state", noted)
    assert_identical(await store.replay(rebuild=False), memory)
    of_manifests = [needed for needed in loaded if needed.at and not needed.entries]
    finalized = [row["package_id"] for row in memory.views.rows(PACKAGES) if row["status"] == "finalized"]
    assert {package_id for needed in of_manifests for package_id, _path in needed.at} == set(finalized)
    assert [len(needed.at) for needed in of_manifests] == [1] * len(of_manifests)
    assert len(of_manifests) > len(finalized)


@pytest.mark.slow
@pytest.mark.parametrize("rebuild", [False, True])
async def test_an_unknown_event_type_stops_the_replay_and_changes_nothing(
    database: Database, location: DatabaseLocation, store: SqlEventStore, scribe: Scribe, rebuild: bool
) -> None:
    memory = await tell_story(scribe)
    before = await store.replay(rebuild=False)
    await surgery(location, damage(FILES, "changed", memory))
    damaged = await store.replay(rebuild=False)

    async def from_the_future(transaction: Transaction) -> None:
        await events.write(transaction, event(str(uuid.UUID(int=7)), event_type="v9.package.teleported"))

    await database.write(from_the_future)
    for _ in range(2):  # and no trace is left to hinder the next one
        with pytest.raises(UnknownEventType, match=r"'v9\.package\.teleported' at sequence") as caught:
            await store.replay(rebuild=rebuild)
        assert caught.value.sequence == before.sequence + 1
    await surgery(
        location,
        delete(schema.events).where(schema.events.c.sequence > before.sequence),
        update(schema.log_head).values(sequence=before.sequence),
    )
    assert await store.replay(rebuild=False) == damaged


@pytest.mark.slow
async def test_a_payload_that_nobody_can_read_stops_the_replay(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    await tell_story(scribe)
    nonsense = {"payload": b"\xa0", "payload_digest": digest_of_payload(b"\xa0")}
    await surgery(location, update(schema.events).where(schema.events.c.sequence == 2).values(nonsense))
    with pytest.raises(EventRefused) as caught:
        await store.replay(rebuild=True)
    assert caught.value.sequence == 2


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"payload": b"\xa0"}, {"payload_digest": digest_of_payload(b"\xa0")}], ids=str)
@pytest.mark.parametrize("rebuild", [False, True])
async def test_a_payload_that_differs_from_its_digest_is_refused_by_read_and_replay(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe, rebuild: bool, changed: dict[str, object]
) -> None:
    await tell_story(scribe)
    await surgery(location, update(schema.events).where(schema.events.c.sequence == 3).values(changed))
    with pytest.raises(PayloadDiffers, match=r"the payload of event 3 .*restore the database from a backup") as caught:
        await store.replay(rebuild=rebuild)
    assert (caught.value.code, caught.value.sequence, caught.value.source) == ("payload-differs", 3, None)
    with pytest.raises(PayloadDiffers):
        await store.read_events(after=0, limit=3)
    assert [stored.sequence for stored in await store.read_events(after=0, limit=2)] == [1, 2]


_LAST = select(schema.log_head.c.sequence).scalar_subquery()


@pytest.mark.slow
@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        (delete(schema.events).where(schema.events.c.sequence == 4), 4),
        (delete(schema.events).where(schema.events.c.sequence == 1), 1),
        (delete(schema.events).where(schema.events.c.sequence == _LAST), None),
        (update(schema.log_head).values(sequence=schema.log_head.c.sequence - 1), None),
    ],
    ids=["in the middle", "first", "last", "head behind"],
)
async def test_a_hole_in_the_log_stops_the_replay(
    location: DatabaseLocation,
    store: SqlEventStore,
    scribe: Scribe,
    statement: Executable,
    missing: int | None,
    rebuild: bool,
) -> None:
    memory = await tell_story(scribe)
    await surgery(location, statement)
    with pytest.raises(LogDamaged, match="restore the database from a backup") as caught:
        await store.replay(rebuild=rebuild)
    assert caught.value.sequence == (missing or len(memory.events))
