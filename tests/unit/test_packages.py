"""The rules of packages by name: creating, finalizing, schemas and findings, and what deciding needs to know."""

import dataclasses
from itertools import count

import pytest
from msgspec.structs import replace

from artifactstore_protocols import manifest
from artifactstore_protocols.commands import (
    Command,
    CommandRequest,
    ObjectFinding,
    RecordFindings,
    RegisterMetadataSchema,
)
from artifactstore_protocols.entries import Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import (
    LOG_CREATED,
    PACKAGE_CREATED,
    PACKAGE_FINALIZED,
    MetadataSchemaRegistered,
    ObjectsFlagged,
    ObjectsRestored,
    PackageCreated,
    PackageFinalized,
    Payload,
)
from artifactstore_protocols.events import Committed, IdempotencyConflict
from artifactstore_protocols.judging import Judged, command_needs, decide, judge_batch
from artifactstore_protocols.packages import PackageChanged, PackageExists, PackageNotFound, TooManyFiles
from artifactstore_protocols.retention import RETENTION_CLASSES, UnknownRetentionClass
from artifactstore_protocols.state import ContentState, LogState, Needs, PackageState, PlaceState
from command_strategies import (
    Ids,
    created,
    evolved,
    finalize,
    finalized,
    found,
    ingest,
    ingested,
    opened,
    package_id_of,
    place_of,
    stored_object,
)

FIRST, SECOND = package_id_of(1), package_id_of(2)
NFC, NFD = "é", "e\u0301"
MANY = 1000
X, YY = stored_object(b"x"), stored_object(b"yy")


@pytest.mark.parametrize("name", RETENTION_CLASSES)
def test_a_package_is_created_with_the_duration_of_its_class(name: str) -> None:
    decided = decide(created(retention_class=name, metadata={"branch": "main"}), LogState(), entries_max=MANY)
    assert decided == (PackageCreated(FIRST, "nightly", name, RETENTION_CLASSES[name].duration_us, {"branch": "main"}),)


def test_what_is_created_does_not_change_with_the_caller_s_mapping() -> None:
    metadata = {"branch": "main"}
    (payload,) = decide(created(metadata=metadata), LogState(), entries_max=MANY)
    metadata["branch"] = "other"
    assert isinstance(payload, PackageCreated)
    assert payload.metadata == {"branch": "main"}


def test_a_package_id_is_taken_once() -> None:
    state = opened()
    with pytest.raises(PackageExists, match=f"package {FIRST} exists already") as refused:
        decide(created(), state, entries_max=MANY)
    assert refused.value.package_id == FIRST
    assert list(evolved(state, created(2), after=1).packages) == [FIRST, SECOND]


def test_a_finalized_package_s_id_is_taken_too() -> None:
    with pytest.raises(PackageExists):
        decide(created(), finalized(), entries_max=MANY)


def test_an_unknown_retention_class_is_refused() -> None:
    with pytest.raises(UnknownRetentionClass) as refused:
        decide(created(retention_class="forever"), LogState(), entries_max=MANY)
    assert refused.value.name == "forever"


def test_a_package_is_finalized_at_the_version_that_its_manifest_was_built_for() -> None:
    assert decide(finalize(2), opened(("a", b"x")), entries_max=MANY) == (PackageFinalized(b"manifest"),)


def test_a_package_without_entries_can_be_finalized() -> None:
    assert decide(finalize(1), opened(), entries_max=MANY)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_manifest_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(PackageChanged, match=rf"\(version {version} became 2\); finalize it again") as refused:
        decide(finalize(version), opened(("a", b"x")), entries_max=MANY)
    error = refused.value
    assert (error.package_id, error.expected_version, error.version) == (FIRST, version, 2)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_finalizing_again_finds_it_done(version: int) -> None:
    assert decide(finalize(version), finalized(), entries_max=MANY) == ()


def test_a_package_that_is_not_there_is_not_finalized() -> None:
    with pytest.raises(PackageNotFound):
        decide(finalize(1, package=2), opened(), entries_max=MANY)


