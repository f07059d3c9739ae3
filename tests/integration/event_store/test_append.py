"""What every event store promises about commands and the log that they make."""

from base64 import b64encode
from dataclasses import replace
from hashlib import shake_256

import pytest

from artifactstore_protocols.canonical import NotEncodable
from artifactstore_protocols.commands import (
    Committed,
    FinalizePackage,
    FlagObject,
    FlagObjects,
    OnExisting,
    RegisterMetadataSchema,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import EventConflict, EventRefused, IdempotencyConflict, encode_record
from artifactstore_protocols.packages import PackageExists, PackageNotFound, PathConflict, PathTaken, TooManyFiles
from artifactstore_protocols.paths import PATH_BYTES_MAX, check_path
from command_strategies import BACKEND_ID, Ids, address_of, created, ingest, ingested, package_id_of
from database_tools import EPOCH_US, Scribe
from event_stores import head_of, log_of


def committed(outcome: CommandOutcome) -> Committed:
    assert isinstance(outcome, Committed), outcome
    return outcome


async def test_an_empty_log_has_its_head_at_zero(store: EventStore) -> None:
    assert await head_of(store) == 0
    assert await log_of(store) == ()


async def test_sequences_are_one_to_n_over_batches_of_any_size(store: EventStore, scribe: Scribe) -> None:
    ids = Ids()
    package = 0
    for size in (1, 3, 1, 5):
        batch = [created(package + i, ids=ids) for i in range(1, size + 1)]
        package += size
        answers = await scribe.tell(*batch)
        assert [answer.sequence for answer in answers] == list(range(package - size + 1, package + 1))
        assert [answer.events[-1].sequence for answer in answers] == [answer.sequence for answer in answers]
    log = await log_of(store)
    assert [stored.sequence for stored in log] == list(range(1, 11))
    assert await head_of(store) == 10
    assert [stored.event.recorded_at_us for stored in log] == [EPOCH_US + i for i in range(1, 11)]


async def test_events_of_one_command_are_neighbours_and_only_the_first_is_stamped(
    store: EventStore, scribe: Scribe
) -> None:
    ids = Ids()
    files = [ingested(name, name.encode(), outcome="rewritten", ids=ids) for name in ("a", "b")]
    [_created, answer] = await scribe.tell(created(ids=ids), ingest(*files))
    types = [stored.event.type for stored in answer.events]
    assert types == ["v1.file.ingested", "v1.object.healed"] * 2
    assert [stored.sequence for stored in answer.events] == [2, 3, 4, 5]
    stamps = [stored.event.command for stored in answer.events]
    assert len({stamp.command_id for stamp in stamps}) == 1
    assert [stamp.digest is not None for stamp in stamps] == [True, False, False, False]
    assert (await log_of(store))[1:] == answer.events


async def test_what_is_stored_gives_the_very_bytes_of_the_record(store: EventStore, scribe: Scribe) -> None:
    ids = Ids()
    answers = await scribe.send(
        scribe.ask(created(name="Grüße 🎁", metadata={"ключ": "значение"}, ids=ids), key="first"),
        scribe.ask(ingest(ingested("naïve/e\u0301.txt", b"x", ids=ids))),
    )
    before = [encode_record(stored.event) for outcome in answers for stored in committed(outcome).events]
    assert [encode_record(stored.event) for stored in await log_of(store)] == before


async def test_a_refused_command_does_not_fail_its_neighbours(store: EventStore, scribe: Scribe) -> None:
    ids = Ids()
    [opened_, unknown, taken, again, conflict, last] = await scribe.send(
        scribe.ask(created(ids=ids)),
        scribe.ask(ingest(ingested("a", ids=ids), package=2)),
        scribe.ask(ingest(ingested("a/b", ids=ids), ingested("a/b", ids=ids))),
        scribe.ask(created(ids=ids)),
        scribe.ask(ingest(ingested("a", ids=ids), ingested("a/b", ids=ids))),
        scribe.ask(ingest(ingested("a/b", ids=ids))),
    )
    assert committed(opened_).sequence == 1
    assert isinstance(unknown, PackageNotFound)
    assert isinstance(taken, PathTaken)
    assert isinstance(again, PackageExists)
    assert isinstance(conflict, PathConflict)
    assert committed(last).sequence == 2
    assert await head_of(store) == 2


async def test_commands_are_judged_by_what_the_database_holds(scribe: Scribe) -> None:
    ids = Ids()
    await scribe.tell(created(ids=ids), ingest(ingested("d/e/f", b"1", ids=ids), ingested("x", b"2", ids=ids)))
    outcomes = await scribe.send(
        scribe.ask(ingest(ingested("d", ids=ids))),
        scribe.ask(ingest(ingested("d/e", ids=ids))),
        scribe.ask(ingest(ingested("x/y", ids=ids))),
        scribe.ask(ingest(ingested("d.", ids=ids))),
        scribe.ask(ingest(ingested("x", b"2", ids=ids), on_existing=OnExisting.RESUME)),
        scribe.ask(ingest(ingested("x", b"3", ids=ids), on_existing=OnExisting.RESUME)),
        scribe.ask(ingest(ingested("x", b"3", ids=ids), on_existing=OnExisting.REPLACE)),
        scribe.ask(ingest(ingested("y", ids=ids), ingested("z", ids=ids))),
    )
    found = [type(outcome) for outcome in outcomes]
    assert found == [PathConflict, PathConflict, PathConflict, Committed, Committed, PathTaken, Committed, TooManyFiles]
    assert [len(outcome.events) for outcome in outcomes if isinstance(outcome, Committed)] == [1, 0, 1]


async def test_a_batch_larger_than_a_statement_is_judged_in_full(scribe: Scribe) -> None:
    ids = Ids()
    files = [ingested(f"d{i}/f", b"%d" % i, ids=ids) for i in range(900)]
    await scribe.tell(created(ids=ids))
    first, again = await scribe.send(
        *(scribe.ask(ingest(*files, on_existing=OnExisting.RESUME)) for _ in range(2)),
        files_per_package_max=1000,
    )
    assert (len(committed(first).events), len(committed(again).events)) == (900, 0)
    [resumed, *conflicts] = await scribe.send(
        scribe.ask(ingest(*files, on_existing=OnExisting.RESUME)),
        *(scribe.ask(ingest(ingested(f"d{i}", ids=ids))) for i in range(900)),
    )
    assert committed(resumed).sequence == 901
    assert {type(conflict) for conflict in conflicts} == {PathConflict}


async def test_the_longest_path_goes_in_whatever_is_in_it(store: EventStore, scribe: Scribe) -> None:
    """Nothing in it can be compressed, and a database's index has to hold it as it is."""
    ids = Ids()
    noise = b64encode(shake_256(b"noise").digest(PATH_BYTES_MAX), b"-_").decode()
    longest = check_path("/".join(noise[start : start + 127] for start in range(0, PATH_BYTES_MAX, 128)) + "x")
    assert len(longest) == PATH_BYTES_MAX
    await scribe.tell(created(ids=ids), ingest(ingested("good", ids=ids)), ingest(ingested(longest, ids=ids)))
    record = await store.file(package_id_of(1), longest)
    assert record is not None
    assert record.path == longest


class TestRepeats:
    async def test_the_same_command_id_gets_the_first_answer(self, store: EventStore, scribe: Scribe) -> None:
        ids = Ids()
        request = scribe.ask(ingest(ingested("a", ids=ids), ingested("b", ids=ids)))
        await scribe.tell(created(ids=ids))
        [first] = await scribe.send(request)
        [second] = await scribe.send(request)
        assert committed(first).events == committed(second).events
        assert (committed(first).repeated, committed(second).repeated) == (False, True)
        assert committed(second).sequence == 3
        assert await head_of(store) == 3

    async def test_the_same_key_gets_the_first_answer_whatever_the_ids(self, scribe: Scribe) -> None:
        ids = Ids()
        [first] = await scribe.send(scribe.ask(created(1, ids=ids), key="nightly"))
        [second] = await scribe.send(scribe.ask(created(2, ids=ids), key="nightly"))
        assert committed(second).events == committed(first).events
        assert committed(second).repeated

    async def test_repeats_inside_one_batch_find_each_other(self, store: EventStore, scribe: Scribe) -> None:
        ids = Ids()
        by_id = scribe.ask(created(1, ids=ids))
        outcomes = await scribe.send(
            by_id, scribe.ask(created(2, ids=ids), key="k"), by_id, scribe.ask(created(3, ids=ids), key="k")
        )
        assert [committed(outcome).sequence for outcome in outcomes] == [1, 2, 1, 2]
        assert [committed(outcome).repeated for outcome in outcomes] == [False, False, True, True]
        assert await head_of(store) == 2

    @pytest.mark.parametrize("in_one_batch", [True, False])
    async def test_a_key_for_another_command_is_a_conflict(
        self, store: EventStore, scribe: Scribe, in_one_batch: bool
    ) -> None:
        ids = Ids()
        asked = scribe.ask(created(1, ids=ids), key="k")
        other = scribe.ask(created(2, name="weekly", ids=ids), key="k")
        if in_one_batch:
            [_first, conflict] = await scribe.send(asked, other)
        else:
            await scribe.send(asked)
            [conflict] = await scribe.send(other)
        assert isinstance(conflict, IdempotencyConflict)
        assert (conflict.key, conflict.sequence) == ("k", 1)
        assert await head_of(store) == 1

    async def test_a_command_id_for_another_command_is_a_conflict(self, scribe: Scribe) -> None:
        ids = Ids()
        asked = scribe.ask(created(1, ids=ids))
        await scribe.send(asked)
        [conflict] = await scribe.send(scribe.ask(created(2, name="weekly", ids=ids), command_id=asked.command_id))
        assert isinstance(conflict, IdempotencyConflict)
        assert conflict.key == asked.command_id

    async def test_many_keys_are_looked_up_in_one_batch(self, scribe: Scribe) -> None:
        ids = Ids()
        asked = [scribe.ask(created(i, ids=ids), key=f"key {i}") for i in range(1, 701)]
        first = await scribe.send(*asked)
        second = await scribe.send(*asked)
        assert [committed(outcome).events for outcome in second] == [committed(outcome).events for outcome in first]

    async def test_a_refused_command_may_be_asked_again(self, scribe: Scribe) -> None:
        ids = Ids()
        request = scribe.ask(ingest(ingested("a", ids=ids)), key="k")
        [refused] = await scribe.send(request)
        assert isinstance(refused, PackageNotFound)
        await scribe.tell(created(ids=ids))
        [done] = await scribe.send(request)
        assert committed(done).repeated is False


class TestWhatFailsAlone:
    """What cannot be written although it was decided; a database then commits the batch one by one."""

    async def test_an_event_id_that_two_commands_share_fails_the_second_alone(
        self, store: EventStore, scribe: Scribe
    ) -> None:
        ids = Ids()
        shared = created(2, name="weekly", ids=Ids())  # the same event id as the first command's
        [first, conflict, last] = await scribe.send(
            scribe.ask(created(1, ids=ids)), scribe.ask(shared), scribe.ask(created(3, ids=ids))
        )
        assert committed(first).sequence == 1
        assert isinstance(conflict, EventConflict)
        assert committed(last).sequence == 2
        assert [stored.sequence for stored in await log_of(store)] == [1, 2]
        assert [package.package_id for package in await store.packages(after=0, limit=9)] == [
            package_id_of(1),
            package_id_of(3),
        ]

    async def test_an_event_that_is_there_already_answers_with_its_first_sequence(
        self, store: EventStore, scribe: Scribe
    ) -> None:
        """Flagging says the same whoever says it, so another command may bring the very same event."""
        ids = Ids()
        known, new = ids(), ids()

        def found(event_id: str) -> FlagObject:
            return FlagObject(event_id, address_of(b"x"), BACKEND_ID, "damaged")

        await scribe.tell(FlagObjects((found(known),)))
        [answer, repeated] = await scribe.send(
            scribe.ask(FlagObjects((found(known), found(new)))), scribe.ask(FlagObjects((found(known),)))
        )
        assert [stored.sequence for stored in committed(answer).events] == [1, 2]
        assert committed(answer).sequence == 2
        assert [stored.sequence for stored in committed(repeated).events] == [1]
        assert await head_of(store) == 2

    async def test_repeats_are_found_one_by_one_too(self, store: EventStore, scribe: Scribe) -> None:
        ids = Ids()
        request = scribe.ask(created(1, ids=ids), key="k")
        clash = scribe.ask(created(2, name="weekly", ids=Ids()))
        [first, conflict, again] = await scribe.send(request, clash, request)
        assert isinstance(conflict, EventConflict)
        assert committed(again).events == committed(first).events
        assert committed(again).repeated
        assert await head_of(store) == 1

    async def test_a_number_that_no_record_holds_is_refused_alone(self, store: EventStore, scribe: Scribe) -> None:
        ids = Ids()
        small = ingested("vast", ids=ids)
        vast = replace(small, size_bytes=2**53, receipt=replace(small.receipt, size_bytes=2**53))
        [opened_, refused, last] = await scribe.send(
            scribe.ask(created(ids=ids)),
            scribe.ask(ingest(vast)),
            scribe.ask(ingest(ingested("b", ids=ids))),
        )
        assert isinstance(refused, NotEncodable)
        assert (committed(opened_).sequence, committed(last).sequence) == (1, 2)
        assert await head_of(store) == 2

    async def test_a_manifest_that_nobody_can_read_is_refused_alone(self, scribe: Scribe) -> None:
        ids = Ids()
        sealing = FinalizePackage(ids(), package_id_of(1), 1, b"not a manifest")
        [opened_, refused, last] = await scribe.send(
            scribe.ask(created(ids=ids)), scribe.ask(sealing), scribe.ask(ingest(ingested("b", ids=ids)))
        )
        assert isinstance(refused, EventRefused)
        assert (committed(opened_).sequence, committed(last).sequence) == (1, 2)

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    async def test_text_that_a_database_does_not_take_is_refused_alone(
        self, store: EventStore, scribe: Scribe, text: str
    ) -> None:
        """PostgreSQL has no NUL in text, and no database has lone surrogates: such a package is never there."""
        ids = Ids()
        strange = ingest(ingested("a", ids=ids))
        object.__setattr__(strange, "package_id", text)
        [opened_, refused, last] = await scribe.send(
            scribe.ask(created(ids=ids)), scribe.ask(strange), scribe.ask(RegisterMetadataSchema(ids(), "build", "{}"))
        )
        assert isinstance(refused, ArtifactStoreError)
        assert (committed(opened_).sequence, committed(last).sequence) == (1, 2)
        assert await head_of(store) == 2
