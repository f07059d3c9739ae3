"""Projections say absolutely what an event means for the tables, and folding a batch of them changes nothing."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import reference_cbor
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import ObjectFinding
from artifactstore_protocols.entries import Place, StoredObject, directory_entry, file_entry, link_entry
from artifactstore_protocols.event_types import (
    ClockConfirmed,
    ClockObserved,
    ContentsPurged,
    EntriesReleased,
    FilesIngested,
    HoldPlaced,
    HoldReleased,
    KeepPolicyDeleted,
    KeepPolicySet,
    MetadataSchemaRegistered,
    ObjectsCondemned,
    ObjectsFlagged,
    ObjectsRemoved,
    ObjectsReprieved,
    ObjectsRestored,
    ObjectsRetired,
    ObjectsStored,
    PackageAnnotated,
    PackageCreated,
    PackageDeleted,
    PackageExpired,
    PackageFinalized,
    Payload,
    RetentionChanged,
    RetentionClassAdded,
    SchemaRequirementDeleted,
    SchemaRequirementSet,
    StoreVerified,
    TagDeleted,
    TagSet,
    TokenCreated,
    TokenRevoked,
    Totals,
    UnknownEventType,
    encode_payload,
    type_of,
)
from artifactstore_protocols.events import CommandStamp, Event, EventRefused, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.judging import project
from artifactstore_protocols.manifest import Manifest
from artifactstore_protocols.object_keys import first_key_of
from artifactstore_protocols.verification import VerifiedKey
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
    Delete,
    DeleteRange,
    MarkVerified,
    NamedCells,
    Put,
    PutIfAbsent,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
    coalesce,
)
from command_strategies import address_of, package_id_of, payloads
from manifest_samples import sample_manifest
from memory_views import MemoryViews
from strategies import manifests

STAMP = CommandStamp(package_id_of(9))
DIGEST, OTHER, SHA256 = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def stored(payload: Payload, *, sequence: int = 7) -> StoredEvent:
    event = Event(package_id_of(8), type_of(payload).name, "subject", "ci", 70, encode_payload(payload), STAMP)
    return StoredEvent(sequence, event)


FILES_PUT = FilesIngested(
    package_id="p",
    package_number=1,
    totals=Totals(version=3, files=2, links=4, directories=5, total_bytes=9, stored_bytes=7),
    digest_algorithm="blake3",
    entries=(
        file_entry("e\u0301", True, "text/plain", 1, DIGEST),
        link_entry("link", "../é"),
        directory_entry("logs"),
    ),
    path_keys=("é", "link", "logs"),
    replaced=frozenset({"link"}),
    removed=("é/a", "b"),
)
OBJECT = StoredObject(DIGEST, SHA256, 1, Place("local", "k"), "archive", "required")
FILE_ROW: NamedCells = {
    "package_number": 1,
    "path_key": "é",
    "path": "e\u0301",
    "kind": 0,
    "executable": 1,
    "media_type": "text/plain",
    "digest_primary": DIGEST,
    "link_target": None,
    "sequence": 7,
}
CONTENT_ROW: NamedCells = {
    "digest_primary": DIGEST,
    "digest_algorithm": "blake3",
    "digest_sha256": SHA256,
    "size_bytes": 1,
    "reference_count": 0,
    "sequence": 7,
}
LOCATION_ROW: NamedCells = {
    "digest_primary": DIGEST,
    "backend_id": "local",
    "object_key": "k",
    "retrieval_tier": 1,
    "restore_status": 1,
    "state": "live",
    "integrity": "intact",
    "stored_at": 70,
    "changed_at": None,
    "rule": None,
    "sequence": 7,
    "verified_sequence": 7,
}
PACKAGE_ROW: NamedCells = {
    "package_id": "p",
    "name": "nightly",
    "status": "open",
    "version": 1,
    "file_count": 0,
    "link_count": 0,
    "directory_count": 0,
    "total_bytes": 0,
    "stored_bytes": 0,
    "retention_class": "short",
    "metadata": reference_cbor.encode({"branch": "main"}),
    "created_by": "ci",
    "created_at": 70,
    "finalized_at": None,
    "manifest_digest": None,
    "tree_digest": None,
    "created_sequence": 7,
    "finalized_sequence": None,
    "metadata_schema": None,
    "gone_at": None,
    "gone_by": None,
    "gone_reason": None,
    "gone_sequence": None,
}
RETENTION_ROW: NamedCells = {
    "package_id": "p",
    "retention_class": "short",
    "duration_us": 5,
    "status": "open",
    "retained_from": None,
    "expires_at": None,
    "sequence": 7,
}
HOLD_ROW: NamedCells = {
    "hold_id": "h",
    "package_id": "p",
    "reason": "audit",
    "placed_by": "ci",
    "placed_at": 70,
    "sequence": 7,
}
PURGED_ROW: NamedCells = {
    "digest_primary": DIGEST,
    "reason": "leaked",
    "purged_by": "ci",
    "purged_at": 70,
    "sequence": 7,
}
CLOCK_ROW: NamedCells = {"id": 1, "observed_at": 70, "sequence": 7}
REQUIREMENT_ROW: NamedCells = {
    "glob": "nightly*",
    "schema": "build@3",
    "set_by": "ci",
    "set_at": 70,
    "sequence": 7,
}
SCHEMA_ROW: NamedCells = {
    "name": "build",
    "version": 3,
    "schema": b'{"a":"\xc3\xa9"}',
    "registered_at": 70,
    "sequence": 7,
}
CLASS_ROW: NamedCells = {"name": "release", "duration_us": 9, "added_by": "ci", "added_at": 70, "sequence": 7}
KEEP_POLICY_ROW: NamedCells = {
    "package_group": "nightly-*",
    "rules": reference_cbor.encode({"last": 3, "tagged": ["release-*"]}),
    "set_by": "ci",
    "set_at": 70,
    "sequence": 7,
}
TOKEN_ROW: NamedCells = {
    "name": "ci",
    "scopes": "read,tag",
    "packages": reference_cbor.encode(["a-*", "b"]),
    "expires_at": 9,
    "digest": b"1" * 32,
    "store_id": "s",
    "created_by": "ci",
    "created_at": 70,
    "revoked_at": None,
    "revoked_by": None,
    "revoked_reason": None,
    "sequence": 7,
}
TAG_ROW: NamedCells = {
    "tag": "release",
    "package_id": "p",
    "protected": 1,
    "set_by": "ci",
    "set_at": 70,
    "sequence": 7,
}
TOTALS_ROW: NamedCells = {
    "id": 1,
    "packages": 3,
    "finalized": 2,
    "files": 5,
    "links": 1,
    "directories": 4,
    "total_bytes": 99,
    "objects": 6,
    "object_bytes": 88,
    "condemned": 7,
    "condemned_bytes": 6,
    "unreleased": 9,
    "unreleased_bytes": 8,
    "deleted": 2,
    "expired": 1,
    "retired": 4,
    "retired_bytes": 3,
    "removed": 5,
}
TERM = blake3(reference_cbor.encode(["branch", "main"])).hexdigest(length=16)
VALUE_ROW: NamedCells = {"package_number": 7, "key": "branch", "annotation": None, "term": TERM, "sequence": 7}
SCORE_TERM = blake3(reference_cbor.encode(["score", "4"])).hexdigest(length=16)
SCORE_ROW: NamedCells = {**VALUE_ROW, "key": "score", "annotation": "4", "term": SCORE_TERM}
PARENT_ROW: NamedCells = {"package_number": 7, "parent_id": "q", "manifest_digest": "blake3:1"}
ROWS = {
    PACKAGES: PACKAGE_ROW,
    CONTENTS: CONTENT_ROW,
    FILES: FILE_ROW,
    LOCATIONS: LOCATION_ROW,
    RETENTION: RETENTION_ROW,
    SCHEMAS: SCHEMA_ROW,
    REQUIREMENTS: REQUIREMENT_ROW,
    TAGS: TAG_ROW,
    VALUES: VALUE_ROW,
    PARENTS: PARENT_ROW,
    KEEP_POLICIES: KEEP_POLICY_ROW,
    CLASSES: CLASS_ROW,
    HOLDS: HOLD_ROW,
    CLOCK: CLOCK_ROW,
    PURGED: PURGED_ROW,
    TOKENS: TOKEN_ROW,
    TOTALS: TOTALS_ROW,
}
PACKAGE_TOTALS: NamedCells = {
    "version": 3,
    "file_count": 2,
    "link_count": 4,
    "directory_count": 5,
    "total_bytes": 9,
    "stored_bytes": 7,
}
BARE: NamedCells = {"path": None, "executable": 0, "media_type": None, "digest_primary": None}


def gone(status: str, reason: str) -> NamedCells:
    return {"status": status, "gone_at": 70, "gone_by": "ci", "gone_reason": reason, "gone_sequence": 7}


def put(view: ViewTable, *rows: NamedCells) -> Put:
    return Put(view, [tuple(row.values()) for row in rows])


def put_if_absent(view: ViewTable, *rows: NamedCells) -> PutIfAbsent:
    return PutIfAbsent(view, [tuple(row.values()) for row in rows])


OF_FILES = (
    put(
        FILES,
        FILE_ROW,
        {**FILE_ROW, **BARE, "path_key": "link", "kind": 1, "link_target": "../é"},
        {**FILE_ROW, **BARE, "path_key": "logs", "kind": 2},
    ),
    Delete(FILES, [(1, "é/a"), (1, "b")]),
    Update(PACKAGES, ("p",), PACKAGE_TOTALS),
)
MANIFEST = sample_manifest()
FINALIZED = manifest.encode(MANIFEST)
KEY = (MANIFEST.package.package_id,)

FIRST = Place("local", first_key_of("blake3", DIGEST.hex()))
SECOND = Place("s3", first_key_of("blake3", OTHER.hex()) + ".g2")
DUE = (
    (3, DIGEST, FIRST.backend_id, FIRST.object_key),
    (5, OTHER, SECOND.backend_id, SECOND.object_key),
)
KEYS: list[Row] = [(DIGEST, *FIRST), (OTHER, *SECOND)]

PROJECTED: dict[str, tuple[Payload, Sequence[RowOperation]]] = {
    "created": (
        PackageCreated("p", "nightly", "short", 5, {"branch": "main"}),
        [put(PACKAGES, PACKAGE_ROW), put(RETENTION, RETENTION_ROW), put(VALUES, VALUE_ROW)],
    ),
    "created for ever": (
        PackageCreated("p", "nightly", "short", None, {"branch": "main"}),
        [put(PACKAGES, PACKAGE_ROW), put(RETENTION, {**RETENTION_ROW, "duration_us": None}), put(VALUES, VALUE_ROW)],
    ),
    "stored": (
        ObjectsStored("blake3", (OBJECT, OBJECT._replace(digest=OTHER), OBJECT._replace(place=Place("s3", "k")))),
        [
            put_if_absent(CONTENTS, CONTENT_ROW, {**CONTENT_ROW, "digest_primary": OTHER}),
            put(
                LOCATIONS,
                LOCATION_ROW,
                {**LOCATION_ROW, "digest_primary": OTHER},
                {**LOCATION_ROW, "backend_id": "s3"},
            ),
        ],
    ),
    "ingested": (FILES_PUT, OF_FILES),
    "ingested without removing": (replace(FILES_PUT, removed=()), [OF_FILES[0], OF_FILES[2]]),
    "finalized": (
        PackageFinalized(FINALIZED),
        [
            Update(
                PACKAGES,
                KEY,
                {
                    "status": "finalized",
                    "finalized_at": MANIFEST.package.finalized_at_us,
                    "manifest_digest": str(address_of(FINALIZED)),
                    "tree_digest": MANIFEST.provenance.tree_digest,
                    "finalized_sequence": 7,
                },
            ),
            Update(
                RETENTION,
                KEY,
                {
                    "status": "retained",
                    "retained_from": MANIFEST.package.finalized_at_us,
                    "expires_at": MANIFEST.package.finalized_at_us + 86_400_000_000,
                    "sequence": 7,
                },
            ),
        ],
    ),
    "registered": (MetadataSchemaRegistered("build", 3, '{"a":"é"}'), [put(SCHEMAS, SCHEMA_ROW)]),
    "required": (SchemaRequirementSet("nightly*", "build@3"), [put(REQUIREMENTS, REQUIREMENT_ROW)]),
    "no longer required": (SchemaRequirementDeleted("nightly*"), [Delete(REQUIREMENTS, (("nightly*",),))]),
    "tag set": (TagSet("release", "p", True), [put(TAGS, TAG_ROW)]),
    "created from another": (
        PackageCreated("p", "nightly", "short", 5, {}, "build@3", {"q": "blake3:1"}),
        [
            put(PACKAGES, {**PACKAGE_ROW, "metadata": reference_cbor.encode({}), "metadata_schema": "build@3"}),
            put(RETENTION, RETENTION_ROW),
            put(PARENTS, PARENT_ROW),
        ],
    ),
    "entries released": (
        EntriesReleased("p", 7, "a", "é", 3, 2, 1, 9),
        [
            DeleteRange(FILES, (7,), "a", "é"),
            Update(PACKAGES, ("p",), {"file_count": 3, "link_count": 2, "directory_count": 1, "total_bytes": 9}),
        ],
    ),
    "annotated": (
        PackageAnnotated("p", 7, {"score": 4, "hosts": ["é"]}, ("old",)),
        [
            Delete(VALUES, ((7, "old"),)),
            put(VALUES, {**VALUE_ROW, "key": "hosts", "annotation": '["é"]', "term": None}, SCORE_ROW),
        ],
    ),
    "retention class added": (RetentionClassAdded("release", 9), [put(CLASSES, CLASS_ROW)]),
    "keep policy set": (
        KeepPolicySet("nightly-*", {"last": 3, "tagged": ["release-*"]}),
        [put(KEEP_POLICIES, KEEP_POLICY_ROW)],
    ),
    "keep policy deleted": (KeepPolicyDeleted("nightly-*"), [Delete(KEEP_POLICIES, (("nightly-*",),))]),
    "token created": (
        TokenCreated("ci", ("read", "tag"), ("a-*", "b"), 9, b"1" * 32, "s"),
        [put(TOKENS, TOKEN_ROW)],
    ),
    "token revoked": (
        TokenRevoked("ci", "leaked"),
        [Update(TOKENS, ("ci",), {"revoked_at": 70, "revoked_by": "ci", "revoked_reason": "leaked"})],
    ),
    "deleted": (
        PackageDeleted("p", "leaked"),
        [Update(PACKAGES, ("p",), gone("deleted", "leaked")), Update(RETENTION, ("p",), {"status": "deleted"})],
    ),
    "expired": (
        PackageExpired("p", "retention", 69, 3),
        [Update(PACKAGES, ("p",), gone("expired", "retention")), Update(RETENTION, ("p",), {"status": "expired"})],
    ),
    "retention changed": (
        RetentionChanged("p", "custom", 5, 75),
        [
            Update(PACKAGES, ("p",), {"retention_class": "custom"}),
            Update(
                RETENTION,
                ("p",),
                {"retention_class": "custom", "duration_us": 5, "expires_at": 75, "sequence": 7},
            ),
        ],
    ),
    "hold placed": (HoldPlaced("h", "p", "audit"), [put(HOLDS, HOLD_ROW)]),
    "hold released": (HoldReleased("h", "p"), [Delete(HOLDS, (("h",),))]),
    "clock observed": (ClockObserved(70), [put(CLOCK, CLOCK_ROW)]),
    "clock confirmed": (ClockConfirmed(70), [put(CLOCK, CLOCK_ROW)]),
    "tag deleted": (TagDeleted("release"), [Delete(TAGS, (("release",),))]),
    "flagged": (
        ObjectsFlagged(
            (
                ObjectFinding(DIGEST, Place("local", "k"), "missing"),
                ObjectFinding(OTHER, Place("s3", "k"), "damaged"),
            )
        ),
        [
            Update(LOCATIONS, (DIGEST, "local", "k"), {"integrity": "missing", "sequence": 7, "verified_sequence": 7}),
            Update(LOCATIONS, (OTHER, "s3", "k"), {"integrity": "damaged", "sequence": 7, "verified_sequence": 7}),
        ],
    ),
    "restored": (
        ObjectsRestored((ObjectFinding(DIGEST, Place("local", "k"), "intact"),)),
        [Update(LOCATIONS, (DIGEST, "local", "k"), {"integrity": "intact", "sequence": 7, "verified_sequence": 7})],
    ),
    "condemned": (
        ObjectsCondemned((FIRST, SECOND), "unreferenced"),
        [Update(LOCATIONS, key, {"state": "condemned", "changed_at": 70, "rule": "unreferenced"}) for key in KEYS],
    ),
    "reprieved": (
        ObjectsReprieved((FIRST, SECOND)),
        [Update(LOCATIONS, key, {"state": "live", "changed_at": None, "rule": None}) for key in KEYS],
    ),
    "contents purged": (
        ContentsPurged((DIGEST,), (FIRST, SECOND), "leaked"),
        [
            put(PURGED, PURGED_ROW),
            *(Update(LOCATIONS, key, {"state": "retired", "changed_at": 70, "rule": "purged"}) for key in KEYS),
        ],
    ),
    "retired when its grace is over": (
        ObjectsRetired((FIRST, SECOND), "condemned"),
        [Update(LOCATIONS, key, {"state": "retired", "changed_at": 70}) for key in KEYS],
    ),
    "retired because a later one is there": (
        ObjectsRetired((FIRST, SECOND), "superseded"),
        [Update(LOCATIONS, key, {"state": "retired", "changed_at": 70, "rule": "superseded"}) for key in KEYS],
    ),
    "retired as an orphan": (
        ObjectsRetired((FIRST,), "orphan"),
        [
            put(
                LOCATIONS,
                {
                    **LOCATION_ROW,
                    "object_key": FIRST.object_key,
                    "retrieval_tier": 0,
                    "restore_status": 0,
                    "state": "retired",
                    "stored_at": None,
                    "changed_at": 70,
                    "rule": "orphan",
                },
            )
        ],
    ),
    "verified": (
        StoreVerified(6, VerifiedKey(3, FIRST), VerifiedKey(5, SECOND), 250_000, 1 << 31, 2, 3, 0, 0),
        [MarkVerified(DUE[0], DUE[1], ((b"\x80\0\0\0", b"\xbf\xff\xff\xff"),), 7)],
    ),
    "removed": (
        ObjectsRemoved((FIRST, SECOND)),
        [Update(LOCATIONS, key, {"state": "removed", "changed_at": 70}) for key in KEYS],
    ),
}


def as_lists(operations: Iterable[RowOperation]) -> list[RowOperation]:
    """Rows and keys are sequences of any kind."""
    return [
        each
        if isinstance(each, Update | MarkVerified)
        else replace(each, keys=list(each.keys))
        if isinstance(each, Delete)
        else each
        if isinstance(each, DeleteRange)
        else replace(each, rows=list(each.rows))
        for each in operations
    ]


@pytest.mark.parametrize(("payload", "operations"), PROJECTED.values(), ids=PROJECTED)
def test_an_event_implies_these_rows(payload: Payload, operations: Sequence[RowOperation]) -> None:
    assert as_lists(project(stored(payload))) == as_lists(operations)


@given(payload=payloads())
def test_a_payload_at_hand_projects_as_the_stored_bytes_do(payload: Payload) -> None:
    entry = stored(payload)
    outcomes: list[object] = []
    for given_payload in (None, payload):
        try:
            outcomes.append(project(entry, given_payload))
        except EventRefused as failed:
            outcomes.append(str(failed))
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
@given(finalized=manifests())
def test_a_summary_at_hand_projects_as_the_manifest_does(finalized: Manifest) -> None:
    payload = manifest.encode(finalized)
    at_hand = PackageFinalized(payload, manifest.summarize(payload, finalized))
    assert project(stored(at_hand), at_hand) == project(stored(at_hand))


def test_tables_and_columns_have_the_order_that_digests_of_earlier_releases_were_made_in() -> None:
    assert [(view.name, view.key) for view in VIEWS] == [
        ("artifact_packages", ("package_id",)),
        ("contents", ("digest_primary",)),
        ("artifact_files", ("package_number", "path_key")),
        ("storage_locations", ("digest_primary", "backend_id", "object_key")),
        ("retention_state", ("package_id",)),
        ("metadata_schemas", ("name", "version")),
        ("schema_requirements", ("glob",)),
        ("artifact_tags", ("tag",)),
        ("artifact_values", ("package_number", "key")),
        ("artifact_parents", ("package_number", "parent_id")),
        ("keep_policies", ("package_group",)),
        ("added_retention_classes", ("name",)),
        ("artifact_holds", ("hold_id",)),
        ("store_clock", ("id",)),
        ("purged_contents", ("digest_primary",)),
        ("access_tokens", ("name",)),
        ("store_totals", ("id",)),
    ]
    # The rows above are written in that order by hand.
    assert [view.columns for view in VIEWS] == [tuple(ROWS[view]) for view in VIEWS]


def test_an_unknown_event_stops_a_replay_with_its_type_and_sequence() -> None:
    event = Event(package_id_of(8), "v2.files.ingested", "subject", "ci", 70, b"", STAMP)
    with pytest.raises(UnknownEventType, match=r"'v2\.files\.ingested' at sequence 7;") as refused:
        project(StoredEvent(7, event))
    assert (refused.value.type, refused.value.sequence) == ("v2.files.ingested", 7)


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("v1.objects.restored", b"\xff"),
        ("v1.objects.restored", reference_cbor.encode({"content_address": "x"})),
        ("v1.package.finalized", b"\xa0"),
        ("v1.package.finalized", FINALIZED + b"\x00"),
        ("v1.files.ingested", encode_payload(FILES_PUT).replace(b"directory", b"directorx")),
        ("v1.files.ingested", encode_payload(FILES_PUT).replace(b"../\xc3", b"///\xc3")),
    ],
    ids=["not CBOR", "a field missing", "no manifest", "trailing byte", "unknown kind", "absolute link"],
)
def test_a_payload_that_is_not_what_its_type_says_stops_a_replay(event_type: str, payload: bytes) -> None:
    event = Event(package_id_of(8), event_type, "subject", "ci", 70, payload, STAMP)
    with pytest.raises(EventRefused, match=rf"^event 7 \({event_type}\) breaks a rule of the log: ") as refused:
        project(StoredEvent(7, event))
    assert (refused.value.sequence, refused.value.event_type) == (7, event_type)


LEFT = ViewTable("left", ("k", "a", "b"))
RIGHT = ViewTable("right", ("k", "v", "a"), key_columns=2)
_CELLS = st.integers(0, 9)
_KEYS = st.sampled_from(["x", "y"])
_LEFT_ROWS = st.lists(st.tuples(_KEYS, _CELLS, _CELLS), max_size=3)
_RIGHT_ROWS = st.lists(st.tuples(_KEYS, st.integers(1, 2), _CELLS), max_size=3)
_PUTS: st.SearchStrategy[RowOperation] = st.one_of(
    st.builds(Put, st.just(LEFT), _LEFT_ROWS),
    st.builds(PutIfAbsent, st.just(LEFT), _LEFT_ROWS),
    st.builds(Put, st.just(RIGHT), _RIGHT_ROWS),
    st.builds(PutIfAbsent, st.just(RIGHT), _RIGHT_ROWS),
)
_UPDATES: st.SearchStrategy[RowOperation] = st.one_of(
    st.builds(
        Update,
        st.just(LEFT),
        st.tuples(_KEYS),
        st.dictionaries(st.sampled_from(["a", "b"]), _CELLS, min_size=1),
    ),
    st.builds(Update, st.just(RIGHT), st.tuples(_KEYS, st.integers(1, 2)), st.fixed_dictionaries({"a": _CELLS})),
)
_DELETES: st.SearchStrategy[RowOperation] = st.one_of(
    st.builds(Delete, st.just(RIGHT), st.lists(st.tuples(_KEYS, st.integers(1, 2)), max_size=2)),
    st.builds(DeleteRange, st.just(RIGHT), st.tuples(_KEYS), st.integers(1, 2), st.integers(1, 2)),
)
operations = st.lists(_PUTS | _UPDATES | _DELETES, max_size=12)


@pytest.mark.slow
@given(before=st.lists(_PUTS, max_size=4), batch=operations, data=st.data())
def test_folded_operations_do_what_the_operations_do_one_by_one(
    before: list[RowOperation], batch: list[RowOperation], data: st.DataObject
) -> None:
    plain, folded = MemoryViews([LEFT, RIGHT]), MemoryViews([LEFT, RIGHT])
    plain.apply([*before, *batch])
    folded.apply(before)
    for operation in coalesce(batch):
        if isinstance(operation, Update | Delete | DeleteRange | MarkVerified):
            folded.apply([operation])
            continue
        keys = [row[: operation.table.key_columns] for row in operation.rows]
        assert len(keys) == len(set(keys)) > 0
        folded.apply([replace(operation, rows=data.draw(st.permutations(operation.rows)))])
    assert folded.tables == plain.tables


def test_a_thousand_files_are_one_operation_and_move_their_package_once() -> None:
    batch: list[RowOperation] = [Put(LEFT, [("x", 0, 0)])]
    for number in range(1000):
        batch += [Put(RIGHT, [("x", number, 1)]), Update(LEFT, ("x",), {"a": number})]
    assert coalesce(batch) == (
        Put(LEFT, (("x", 999, 0),)),
        Put(RIGHT, tuple(("x", number, 1) for number in range(1000))),
    )


def test_only_a_conditional_put_after_an_update_of_its_key_cannot_be_folded() -> None:
    row, change = ("x", 1, 1), Update(LEFT, ("x",), {"a": 2})
    conditional, whole = PutIfAbsent(LEFT, (row,)), Put(LEFT, (row,))
    assert coalesce([conditional, change]) == (conditional, change)
    assert coalesce([change, conditional, conditional]) == (change, conditional)
    assert coalesce([conditional, change, whole]) == (whole,)
    assert coalesce([change, PutIfAbsent(LEFT, (("y", 1, 1),))]) == (PutIfAbsent(LEFT, (("y", 1, 1),)), change)
    assert coalesce([]) == ()


def test_what_comes_before_a_removal_stays_before_it() -> None:
    row, removal, other = Put(LEFT, (("x", 1, 1),)), Delete(LEFT, [("x",)]), Put(RIGHT, (("x", 1, 1),))
    assert coalesce([other, row, removal, row]) == (row, removal, other, row)


def digest_of(rows: Sequence[tuple[ViewTable, Sequence[Cell]]]) -> str:
    digest = ViewDigest()
    for view, of_it in groupby(rows, key=lambda row: row[0]):
        cells = [each for _view, each in of_it]
        digest.add(cells)
        digest.end(view, len(cells))
    return str(ContentAddress(digest.result()))


def cells_of(view: ViewTable) -> list[Cell]:
    return [ROWS[view][name] for name in view.columns]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 30, 11000])
def test_the_digest_is_blake3_over_every_cell_and_the_rows_of_each_table(count: int) -> None:
    """However many rows come at once."""
    encoded = b"".join(
        b"".join(map(reference_cbor.encode, cells_of(view))) * count + reference_cbor.encode([view.name, count])
        for view in VIEWS
    )
    assert digest_of([(view, cells_of(view)) for view in VIEWS for _ in range(count)]) == str(address_of(encoded))


def test_the_digest_of_nothing_is_that_of_no_bytes() -> None:
    assert digest_of([]) == str(address_of(b""))


@pytest.mark.parametrize(("view", "column"), [(view, column) for view in VIEWS for column in view.columns])
def test_the_digest_depends_on_every_cell(view: ViewTable, column: str) -> None:
    cells = cells_of(view)
    place = view.columns.index(column)
    others = [cell for cell in (None, 0, "", b"", "0", b"0") if cell != cells[place]]
    digests = {digest_of([(view, [*cells[:place], other, *cells[place + 1 :]])]) for other in [cells[place], *others]}
    assert len(digests) == 1 + len(others)


def test_the_digest_depends_on_tables_order_and_number_of_rows() -> None:
    twin = ViewTable("twin", PACKAGES.columns)
    one, other = cells_of(PACKAGES), ["q", *cells_of(PACKAGES)[1:]]
    variants = [
        [(PACKAGES, one)],
        [(twin, one)],
        [(PACKAGES, one), (PACKAGES, one)],
        [(PACKAGES, one), (PACKAGES, other)],
        [(PACKAGES, other), (PACKAGES, one)],
        [(PACKAGES, other)],
    ]
    assert len({digest_of(rows) for rows in variants}) == len(variants)