def test_each_registration_of_a_schema_is_its_next_version() -> None:
    state = LogState(schema_versions={"other": 7})
    command = RegisterMetadataSchema("build", "{}")
    for version in (1, 2, 3):
        assert decide(command, state, entries_max=MANY) == (MetadataSchemaRegistered("build", version, "{}"),)
        evolved(state, command)
    assert state.schema_versions == {"other": 7, "build": 3}


def finding(content: bytes, integrity: str) -> ObjectFinding:
    return ObjectFinding(stored_object(content).digest, place_of(content), integrity)


def test_what_is_found_flawed_or_whole_again_is_one_event_each() -> None:
    state = evolved(opened(("a", b"x"), ("b", b"yy"), ("c", b"")), found((b"x", "damaged")), after=3)
    decided = decide(found((b"yy", "missing"), (b"x", "intact"), (b"", "damaged")), state, entries_max=MANY)
    assert decided == (
        ObjectsFlagged((finding(b"yy", "missing"), finding(b"", "damaged"))),
        ObjectsRestored((finding(b"x", "intact"),)),
    )


@pytest.mark.parametrize("integrity", ["intact", "damaged"])
def test_what_is_known_of_an_object_is_no_news(integrity: str) -> None:
    state = opened(("a", b"x"))
    if integrity == "damaged":
        evolved(state, found((b"x", "damaged")), after=3)
    assert decide(found((b"x", integrity)), state, entries_max=MANY) == ()


def test_a_missing_object_may_turn_out_to_be_damaged() -> None:
    state = evolved(opened(("a", b"x")), found((b"x", "missing")), after=3)
    assert decide(found((b"x", "damaged")), state, entries_max=MANY) == (ObjectsFlagged((finding(b"x", "damaged"),)),)


def test_an_object_that_changed_since_the_verification_began_is_left_as_it_is() -> None:
    state = opened(("a", b"x"))  # stored at 2
    assert decide(found((b"x", "damaged"), as_of=1), state, entries_max=MANY) == ()
    assert decide(found((b"x", "damaged"), as_of=2), state, entries_max=MANY) != ()


@pytest.mark.parametrize("other", [finding(b"yy", "damaged"), ObjectFinding(X.digest, place_of(b"yy"), "damaged")])
def test_nothing_is_found_of_an_object_that_the_log_does_not_name(other: ObjectFinding) -> None:
    with pytest.raises(InvalidValue, match="no event before has stored it there"):
        decide(RecordFindings((other,), 9), opened(("a", b"x")), entries_max=MANY)


def test_needs_name_the_package_its_paths_the_directories_above_them_and_the_contents() -> None:
    command = ingest(ingested(f"{NFD}/b/c", b"x"), ingested("d", b"x"))
    links = replace(command, entries=(*command.entries, link_entry("l/m", "x"), directory_entry("n")), stored=(YY,))
    assert command_needs([links]) == Needs(
        packages=frozenset({FIRST}),
        entries=frozenset((FIRST, key) for key in (f"{NFC}/b/c", "d", "l/m", "n")),
        at=frozenset((FIRST, key) for key in (NFC, f"{NFC}/b", "l")),
        contents=frozenset({X.digest, YY.digest}),
    )
    assert command_needs([created()]) == Needs(packages=frozenset({FIRST}), names=frozenset({"nightly"}))
    assert command_needs([finalize(1)]) == Needs(packages=frozenset({FIRST}), described=frozenset({FIRST}))
    child = replace(created(), schema="build@2", parents=(SECOND,))
    assert command_needs([child]) == Needs(
        packages=frozenset({FIRST, SECOND}),
        schemas=frozenset({"build"}),
        schema_texts=frozenset({"build@2"}),
        names=frozenset({"nightly"}),
    )
    assert command_needs([RegisterMetadataSchema("build", "{}")]) == Needs(schemas=frozenset({"build"}))
    assert command_needs([found((b"x", "damaged"))]) == Needs(contents=frozenset({X.digest}))


