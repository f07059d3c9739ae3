"""Logs made by hand, with checksums and chains in order: refused on every way in, with the event named."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, insert, update

from artifactstore import open_registry
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE, events, log_head
from artifactstore.transfer.check import check_backup
from artifactstore_protocols.events import EventRefused, StoredEvent, digest_of_payload
from artifactstore_protocols.log_file import LogFileEncoder, LogFileHeader
from database_tools import hand
from integration.registry.hostile_logs import hostile_logs, valid_log
from integration.registry.samples import settings_in, whole_log


def write(file: Path, log: Sequence[StoredEvent], after: int = 0, encoder: LogFileEncoder | None = None) -> None:
    encoder = encoder or LogFileEncoder(LogFileHeader(after, len(log)))
    file.write_bytes(b"".join([encoder.begin(), *map(encoder.add, log[after:]), encoder.end()]))


async def refusals(
    log: Sequence[StoredEvent], attempt: Callable[[Sequence[StoredEvent]], Awaitable[object]]
) -> dict[str, int | None]:
    """At which event each of the hostile logs is refused; None for one that is not."""
    found: dict[str, int | None] = {}
    for name, hostile, _sequence in hostile_logs(log):
        found[name] = None
        try:
            await attempt(hostile)
        except EventRefused as refused:
            found[name] = refused.sequence
    return found


def expected(log: Sequence[StoredEvent]) -> dict[str, int | None]:
    return {name: sequence for name, _hostile, sequence in hostile_logs(log)}


@pytest.mark.slow
async def test_an_import_refuses_them_and_writes_nothing(tmp_path: Path, location: DatabaseLocation) -> None:
    log = await valid_log(tmp_path / "origin")
    url = location.url.render_as_string(hide_password=False)
    file = tmp_path / "log"
    async with open_registry(replace(settings_in(tmp_path / "second"), database_url=url)) as second:

        async def take_over(hostile: Sequence[StoredEvent]) -> None:
            write(file, hostile)
            await second.import_events(file)

        assert await refusals(log, take_over) == expected(log)
        assert await whole_log(second) == []
        write(file, log)
        assert (await second.import_events(file)).written == len(log)
        assert (await second.replay(check=True)).identical


@pytest.mark.slow
async def test_a_restore_and_a_check_of_a_backup_refuse_them(tmp_path: Path) -> None:
    """Of a log in two files, of which the second is judged by what the first says."""
    log = await valid_log(tmp_path / "origin")
    backup = tmp_path / "backup"
    async with open_registry(settings_in(tmp_path / "origin")) as origin:
        await origin.backup(backup)
    for file in (backup / "log").iterdir():
        file.unlink()

    def put(hostile: Sequence[StoredEvent]) -> None:
        for old in (backup / "log").iterdir():
            old.unlink()
        part = len(hostile) // 2
        first = LogFileEncoder(LogFileHeader(0, part))
        write(backup / "log" / f"{1:012}-{part:012}.cborseq", hostile[:part], 0, first)
        header = LogFileHeader(part, len(hostile), first.summary.digest)
        name = f"{part + 1:012}-{len(hostile):012}.cborseq"
        write(backup / "log" / name, hostile, part, LogFileEncoder(header))

    async def check(hostile: Sequence[StoredEvent]) -> None:
        put(hostile)
        await check_backup(backup)

    assert await refusals(log, check) == expected(log)
    async with open_registry(settings_in(tmp_path / "second")) as second:

        async def restore(hostile: Sequence[StoredEvent]) -> None:
            put(hostile)
            await second.restore(backup)

        assert await refusals(log, restore) == expected(log)
        assert await whole_log(second) == []
        put(log)
        assert not (await check_backup(backup)).flaws.damaged_objects
        assert (await second.restore(backup)).written == len(log)


_OF_THE_DATABASE = {"an event id that comes twice", "a key that comes twice", "a log that begins again"}
"""What its indexes do not let in, by hand neither."""


@pytest.mark.slow
@pytest.mark.parametrize("check", [True, False], ids=["check", "repair"])
async def test_a_replay_refuses_them_and_leaves_the_views(
    tmp_path: Path, location: DatabaseLocation, check: bool
) -> None:
    log = await valid_log(tmp_path / "origin")
    url = location.url.render_as_string(hide_password=False)
    async with (
        open_registry(replace(settings_in(tmp_path / "second"), database_url=url)) as second,
        hand(location) as surgeon,
    ):
        await surgeon.execute(*map(delete, LIVE.values()))  # and no refused log brings rows back

        async def replay(hostile: Sequence[StoredEvent]) -> None:
            async def put(connection: AsyncConnection) -> None:
                await connection.execute(delete(events))
                await connection.execute(insert(events), list(map(_row, hostile)))
                await connection.execute(update(log_head).values(sequence=len(hostile)))

            await surgeon.work(put)
            await second.replay(check=check)

        wanted = {name: at for name, at in expected(log).items() if name not in _OF_THE_DATABASE}
        if location.path is None:  # a sample, since making tables is slow and what judges is the same
            wanted = dict(islice(wanted.items(), 0, None, 8))
        by_hand = [each for each in hostile_logs(log) if each[0] in wanted]
        found: dict[str, int | None] = {}
        for name, hostile, _sequence in by_hand:
            found[name] = None
            try:
                await replay(hostile)
            except EventRefused as refused:
                found[name] = refused.sequence
            assert [package async for package in second.list_packages()] == []
        assert found == wanted
        await replay(log)


def _row(stored: StoredEvent) -> dict[str, object]:
    event = stored.event
    return {
        "sequence": stored.sequence,
        "event_id": event.event_id,
        "type": event.type,
        "subject": event.subject,
        "principal": event.principal,
        "recorded_at": event.recorded_at_us,
        "command_id": event.command.command_id,
        "command_digest": event.command.digest,
        "idempotency_key": event.command.idempotency_key,
        "payload": event.payload,
        "payload_digest": digest_of_payload(event.payload),
    }
