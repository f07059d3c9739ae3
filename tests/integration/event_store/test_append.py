"""What every event store promises about commands and the log that they make."""

from base64 import b64encode
from hashlib import shake_256
from itertools import batched

import pytest
from msgspec.structs import force_setattr

from artifactstore_protocols.commands import (
    ENTRIES_MAX,
    FinalizePackage,
    IngestFiles,
    OnExisting,
    RegisterMetadataSchema,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.event_types import (
    FILES_INGESTED,
    OBJECTS_FLAGGED,
    OBJECTS_RESTORED,
    OBJECTS_RETIRED,
    OBJECTS_STORED,
)
from artifactstore_protocols.events import Committed, IdempotencyConflict, encode_record
from artifactstore_protocols.ids import event_id_of
from artifactstore_protocols.manifest import ManifestInvalid
from artifactstore_protocols.packages import (
    ObjectsNotStored,
    PackageExists,
    PackageNotFound,
    PathConflict,
    PathTaken,
    TooManyFiles,
)
from artifactstore_protocols.paths import PATH_BYTES_MAX, check_path
from command_strategies import created, found, ingest, ingested, package_id_of
from database_tools import EPOCH_US, Scribe
from event_stores import head_of, log_of


def committed(outcome: CommandOutcome) -> Committed:
    assert isinstance(outcome, Committed), outcome
    return outcome


async def test_an_empty_log_has_its_head_at_zero(store: EventStore) -> None:
    assert await head_of(store) == 0
    assert await log_of(store) == ()


async def test_sequences_are_one_to_n_over_batches_of_any_size(store: EventStore, scribe: Scribe) -> None:
    package, head = 0, 1
    for size in (1, 3, 1, 5):
        batch = [created(package + i) for i in range(1, size + 1)]
        answers = await scribe.tell(*batch)
        assert [answer.sequence for answer in answers] == list(range(head + 1, head + size + 1))
        package, head = package + size, head + size
        assert [answer.events[-1].sequence for answer in answers] == [answer.sequence for answer in answers]
    log = await log_of(store)
    assert [stored.sequence for stored in log] == list(range(1, 12))
    assert await head_of(store) == 11
    assert [stored.event.recorded_at_us for stored in log] == [EPOCH_US + i for i in (1, *range(1, 11))]


async def test_events_of_one_command_are_neighbours_and_only_the_first_is_stamped(
    store: EventStore, scribe: Scribe
) -> None:
    await scribe.tell(created(), ingest(ingested("a", b"flawed")), found((b"flawed", "damaged")))
    request = scribe.ask(ingest(ingested("b", b"flawed", generation=2), ingested("c", b"new")))
    [outcome] = await scribe.send(request)
    answer = committed(outcome)
    types = [stored.event.type for stored in answer.events]
    assert types == [OBJECTS_STORED.name, FILES_INGESTED.name, OBJECTS_RETIRED.name]
    assert [stored.sequence for stored in answer.events] == [6, 7, 8]
    assert [stored.event.event_id for stored in answer.events] == [event_id_of(request.command_id, i) for i in range(3)]
    stamps = [stored.event.command for stored in answer.events]
    assert {stamp.command_id for stamp in stamps} == {request.command_id}
    assert [stamp.digest is not None for stamp in stamps] == [True, False, False]
    assert len({stored.event.recorded_at_us for stored in answer.events}) == 1
    assert (await log_of(store))[5:] == answer.events


async def test_what_is_stored_gives_the_very_bytes_of_the_record(store: EventStore, scribe: Scribe) -> None:
    answers = await scribe.send(
        scribe.ask(created(name="Grüße 🎁", metadata={"ключ": "значение"}), key="first"),
        scribe.ask(ingest(ingested("naïve/e\u0301.txt", b"x"))),
    )
    before = [encode_record(stored.event) for outcome in answers for stored in committed(outcome).events]
    assert [encode_record(stored.event) for stored in (await log_of(store))[1:]] == before


async def test_a_refused_command_does_not_fail_its_neighbours(store: EventStore, scribe: Scribe) -> None:
    [opened_, unknown, taken, again, conflict, last] = await scribe.send(
        scribe.ask(created()),
        scribe.ask(ingest(ingested("a"), package=2)),
        scribe.ask(ingest(ingested("e\u0301", b"1"), ingested("\u00e9", b"1"))),
        scribe.ask(created()),
        scribe.ask(ingest(ingested("a"), ingested("a/b"))),
        scribe.ask(ingest(ingested("a/b"))),
    )
    assert committed(opened_).sequence == 2
    assert isinstance(unknown, PackageNotFound)
    assert isinstance(taken, PathTaken)
    assert isinstance(again, PackageExists)
    assert isinstance(conflict, PathConflict)
    assert committed(last).sequence == 4
    assert await head_of(store) == 4


async def test_a_content_is_there_for_the_commands_that_follow_and_no_sooner(scribe: Scribe) -> None:
    """Within one batch, too; and a content that only a refused command brings is not there."""
    file, other = ingested("a", b"1"), ingested("b", b"2")
    outcomes = await scribe.send(
        scribe.ask(created()),
        scribe.ask(IngestFiles(package_id_of(1), (file.entry,), (), OnExisting.REFUSE)),
        scribe.ask(ingest(file)),
        scribe.ask(ingest(ingested("a", b"1"), other)),
        scribe.ask(IngestFiles(package_id_of(1), (file.entry._replace(path="c"),), (), OnExisting.REFUSE)),
        scribe.ask(IngestFiles(package_id_of(1), (other.entry,), (), OnExisting.REFUSE)),
    )
    assert [type(outcome) for outcome in outcomes] == [
        Committed,
        ObjectsNotStored,
        Committed,
        PathTaken,
        Committed,
        ObjectsNotStored,
    ]
    types = [[stored.event.type for stored in committed(outcomes[index]).events] for index in (2, 4)]
    assert types == [[OBJECTS_STORED.name, FILES_INGESTED.name], [FILES_INGESTED.name]]


async def test_commands_are_judged_by_what_the_database_holds(scribe: Scribe) -> None:
    await scribe.tell(created(), ingest(ingested("d/e/f", b"1"), ingested("x", b"2")))
    outcomes = await scribe.send(
        scribe.ask(ingest(ingested("d"))),
        scribe.ask(ingest(ingested("d/e"))),
        scribe.ask(ingest(ingested("x/y"))),
        scribe.ask(ingest(ingested("d."))),
        scribe.ask(ingest(ingested("x", b"2"), on_existing=OnExisting.RESUME)),
        scribe.ask(ingest(ingested("x", b"3"), on_existing=OnExisting.RESUME)),
        scribe.ask(ingest(ingested("x", b"3"), on_existing=OnExisting.REPLACE)),
        scribe.ask(ingest(ingested("y"), ingested("z"))),
    )
    assert [type(outcome) for outcome in outcomes] == [
        PathConflict,
        PathConflict,
        PathConflict,
        Committed,
        Committed,
        PathTaken,
        Committed,
        TooManyFiles,
    ]
    assert [len(outcome.events) for outcome in outcomes if isinstance(outcome, Committed)] == [2, 0, 3]


async def test_findings_change_what_is_news_and_no_object_that_changed_since(scribe: Scribe) -> None:
    await scribe.tell(created(), ingest(ingested("a", b"x"), ingested("b", b"yy")))  # stored by event 3

    async def types_after(*contents: tuple[bytes, str], as_of: int) -> list[str]:
        [answer] = await scribe.tell(found(*contents, as_of=as_of))
        return [stored.event.type for stored in answer.events]

    assert await types_after((b"x", "damaged"), as_of=2) == []
    assert await types_after((b"x", "damaged"), as_of=3) == [OBJECTS_FLAGGED.name]
    assert await types_after((b"x", "intact"), as_of=4) == []
    both = [OBJECTS_FLAGGED.name, OBJECTS_RESTORED.name]
    assert await types_after((b"x", "intact"), (b"yy", "missing"), as_of=5) == both
    assert await types_after((b"x", "intact"), (b"yy", "missing"), as_of=7) == []


@pytest.mark.slow
async def test_a_batch_larger_than_a_statement_is_judged_in_full(scribe: Scribe) -> None:
    paths = [f"d{i}/f" for i in range(900)]
    parts = [[ingested(path, path.encode()) for path in part] for part in batched(paths, ENTRIES_MAX)]
    await scribe.tell(created())
    puts = [ingest(*part, on_existing=OnExisting.RESUME) for part in parts]
    outcomes = await scribe.send(*map(scribe.ask, puts * 2), files_per_package_max=1000)
    assert [len(committed(outcome).events) for outcome in outcomes] == [2] * len(parts) + [0] * len(parts)
    outcomes = await scribe.send(*map(scribe.ask, puts), *(scribe.ask(ingest(ingested(f"d{i}"))) for i in range(900)))
    assert {committed(outcome).sequence for outcome in outcomes[: len(parts)]} == {2 + 2 * len(parts)}
    assert {type(conflict) for conflict in outcomes[len(parts) :]} == {PathConflict}


async def test_the_longest_path_goes_in_whatever_is_in_it(store: EventStore, scribe: Scribe) -> None:
    """Nothing in it can be compressed, and a database's index has to hold it as it is."""
    noise = b64encode(shake_256(b"noise").digest(PATH_BYTES_MAX), b"-_").decode()
    longest = check_path("/".join(noise[start : start + 127] for start in range(0, PATH_BYTES_MAX, 128)) + "x")
    assert len(longest) == PATH_BYTES_MAX
    await scribe.tell(created(), ingest(ingested("good")), ingest(ingested(longest)))
    record = await store.file(package_id_of(1), longest)
    assert record is not None
    assert record.path == longest


class TestRepeats:
    async def test_the_same_command_id_gets_the_first_answer(self, store: EventStore, scribe: Scribe) -> None:
        request = scribe.ask(ingest(ingested("a"), ingested("b")))
        await scribe.tell(created())
        [first] = await scribe.send(request)
        [second] = await scribe.send(request)
        assert committed(first).events == committed(second).events
        assert (committed(first).repeated, committed(second).repeated) == (False, True)
        assert committed(second).sequence == 4
        assert await head_of(store) == 4

    async def test_the_same_key_gets_the_first_answer_whatever_the_ids(self, scribe: Scribe) -> None:
        [first] = await scribe.send(scribe.ask(created(1), key="nightly"))
        [second] = await scribe.send(scribe.ask(created(2), key="nightly"))
        assert committed(second).events == committed(first).events
        assert committed(second).repeated

    async def test_repeats_inside_one_batch_find_each_other(self, store: EventStore, scribe: Scribe) -> None:
        by_id = scribe.ask(created(1))
        outcomes = await scribe.send(by_id, scribe.ask(created(2), key="k"), by_id, scribe.ask(created(3), key="k"))
        assert [committed(outcome).sequence for outcome in outcomes] == [2, 3, 2, 3]
        assert [committed(outcome).repeated for outcome in outcomes] == [False, False, True, True]
        assert await head_of(store) == 3

    @pytest.mark.parametrize("in_one_batch", [True, False])
    async def test_a_key_for_another_command_is_a_conflict(
        self, store: EventStore, scribe: Scribe, in_one_batch: bool
    ) -> None:
        asked = scribe.ask(created(1), key="k")
        other = scribe.ask(created(2, name="weekly"), key="k")
        if in_one_batch:
            [_first, conflict] = await scribe.send(asked, other)
        else:
            await scribe.send(asked)
            [conflict] = await scribe.send(other)
        assert isinstance(conflict, IdempotencyConflict)
        assert (conflict.key, conflict.sequence) == ("k", 2)
        assert await head_of(store) == 2

    async def test_a_command_id_for_another_command_is_a_conflict(self, scribe: Scribe) -> None:
        asked = scribe.ask(created(1))
        await scribe.send(asked)
        [conflict] = await scribe.send(scribe.ask(created(2, name="weekly"), command_id=asked.command_id))
        assert isinstance(conflict, IdempotencyConflict)
        assert conflict.key == asked.command_id

    @pytest.mark.slow
    async def test_many_keys_are_looked_up_in_one_batch(self, scribe: Scribe) -> None:
        asked = [scribe.ask(created(i), key=f"key {i}") for i in range(1, 701)]
        first = await scribe.send(*asked)
        second = await scribe.send(*asked)
        assert [committed(outcome).events for outcome in second] == [committed(outcome).events for outcome in first]

    async def test_a_refused_command_may_be_asked_again(self, scribe: Scribe) -> None:
        request = scribe.ask(ingest(ingested("a")), key="k")
        [refused] = await scribe.send(request)
        assert isinstance(refused, PackageNotFound)
        await scribe.tell(created())
        [done] = await scribe.send(request)
        assert committed(done).repeated is False


class TestWhatFailsAlone:
    """What no rule foresees; a database that refuses a batch over it commits the commands one by one."""

    async def test_a_manifest_that_nobody_can_read_is_refused_alone(self, scribe: Scribe) -> None:
        finalizing = FinalizePackage(package_id_of(1), 1, b"not a manifest")
        [opened_, refused, last] = await scribe.send(
            scribe.ask(created()), scribe.ask(finalizing), scribe.ask(ingest(ingested("b")))
        )
        assert isinstance(refused, ManifestInvalid)
        assert (committed(opened_).sequence, committed(last).sequence) == (2, 4)

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    async def test_text_that_a_database_does_not_take_is_refused_alone(
        self, store: EventStore, scribe: Scribe, text: str
    ) -> None:
        """PostgreSQL has no NUL in text, and no database has lone surrogates: such a package is never there."""
        strange = ingest(ingested("a"))
        force_setattr(strange, "package_id", text)
        [opened_, refused, last] = await scribe.send(
            scribe.ask(created()), scribe.ask(strange), scribe.ask(RegisterMetadataSchema("build", "{}"))
        )
        assert isinstance(refused, ArtifactStoreError)
        assert (committed(opened_).sequence, committed(last).sequence) == (2, 3)
        assert await head_of(store) == 3