def test_needs_of_a_batch_are_those_of_all_its_commands() -> None:
    commands: list[Command] = [created(2), ingest(ingested("a/b", b"x")), RegisterMetadataSchema("build", "{}")]
    assert command_needs(commands) == Needs(
        packages=frozenset({FIRST, SECOND}),
        entries=frozenset({(FIRST, "a/b")}),
        at=frozenset({(FIRST, "a")}),
        contents=frozenset({X.digest}),
        schemas=frozenset({"build"}),
        names=frozenset({"nightly"}),
    )


class Judge:
    """A log that batches are judged against, one after the other."""

    def __init__(self, state: LogState, head: int) -> None:
        self.state, self.head = state, head
        self.ids, self.clock = Ids(), count(70)

    def batch(self, *requests: CommandRequest, known: tuple[Committed, ...] = ()) -> Judged:
        return judge_batch(
            requests,
            self.state,
            [stored for committed in known for stored in committed.events],
            head=self.head,
            now_us=lambda: next(self.clock),
            new_id=self.ids,
            entries_max=2,
        )

    def __call__(self, *requests: CommandRequest, known: tuple[Committed, ...] = ()) -> list[object]:
        judged = self.batch(*requests, known=known)
        written = [
            stored
            for outcome in judged.outcomes
            if isinstance(outcome, Committed) and not outcome.repeated
            for stored in outcome.events
        ]
        assert judged.events == written
        assert [each.sequence for each in written] == [self.head + 1 + index for index in range(len(written))]
        self.head += len(written)
        return list(judged.outcomes)

    def ask(self, files: int, *, key: str | None = None, actor: str = "ci") -> CommandRequest:
        command = ingest(*(ingested(f"{next(self.clock)}", b"x") for _ in range(files)))
        return CommandRequest(self.ids(), command, actor, key)


@pytest.fixture
def judge() -> Judge:
    return Judge(opened(), 1)


def payloads_of(outcome: object) -> list[Payload]:
    assert isinstance(outcome, Committed)
    return [stored.decode() for stored in outcome.events]


def test_the_first_event_alone_speaks_for_its_command(judge: Judge) -> None:
    request = judge.ask(1, key="nightly")
    [committed] = judge(request)
    assert isinstance(committed, Committed)
    first, second = (stored.event for stored in committed.events)
    assert (first.command.command_id, first.command.idempotency_key) == (request.command_id, "nightly")
    assert first.command.digest is not None
    assert (second.command.digest, second.command.idempotency_key) == (None, None)
    assert second.command.command_id == request.command_id
    assert first.recorded_at_us == second.recorded_at_us
    assert (first.subject, second.subject) == ("objects", FIRST)


def test_a_command_that_is_refused_leaves_its_neighbours_alone(judge: Judge) -> None:
    first, refused, last = judge(judge.ask(1), judge.ask(2), judge.ask(1))
    assert isinstance(refused, TooManyFiles)
    assert [len(payloads_of(outcome)) for outcome in (first, last)] == [2, 1]
    assert judge.state.packages[FIRST].files == 2


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in another batch"])
@pytest.mark.parametrize("by_key", [True, False], ids=["by its key", "by its id"])
def test_a_command_that_is_sent_again_gets_its_first_answer(judge: Judge, by_key: bool, together: bool) -> None:
    request = judge.ask(1, key="nightly" if by_key else None)
    again = replace(request, command_id=judge.ids()) if by_key else request
    if together:
        first, second = judge(request, again)
    else:
        [first] = judge(request)
        assert isinstance(first, Committed)
        judge(judge.ask(1))
        [second] = judge(again, known=(first,))
    assert isinstance(first, Committed)
    assert second == dataclasses.replace(first, repeated=True)


