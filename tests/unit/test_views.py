"""Projections say absolutely what an event means for the tables, and folding a batch of them changes nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols import manifest
from artifactstore_protocols.events import CommandStamp, Event, EventRefused, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.manifest import Manifest
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
    UnknownEventType,
    encode_payload,
)
from artifactstore_protocols.views import (
    CONTENTS,
    FILES,
    LOCATIONS,
    PACKAGES,
    RETENTION,
    SCHEMAS,
    VIEWS,
    Cell,
    NamedCells,
    Put,
    PutIfAbsent,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
    coalesce,
    project,
)
from command_strategies import address_of, digests_of, package_id_of, payloads
from manifest_samples import sample_manifest
from memory_log import MemoryViews
from strategies import manifests

STAMP = CommandStamp(package_id_of(9))
ADDRESS = str(address_of(b"x"))
SHA256 = digests_of(b"x").sha256.hex
HEX = digests_of(b"x").primary.hex


def stored(payload: Payload, *, sequence: int = 7) -> StoredEvent:
    event = Event(package_id_of(8), payload.TYPE, "subject", "ci", 70, encode_payload(payload), STAMP)
    return StoredEvent(sequence, event)


FILE_FACTS = (
    *("p", 3, 2, 9, "e\u0301", "é", 1, True, "text/plain"),
    *(ADDRESS, f"sha256:{SHA256}", "local", "k", "archive", "required"),
)
FILE = FileIngested(*FILE_FACTS)
FILE_ROW: NamedCells = {
    "package_id": "p",
    "path_key": "é",
    "path": "e\u0301",
    "kind": 0,
    "executable": 1,
    "media_type": "text/plain",
    "digest_primary": bytes.fromhex(HEX),
    "link_target": None,
    "sequence": 7,
}
CONTENT_ROW: NamedCells = {
    "digest_primary": bytes.fromhex(HEX),
    "digest_algorithm": "blake3",
    "digest_sha256": bytes.fromhex(SHA256),
    "size_bytes": 1,
    "sequence": 7,
}
LOCATION_ROW: NamedCells = {
    "digest_primary": bytes.fromhex(HEX),
    "backend_id": "local",
    "object_key": "k",
    "retrieval_tier": "archive",
    "restore_status": "required",
    "state": "live",
    "integrity": "intact",
    "stored_at": 70,
    "sequence": 7,
}
PACKAGE_ROW: NamedCells = {
    "package_id": "p",
    "name": "nightly",
    "status": "open",
    "version": 1,
    "file_count": 0,
    "total_bytes": 0,
    "retention_class": "short",
    "metadata": reference_cbor.encode({"branch": "main"}),
    "created_by": "ci",
    "created_at": 70,
    "finalized_at": None,
    "manifest_digest": None,
    "tree_digest": None,
    "created_sequence": 7,
    "finalized_sequence": None,
}
RETENTION_ROW: NamedCells = {
    "package_id": "p",
    "retention_class": "short",
    "duration_us": 5,
    "status": "open",
    "retained_from": None,
    "expires_at": None,
}
SCHEMA_ROW: NamedCells = {
    "name": "build",
    "version": 3,
    "schema": b'{"a":"\xc3\xa9"}',
    "registered_at": 70,
    "sequence": 7,
}
ROWS = {
    PACKAGES: PACKAGE_ROW,
    CONTENTS: CONTENT_ROW,
    FILES: FILE_ROW,
    LOCATIONS: LOCATION_ROW,
    RETENTION: RETENTION_ROW,
    SCHEMAS: SCHEMA_ROW,
}
TOTALS: NamedCells = {"version": 3, "file_count": 2, "total_bytes": 9}


def put(view: ViewTable, row: NamedCells) -> Put:
    return Put(view, (tuple(row.values()),))


def put_if_absent(view: ViewTable, row: NamedCells) -> PutIfAbsent:
    return PutIfAbsent(view, (tuple(row.values()),))


OF_FILE = (
    put_if_absent(CONTENTS, CONTENT_ROW),
    put(FILES, FILE_ROW),
    put_if_absent(LOCATIONS, LOCATION_ROW),
    Update(PACKAGES, ("p",), TOTALS),
)
LOCATION_KEY = (bytes.fromhex(HEX), "local", first_key(address_of(b"x")))
MANIFEST = sample_manifest()
SEALED = manifest.encode(MANIFEST)
KEY = (MANIFEST.package.package_id,)

PROJECTED: dict[str, tuple[Payload, Sequence[RowOperation]]] = {
    "created": (
        PackageCreated("p", "nightly", "short", 5, {"branch": "main"}),
        [put(PACKAGES, PACKAGE_ROW), put(RETENTION, RETENTION_ROW)],
    ),
    "created for ever": (
        PackageCreated("p", "nightly", "short", None, {"branch": "main"}),
        [put(PACKAGES, PACKAGE_ROW), put(RETENTION, {**RETENTION_ROW, "duration_us": None})],
    ),
    "ingested": (FILE, OF_FILE),
    "ingested under its key": (
        replace(FILE, path="é"),
        [OF_FILE[0], put(FILES, {**FILE_ROW, "path": None}), *OF_FILE[2:]],
    ),
    "replaced": (FileReplaced(*FILE_FACTS, "blake3:0"), OF_FILE),
    "finalised": (
        PackageFinalized(SEALED),
        [
            Update(
                PACKAGES,
                KEY,
                {
                    "status": "finalized",
                    "finalized_at": MANIFEST.package.finalized_at_us,
                    "manifest_digest": str(address_of(SEALED)),
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
                },
            ),
        ],
    ),
    "registered": (MetadataSchemaRegistered("build", 3, '{"a":"é"}'), [put(SCHEMAS, SCHEMA_ROW)]),
    "flagged": (
        ObjectFlagged(ADDRESS, "local", "missing"),
        [Update(LOCATIONS, LOCATION_KEY, {"integrity": "missing"})],
    ),
    "healed": (ObjectHealed(ADDRESS, "local"), [Update(LOCATIONS, LOCATION_KEY, {"integrity": "intact"})]),
}


@pytest.mark.parametrize(("payload", "operations"), PROJECTED.values(), ids=PROJECTED)
def test_an_event_implies_these_rows(payload: Payload, operations: Sequence[RowOperation]) -> None:
    assert list(project(stored(payload))) == list(operations)


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


@given(sealed=manifests())
def test_a_summary_at_hand_projects_as_the_manifest_does(sealed: Manifest) -> None:
    payload = manifest.encode(sealed)
    at_hand = PackageFinalized(payload, manifest.summarize(payload, sealed))
    assert project(stored(at_hand), at_hand) == project(stored(at_hand))


def test_tables_and_columns_have_the_order_that_digests_of_earlier_releases_were_made_in() -> None:
    assert [(view.name, view.key) for view in VIEWS] == [
        ("artifact_packages", ("package_id",)),
        ("contents", ("digest_primary",)),
        ("artifact_files", ("package_id", "path_key")),
        ("storage_locations", ("digest_primary", "backend_id", "object_key")),
        ("retention_state", ("package_id",)),
        ("metadata_schemas", ("name", "version")),
    ]
    # The rows above are written in that order by hand.
    assert [view.columns for view in VIEWS] == [tuple(ROWS[view]) for view in VIEWS]


def test_an_unknown_event_stops_a_replay_with_its_type_and_sequence() -> None:
    event = Event(package_id_of(8), "v2.file.ingested", "subject", "ci", 70, b"", STAMP)
    with pytest.raises(UnknownEventType, match=r"'v2\.file\.ingested' at sequence 7;") as refused:
        project(StoredEvent(7, event))
    assert (refused.value.type, refused.value.sequence) == ("v2.file.ingested", 7)


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("v1.object.healed", b"\xff"),
        ("v1.object.healed", reference_cbor.encode({"content_address": ADDRESS})),
        ("v1.package.finalized", b"\xa0"),
        ("v1.package.finalized", SEALED + b"\x00"),
        ("v1.file.ingested", encode_payload(FILE).replace(b"blake3", b"blake4")),
        ("v1.file.ingested", encode_payload(FILE).replace(SHA256.encode(), b"g" * 64)),
    ],
    ids=["not CBOR", "a field missing", "no manifest", "trailing byte", "unknown algorithm", "no digest"],
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
operations = st.lists(_PUTS | _UPDATES, max_size=12)


@given(before=st.lists(_PUTS, max_size=4), batch=operations, data=st.data())
def test_folded_operations_do_what_the_operations_do_one_by_one(
    before: list[RowOperation], batch: list[RowOperation], data: st.DataObject
) -> None:
    plain, folded = MemoryViews([LEFT, RIGHT]), MemoryViews([LEFT, RIGHT])
    plain.apply([*before, *batch])
    folded.apply(before)
    for operation in coalesce(batch):
        if isinstance(operation, Update):
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


def digest_of(rows: Sequence[tuple[ViewTable, Sequence[Cell]]]) -> str:
    digest = ViewDigest()
    digest.add([[view.name, *cells] for view, cells in rows])
    return str(ContentAddress(digest.result()))


def cells_of(view: ViewTable) -> list[Cell]:
    return [ROWS[view][name] for name in view.columns]


def test_the_digest_is_blake3_over_every_row_with_its_table() -> None:
    rows = [(view, cells_of(view)) for view in VIEWS]
    encoded = b"".join(reference_cbor.encode([view.name, *cells]) for view, cells in rows)
    assert digest_of(rows) == str(address_of(encoded))
    assert digest_of(rows * 11000) == str(address_of(encoded * 11000)), "however many rows come at once"
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
