"""A database that was changed by hand: readers report it as damaged, and nobody writes to it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Executable, delete, update

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.errors import DatabaseDamaged, LogDamaged
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE, events, log_head
from artifactstore.doctor import examine, inspect_store
from artifactstore.environment import in_thread
from artifactstore.errors import NotFinalized
from artifactstore_protocols.events import EventRefused, PayloadDiffers, StoredEvent, digest_of_payload
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.views import PACKAGES, RETENTION
from database_tools import surgery
from integration.registry.samples import actors, add, by_hand, settings_in

pytestmark = pytest.mark.slow


async def fill(registry: Registry) -> str:
    package = (await registry.create_package("p", metadata={"k": "v"})).package_id
    await add(registry, package, "a", b"a")
    return package


async def readable(registry: Registry) -> list[StoredEvent]:
    """The events that can be read; that they are not all is told at their end, and to those who follow the log."""
    log: list[StoredEvent] = []
    followed: list[StoredEvent] = []

    async def read() -> None:
        while page := await registry.read_events(len(log)):
            log.extend(page)

    async def follow() -> None:
        async with registry.tail_events() as events:
            async for stored in events:
                followed.append(stored)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(LogDamaged):
        await read()
    with pytest.raises(LogDamaged):
        await follow()
    assert followed == log
    return log


def crashes(registry: Registry) -> list[str]:
    """Actors that did not answer, but crashed."""
    return [actor.name for actor in actors(registry) if actor.last_failure is not None]


@pytest.mark.parametrize(
    "statement",
    [
        update(log_head).values(sequence=log_head.c.sequence + 1),
        update(log_head).values(sequence=log_head.c.sequence - 1),
        update(log_head).values(sequence=-7),
        delete(events).where(events.c.sequence == 4),
        delete(log_head),
    ],
    ids=["ahead", "behind", "negative", "last event gone", "no head"],
)
async def test_a_head_that_is_not_the_last_event_stops_writers_and_is_told_by_health_and_doctor(
    tmp_path: Path, location: DatabaseLocation, statement: Executable
) -> None:
    settings = settings_in(tmp_path)
    settings = replace(settings, database_url=location.url.render_as_string(hide_password=False))
    async with open_registry(settings) as registry:
        package = await fill(registry)
        assert (await registry.health(max_age_s=0)).healthy
        await surgery(location, statement)
        log = await readable(registry)
        for write in (
            registry.create_package("q"),
            add(registry, package, "b", b"b"),
            registry.finalize_package(package),
        ):
            with pytest.raises(LogDamaged):
                await write
        for carry in (registry.export_events, registry.backup):
            with pytest.raises(LogDamaged):
                await carry(tmp_path / "out")
        assert await readable(registry) == log
        health = await registry.health(max_age_s=0)
        assert not health.healthy
        assert any("the log is damaged at sequence" in reason for reason in health.reasons)
        assert crashes(registry) == []
    environment = {
        "ARTIFACTSTORE_DATABASE_URL": settings.database_url,
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(settings.storage_local_root),
    }
    findings = await in_thread(lambda: examine(inspect_store(environment)))
    assert [finding.check for finding in findings] == ["log"]


@pytest.mark.parametrize(
    ("statement", "readers"),
    [
        ("UPDATE log_head SET sequence = 'abc'", {"health", "create", "replay", "export"}),
        ("UPDATE log_head SET sequence = 1.5", {"health", "create", "replay", "export"}),
        ("UPDATE events SET payload = 'text' WHERE sequence = 2", {"history", "replay", "export", "tail"}),
        ("UPDATE events SET payload = 17 WHERE sequence = 2", {"history", "replay", "export", "tail"}),
        ("UPDATE events SET recorded_at = 'soon' WHERE sequence = 2", {"history", "replay", "export", "tail"}),
        (
            "UPDATE events SET principal = CAST(x'ff' AS text) WHERE sequence = 2",
            {"history", "replay", "export", "tail"},
        ),
        ("UPDATE artifact_packages SET metadata = x'ff'", {"packages"}),
        ("UPDATE artifact_packages SET metadata = 'abc'", {"packages"}),
        ("UPDATE artifact_packages SET metadata = x'01'", {"packages"}),
        ("UPDATE artifact_packages SET metadata = x'a1616bf6'", {"packages", "finalize"}),
        ("UPDATE artifact_packages SET metadata = x'a1616bf93e00'", {"packages", "finalize"}),
        ("UPDATE artifact_packages SET status = 'finalized'", {"packages", "finalize"}),
        ("UPDATE artifact_packages SET status = 'abc'", {"packages", "finalize"}),
        ("UPDATE artifact_packages SET version = 'abc'", {"packages", "add"}),
        ("UPDATE contents SET size_bytes = x'00'", {"files", "add"}),
        ("UPDATE contents SET digest_sha256 = 'text'", {"files", "add again", "verify"}),
        ("DELETE FROM contents", {"files", "add", "verify"}),
        ("UPDATE artifact_files SET path = x'07'", {"files", "add"}),
        ("UPDATE storage_locations SET integrity = x'00'", {"verify"}),
        ("UPDATE storage_locations SET integrity = 'missing', digest_primary = substr(digest_primary, 2)", {"add"}),
    ],
)
async def test_what_nothing_of_ours_has_written_is_called_damage_and_crashes_nobody(
    registry: Registry, settings: Settings, tmp_path: Path, statement: str, readers: set[str]
) -> None:
    package = await fill(registry)
    by_hand(settings, statement)

    async def tail() -> None:
        async with registry.tail_events() as events:
            async for _event in events:
                pass

    async def history() -> None:
        assert [entry async for entry in registry.history()]

    async def packages() -> None:
        assert [record async for record in registry.list_packages()]

    async def health() -> None:
        report = await registry.health(max_age_s=0)
        if not report.healthy:
            raise DatabaseDamaged("", " ".join(report.reasons))

    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "health": health,
        "create": lambda: registry.create_package("q"),
        "add": lambda: add(registry, package, "a", b"other"),
        "add again": lambda: add(registry, package, "b", b"a"),
        "finalize": lambda: registry.finalize_package(package),
        "replay": lambda: registry.replay(check=True),
        "export": lambda: registry.export_events(tmp_path / "log"),
        "history": history,
        "tail": tail,
        "packages": packages,
        "files": lambda: registry.list_files(package),
        "verify": registry.verify,
    }
    for name in sorted(readers):
        with pytest.raises(DatabaseDamaged, match="is damaged: "):
            await ways[name]()
    assert crashes(registry) == []


def corrupt(file: Path) -> None:
    """Overwrite the beginning of every page but the first, which holds the schema."""
    content = bytearray(file.read_bytes())
    page_bytes = int.from_bytes(content[16:18])
    for start in range(page_bytes, len(content), page_bytes):
        content[start : start + 8] = b"\xff" * 8
    file.write_bytes(bytes(content))


async def test_a_file_that_is_corrupted_is_called_damaged(registry: Registry, settings: Settings) -> None:
    """As by a failing disk."""
    await fill(registry)
    by_hand(settings, "PRAGMA wal_checkpoint(TRUNCATE)")
    corrupt(Path(settings.database_url.removeprefix("sqlite:///")))
    with pytest.raises(DatabaseDamaged, match="malformed"):
        await registry.read_events()


async def test_a_payload_that_is_not_what_its_type_says_is_named(registry: Registry, settings: Settings) -> None:
    await fill(registry)
    by_hand(
        settings,
        "UPDATE events SET payload = ?, payload_digest = ? WHERE sequence = 4",
        b"\xa0",
        digest_of_payload(b"\xa0"),
    )
    with pytest.raises(EventRefused, match=r"^event 4 \(v1.files.ingested\) breaks a rule of the log: payload"):
        assert [entry async for entry in registry.history()]
    with pytest.raises(EventRefused, match=r"^event 4 "):
        await registry.replay(check=True)


async def test_a_payload_that_its_record_does_not_name_stops_every_reader(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    package = await fill(registry)
    await registry.finalize_package(package)
    by_hand(settings, "UPDATE events SET payload = x'a0' WHERE type = 'v1.package.finalized'")

    async def history() -> None:
        assert [entry async for entry in registry.history()]

    async def tail() -> None:
        async with registry.tail_events() as events:
            async for _event in events:
                pass

    ways: tuple[Callable[[], Awaitable[object]], ...] = (
        history,
        tail,
        lambda: registry.replay(check=True),
        lambda: registry.export_events(tmp_path / "log"),
        lambda: registry.backup(tmp_path / "backup"),
        lambda: registry.get_manifest_bytes(package),
    )
    for way in ways:
        with pytest.raises(PayloadDiffers) as refused:
            await way()
        assert (refused.value.code, refused.value.event_type) == ("payload-differs", "v1.package.finalized")
    assert not (tmp_path / "log").exists()
    assert (await registry.verify(package)).manifest_mismatches == (package,)
    assert crashes(registry) == []


@pytest.mark.parametrize("sequence", [1, 2], ids=["first", "second"])
async def test_a_hole_in_the_log_is_told_when_a_reader_comes_to_it(
    tmp_path: Path, location: DatabaseLocation, sequence: int
) -> None:
    settings = replace(settings_in(tmp_path), database_url=location.url.render_as_string(hide_password=False))
    async with open_registry(settings) as registry:
        package = await fill(registry)
        await add(registry, package, "b", b"b")
        await surgery(location, delete(events).where(events.c.sequence == sequence))
        assert [stored.sequence for stored in await readable(registry)] == list(range(1, sequence))
        with pytest.raises(LogDamaged, match=f"damaged at sequence {sequence}: it is missing"):
            await registry.read_events(sequence - 1)
        assert crashes(registry) == []


@pytest.mark.parametrize("us", [2**63 - 1, -(2**63)])
async def test_a_time_that_no_calendar_has_is_called_damage(
    tmp_path: Path, location: DatabaseLocation, us: int
) -> None:
    settings = replace(settings_in(tmp_path), database_url=location.url.render_as_string(hide_password=False))
    packages, retention = LIVE[PACKAGES], LIVE[RETENTION]
    async with open_registry(settings) as registry:
        package = await fill(registry)
        await surgery(location, update(packages).values(created_at=us))
        with pytest.raises(DatabaseDamaged, match="created_at"):
            await registry.get_package(package)
        await surgery(location, update(packages).values(created_at=1), update(retention).values(expires_at=us))
        with pytest.raises(DatabaseDamaged, match="expires_at"):
            await registry.get_package(package)
        await surgery(location, update(events).values(recorded_at=us))
        with pytest.raises(DatabaseDamaged, match="recorded_at"):
            await registry.read_events()
        assert crashes(registry) == []


async def test_a_package_that_lost_a_row_is_not_finalized(registry: Registry, settings: Settings) -> None:
    package = await fill(registry)
    by_hand(settings, "DELETE FROM artifact_files WHERE path_key = 'a'")
    with pytest.raises(ProjectionDamaged, match="run `artifactstore replay` to rebuild them"):
        await registry.finalize_package(package)
    await registry.replay()
    await registry.finalize_package(package)


async def test_a_finalize_whose_event_is_elsewhere_is_damage_and_not_an_open_package(
    registry: Registry, settings: Settings
) -> None:
    package = await fill(registry)
    with pytest.raises(NotFinalized):
        await registry.get_manifest_bytes(package)
    await registry.finalize_package(package)
    by_hand(settings, "UPDATE artifact_packages SET finalized_sequence = 1")
    with pytest.raises(DatabaseDamaged, match="the event that finalized package"):
        await registry.get_manifest_bytes(package)


@pytest.mark.parametrize("column", ["recorded_at", "principal", "payload", "event_id", "command_id"])
async def test_a_cell_that_is_empty_and_must_not_be_is_called_damage(
    registry: Registry, settings: Settings, column: str
) -> None:
    """As after a table was rebuilt without its constraints."""
    package = await fill(registry)
    without_constraints(settings, "events")
    by_hand(settings, f"UPDATE events SET {column} = NULL WHERE sequence = 2")  # noqa: S608 - a name from above
    for work in (registry.read_events, lambda: registry.replay(check=True)):
        with pytest.raises(DatabaseDamaged, match=f"column {column} holds None"):
            await work()
    without_constraints(settings, "log_head")
    by_hand(settings, "UPDATE log_head SET sequence = NULL")
    with pytest.raises(DatabaseDamaged, match="column sequence holds None"):
        await registry.finalize_package(package)
    assert crashes(registry) == []


def without_constraints(settings: Settings, table: str) -> None:
    for statement in (
        f"CREATE TABLE again AS SELECT * FROM {table}",  # noqa: S608 - a name from above
        f"DROP TABLE {table}",
        f"ALTER TABLE again RENAME TO {table}",
    ):
        by_hand(settings, statement)