@pytest.mark.parametrize("by_key", [True, False], ids=["key", "id"])
def test_a_key_or_an_id_stands_for_one_command(judge: Judge, by_key: bool) -> None:
    request = judge.ask(1, key="nightly")
    other = replace(request, principal="someone")
    other = replace(other, command_id=judge.ids()) if by_key else replace(other, idempotency_key=None)
    _first, refused = judge(request, other)
    assert isinstance(refused, IdempotencyConflict)
    assert (refused.key, refused.sequence) == ("nightly" if by_key else request.command_id, 2)


def test_a_log_begins_once_with_the_first_command_that_writes() -> None:
    judge = Judge(LogState(), 0)
    refused, *opened_ = (judge.ask(1), *(CommandRequest(judge.ids(), created(each), "ci", None) for each in (1, 2)))
    judged = judge.batch(refused)
    assert (judged.events, [type(outcome) for outcome in judged.outcomes]) == ([], [PackageNotFound])
    judged = judge.batch(refused, *opened_)
    assert [stored.event.type for stored in judged.events] == [LOG_CREATED.name, *[PACKAGE_CREATED.name] * 2]
    assert [outcome.sequence for outcome in judged.outcomes if isinstance(outcome, Committed)] == [2, 3]
    assert len({stored.event.command.command_id for stored in judged.events}) == 3


def test_a_command_that_changes_nothing_is_answered_with_the_head(judge: Judge) -> None:
    first, done = judge(judge.ask(1), CommandRequest(judge.ids(), found((b"x", "intact")), "ci", None))
    assert isinstance(first, Committed)
    assert done == Committed((), first.sequence, repeated=False)


def test_an_object_is_stored_by_the_first_command_that_brings_it(judge: Judge) -> None:
    first, second = (CommandRequest(judge.ids(), ingest(ingested(path, b"x")), "ci", None) for path in "ab")
    outcomes = judge(first, second)
    assert [len(payloads_of(outcome)) for outcome in outcomes] == [2, 1]


def test_a_content_may_have_objects_in_several_places() -> None:
    elsewhere = X._replace(place=Place("s3", X.place.object_key))
    state = evolved(opened(), replace(ingest(ingested("a", b"x")), stored=(X, elsewhere)), after=1)
    assert set(state.objects[X.digest]) == {X.place, elsewhere.place}


def test_an_object_key_names_one_content() -> None:
    command = ingest(ingested("a", b"x"), ingested("b", b"yy"))
    with pytest.raises(InvalidValue, match="object key"):
        decide(replace(command, stored=(X, YY._replace(place=X.place))), opened(), entries_max=MANY)


def test_the_manifest_of_a_large_package_has_parts_of_at_most_1_000_entries() -> None:
    """A flaw in the last is found."""
    entries = {
        f"d/{number:04}": file_entry(f"d/{number:04}", False, "text/plain", 1, X.digest) for number in range(2500)
    }
    package = PackageState(FIRST, 2, "nightly", "standard", b"\xa0", 0, files=2500, total_bytes=2500, entries=entries)
    state = LogState({FIRST: package}, {X.digest: ContentState("blake3", X.sha256, 1)})
    state.set_place(X.digest, X.place, PlaceState("intact", 3))
    built = manifest.Manifest.build(
        package=manifest.ManifestPackage(FIRST, "nightly", 0, 1, {}),
        entries=[
            manifest.FileEntry("file", path, entry.executable, 1, entry.media_type, X.digest, X.sha256)
            for path, entry in entries.items()
        ],
        storage_receipts=[manifest.ManifestReceipt(X.digest, X.place.backend_id, X.place.object_key)],
        retention_class="standard",
        retention_duration_us=None,
        producer=manifest.Producer("artifactstore", "0"),
        principal="ci",
    )
    parts = list(PACKAGE_FINALIZED.parts(PackageFinalized(manifest.encode(built))))
    assert [len(part.needs.at) for part in parts] == [1000, 1000, 500]
    for part in parts:
        part.check(state)
    entries["d/2499"] = entries["d/2499"]._replace(executable=True)
    for part in parts[:2]:
        part.check(state)
    with pytest.raises(InvalidValue, match="'d/2499'"):
        parts[2].check(state)
