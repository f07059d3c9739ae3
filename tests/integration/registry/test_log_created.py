"""A log has an id: another one in each store, the same one in every copy; and a log without one is refused."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.transfer.check import check_backup
from artifactstore_protocols.event_types import LogCreated
from artifactstore_protocols.events import EventRefused, StoredEvent
from artifactstore_protocols.log_file import LogFileEncoder, LogFileHeader
from integration.registry.samples import add, by_hand, check_sound, settings_in, whole_log

REFUSAL = r"^event 1 \(v1\.package\.created\) .*event 1 of a log is v1\.log\.created, and no other event is"


def log_id_in(log: Sequence[StoredEvent]) -> str:
    begun = log[0].decode()
    assert isinstance(begun, LogCreated)
    return begun.log_id


@pytest.mark.slow
async def test_every_store_begins_a_log_of_its_own(
    registry: Registry, location: DatabaseLocation, tmp_path: Path
) -> None:
    url = location.url.render_as_string(hide_password=False)
    async with open_registry(Settings(url, tmp_path / "second" / "objects")) as second:
        for each in (registry, second):
            await each.create_package("p")
        ids = [log_id_in(await check_sound(each)) for each in (registry, second)]
        reports = [await each.health(max_age_s=0) for each in (registry, second)]
    stores = [part.details["store_id"] for report in reports for part in report.components if part.name == "database"]
    assert len({*ids, *stores}) == 4, "and a log's id is no store's"


@pytest.mark.slow
async def test_copies_of_a_log_have_its_id(registry: Registry, tmp_path: Path) -> None:
    await registry.create_package("p")
    await registry.export_events(tmp_path / "log")
    await registry.backup(tmp_path / "backup")
    for name in ("imported", "restored"):
        async with open_registry(settings_in(tmp_path / name)) as other:
            if name == "imported":
                await other.import_events(tmp_path / "log")
            else:
                await other.restore(tmp_path / "backup")
            await other.create_package("of its own")
            log = await check_sound(other)
        assert log_id_in(log) == log_id_in(await whole_log(registry))
        assert [isinstance(stored.decode(), LogCreated) for stored in log] == [True, False, False]


@pytest.fixture
async def without_a_beginning(registry: Registry) -> Sequence[StoredEvent]:
    """A log that lacks its first event, in order otherwise."""
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "f", b"content")
    return [StoredEvent(number, stored.event) for number, stored in enumerate((await whole_log(registry))[1:], 1)]


def write(file: Path, log: Sequence[StoredEvent]) -> None:
    encoder = LogFileEncoder(LogFileHeader(0, len(log)))
    file.write_bytes(b"".join([encoder.begin(), *map(encoder.add, log), encoder.end()]))


async def test_a_log_that_begins_with_another_event_is_refused_on_every_way_in(
    registry: Registry, settings: Settings, without_a_beginning: Sequence[StoredEvent], tmp_path: Path
) -> None:
    await registry.backup(tmp_path / "backup")
    [whole] = (tmp_path / "backup" / "log").iterdir()
    whole.unlink()
    write(whole.with_name(f"{1:012}-{len(without_a_beginning):012}.cborseq"), without_a_beginning)
    write(tmp_path / "log", without_a_beginning)
    by_hand(settings, "DELETE FROM events WHERE sequence = 1")
    by_hand(settings, "UPDATE events SET sequence = sequence - 1")
    by_hand(settings, "UPDATE log_head SET sequence = sequence - 1")
    async with open_registry(settings_in(tmp_path / "second")) as second:
        ways: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: second.import_events(tmp_path / "log"),
            lambda: second.restore(tmp_path / "backup"),
            lambda: check_backup(tmp_path / "backup"),
            lambda: registry.replay(check=True),
            lambda: registry.replay(check=False),
        )
        for way in ways:
            with pytest.raises(EventRefused, match=REFUSAL) as refused:
                await way()
            assert (refused.value.code, refused.value.sequence) == ("event-refused", 1)
        assert await whole_log(second) == []
