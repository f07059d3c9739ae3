"""Payloads are one canonical map a type, read back exactly, and nothing else is read."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.commands import ENTRIES_MAX, OBJECTS_MAX, ObjectFinding
from artifactstore_protocols.entries import Place, StoredObject, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import (
    EVENT_TYPES,
    PACKAGE_CREATED,
    PACKAGE_FINALIZED,
    SCHEMA_REGISTERED,
    ClockConfirmed,
    ClockObserved,
    CommandNoted,
    ContentsPurged,
    EntriesReleased,
    FilesIngested,
    HoldPlaced,
    HoldReleased,
    KeepPolicyDeleted,
    KeepPolicySet,
    LogCreated,
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
    PayloadInvalid,
    PayloadsRedacted,
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
    decode_payload,
    encode_payload,
    type_of,
)
from artifactstore_protocols.event_types.object_places import PLACES_MAX
from artifactstore_protocols.paths import PathRefused
from artifactstore_protocols.storage import KeyRefused
from artifactstore_protocols.verification import VerifiedKey
from command_strategies import payloads
from manifest_samples import sample_manifest
from strategies import mutations

PERMANENT = PackageCreated("p", "nightly", "permanent", None, {})
ONE, TWO, SHA256 = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
FIRST_KEY = f"blake3/01/01/{'01' * 32}"

LOG_ID = "0198f3a0-7c00-7000-8000-000000000001"

PACKAGE_ID = "0198f3a0-7c00-7000-8000-000000000001"

# What is in logs already: a name or a field that changes here has to become a new version of its type.
UPLOADED = ["local", "immediate", "not_required", "condemned"]
STORED_AT = [["s3", "archive", "required", "live"], ["local", "immediate", "not_required", "live"]]
FORMS: dict[str, tuple[Payload, dict[str, object]]] = {
    "v1.log.created": (LogCreated(LOG_ID), {"log_id": LOG_ID}),
    "v1.package.created": (
        PackageCreated("p", "nightly", "short", 5, {"é": "ü", "b": ""}),
        {
            "package_id": "p",
            "name": "nightly",
            "retention_class": "short",
            "retention_duration_us": 5,
            "metadata": {"é": "ü", "b": ""},
            "schema": None,
            "parents": {},
        },
    ),
    "v1.objects.stored": (
        ObjectsStored(
            "blake3",
            (
                StoredObject(ONE, SHA256, 3, Place("local", FIRST_KEY)),
                StoredObject(TWO, SHA256, 4, Place("s3", "k"), "archive", "required"),
                StoredObject(TWO, SHA256, 4, Place("local", "k.g2")),
            ),
            frozenset({ONE}),
        ),
        {
            "digest_algorithm": "blake3",
            "places": [UPLOADED, *STORED_AT],
            "objects": [[ONE, SHA256, 3, 0, None], [TWO, SHA256, 4, 1, "k"], [TWO, SHA256, 4, 2, "k.g2"]],
        },
    ),
    "v1.files.ingested": (
        FilesIngested(
            package_id="p",
            package_number=1,
            totals=Totals(2, 3, 4, 5, 6, 7),
            digest_algorithm="blake3",
            entries=(
                file_entry("e\u0301/run", True, "text/plain", 3, ONE),
                link_entry("latest", "é/run"),
                directory_entry("logs"),
            ),
            path_keys=("é/run", "latest", "logs"),
            replaced=frozenset({"latest"}),
            removed=("é",),
        ),
        {
            "package_id": "p",
            "package_number": 1,
            "package_version": 2,
            "package_files": 3,
            "package_links": 4,
            "package_directories": 5,
            "package_bytes": 6,
            "package_stored_bytes": 7,
            "digest_algorithm": "blake3",
            "entries": [
                ["file", "e\u0301/run", True, "text/plain", 3, ONE],
                ["link", "latest", "é/run"],
                ["directory", "logs"],
            ],
            "path_keys": [[0, "é/run"]],
            "replaced": [1],
            "removed": ["é"],
        },
    ),
    "v1.metadata_schema.registered": (
        MetadataSchemaRegistered("build", 1, "{}"),
        {"name": "build", "version": 1, "schema": "{}"},
    ),
    "v1.schema_requirement.set": (
        SchemaRequirementSet("nightly*", "build@1"),
        {"glob": "nightly*", "schema": "build@1"},
    ),
    "v1.schema_requirement.deleted": (SchemaRequirementDeleted("nightly*"), {"glob": "nightly*"}),
    "v1.tag.set": (TagSet("release", "p", True), {"tag": "release", "package_id": "p", "protected": True}),
    "v1.tag.deleted": (TagDeleted("release"), {"tag": "release"}),
    "v1.keep_policy.set": (
        KeepPolicySet("nightly-*", {"last": 3, "tagged": ["release-*"]}),
        {"group": "nightly-*", "rules": {"last": 3, "tagged": ["release-*"]}},
    ),
    "v1.retention_class.added": (RetentionClassAdded("release", 9), {"name": "release", "duration_us": 9}),
    "v1.keep_policy.deleted": (KeepPolicyDeleted("nightly-*"), {"group": "nightly-*"}),
    "v1.token.created": (
        TokenCreated("ci", ("read", "tag"), ("a-*",), 9, ONE, "s"),
        {
            "name": "ci",
            "scopes": ["read", "tag"],
            "packages": ["a-*"],
            "expires_at_us": 9,
            "digest": ONE,
            "store_id": "s",
        },
    ),
    "v1.token.revoked": (TokenRevoked("ci", "leaked"), {"name": "ci", "reason": "leaked"}),
    "v1.package.deleted": (PackageDeleted("p", "broken"), {"package_id": "p", "reason": "broken"}),
    "v1.package.expired": (
        PackageExpired("p", "retention", 5, 2),
        {"package_id": "p", "rule": "retention", "as_of_us": 5, "version": 2},
    ),
    "v1.clock.observed": (ClockObserved(5), {"at_us": 5}),
    "v1.clock.confirmed": (ClockConfirmed(5), {"at_us": 5}),
    "v1.contents.purged": (
        ContentsPurged((ONE, TWO), (Place("local", FIRST_KEY),), "leaked"),
        {"contents": [ONE, TWO], "objects": [["local", FIRST_KEY]], "reason": "leaked"},
    ),
    "v1.hold.placed": (HoldPlaced("h", "p", "case"), {"hold_id": "h", "package_id": "p", "reason": "case"}),
    "v1.hold.released": (HoldReleased("h", "p"), {"hold_id": "h", "package_id": "p"}),
    "v1.retention.changed": (
        RetentionChanged("p", "custom", 5, 7),
        {"package_id": "p", "retention_class": "custom", "duration_us": 5, "expires_at_us": 7},
    ),
    "v1.entries.released": (
        EntriesReleased(PACKAGE_ID, 2, "a", "é", 3, 2, 1, 9, ("a", "é")),
        {
            "package_id": PACKAGE_ID,
            "package_number": 2,
            "first": "a",
            "last": "é",
            "package_files": 3,
            "package_links": 2,
            "package_directories": 1,
            "package_bytes": 9,
            "keys": ["a", "é"],
        },
    ),
    "v1.payloads.redacted": (
        PayloadsRedacted(((3, ONE), (9, TWO)), "asked"),
        {"events": [[3, ONE], [9, TWO]], "reason": "asked"},
    ),
    "v1.package.annotated": (
        PackageAnnotated(PACKAGE_ID, 2, {"score": 4, "hosts": ["a"]}, ("old",)),
        {
            "package_id": PACKAGE_ID,
            "package_number": 2,
            "annotations": {"score": 4, "hosts": ["a"]},
            "removed": ["old"],
        },
    ),
    "v1.objects.flagged": (
        ObjectsFlagged(
            (ObjectFinding(ONE, Place("local", "k"), "missing"), ObjectFinding(TWO, Place("s3", "k"), "damaged"))
        ),
        {"objects": [[ONE, "local", "k", "missing"], [TWO, "s3", "k", "damaged"]]},
    ),
    "v1.objects.restored": (
        ObjectsRestored((ObjectFinding(ONE, Place("local", "k"), "intact"),)),
        {"objects": [[ONE, "local", "k", "intact"]]},
    ),
    "v1.command.noted": (CommandNoted("p"), {"package_id": "p"}),
    "v1.objects.condemned": (
        ObjectsCondemned((Place("local", FIRST_KEY), Place("s3", f"{FIRST_KEY}.g2")), "unreferenced"),
        {"objects": [["local", FIRST_KEY], ["s3", f"{FIRST_KEY}.g2"]], "rule": "unreferenced"},
    ),
    "v1.objects.reprieved": (ObjectsReprieved((Place("local", FIRST_KEY),)), {"objects": [["local", FIRST_KEY]]}),
    "v1.objects.retired": (
        ObjectsRetired((Place("local", FIRST_KEY),), "orphan"),
        {"objects": [["local", FIRST_KEY]], "cause": "orphan"},
    ),
    "v1.store.verified": (
        StoreVerified(
            9, VerifiedKey(0, Place("local", FIRST_KEY)), VerifiedKey(1, Place("s3", FIRST_KEY)), 500, 7, 8, 6, 0, 1
        ),
        {
            "as_of": 9,
            "first": [0, "local", FIRST_KEY],
            "last": [1, "s3", FIRST_KEY],
            "share_ppm": 500,
            "seed": 7,
            "objects": 8,
            "bytes": 6,
            "damaged": 0,
            "missing": 1,
        },
    ),
    "v1.objects.removed": (ObjectsRemoved((Place("local", FIRST_KEY),)), {"objects": [["local", FIRST_KEY]]}),
}
FIELDS = [(name, key) for name, (_, form) in FORMS.items() for key in form]
STRANGERS: list[object] = [None, True, 1, "1", [], [1], {}, {"k": "v"}, {"k": 1}, {"k": None}]


def test_these_are_the_types_that_there_are() -> None:
    assert set(EVENT_TYPES) == {*FORMS, PACKAGE_FINALIZED.name}
    assert all(name == kind.name for name, kind in EVENT_TYPES.items())


@pytest.mark.parametrize("name", FORMS)
def test_a_payload_has_this_form(name: str) -> None:
    payload, form = FORMS[name]
    assert (type_of(payload).name, encode_payload(payload)) == (name, reference_cbor.encode(form))
    assert decode_payload(name, encode_payload(payload)) == payload


@given(payload=payloads())
def test_a_payload_reads_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(type_of(payload).name, encode_payload(payload)) == payload


def test_what_never_expires_has_a_null_duration() -> None:
    assert reference_cbor.encode({"retention_duration_us": None})[1:] in encode_payload(PERMANENT)
    assert decode_payload(PACKAGE_CREATED.name, encode_payload(PERMANENT)) == PERMANENT


def test_any_mapping_of_text_is_metadata() -> None:
    frozen = PackageCreated("p", "nightly", "short", 5, MappingProxyType({"b": "", "é": "ü"}))
    assert encode_payload(frozen) == encode_payload(FORMS["v1.package.created"][0])


@given(payload=st.binary(max_size=20))
def test_a_manifest_is_handed_over_as_its_bytes(payload: bytes) -> None:
    assert encode_payload(PackageFinalized(payload)) == payload
    assert decode_payload(PACKAGE_FINALIZED.name, payload) == PackageFinalized(payload)


def test_a_summary_that_comes_along_is_no_part_of_the_event() -> None:
    payload = manifest.encode(sample_manifest())
    in_brief = PackageFinalized(payload, manifest.summarize(payload))
    assert encode_payload(in_brief) == payload
    assert in_brief == PackageFinalized(payload)


@pytest.mark.parametrize("name", ["", "v2.package.created", "v1.package.removed", "V1.objects.stored", "stored"])
def test_an_unknown_type_or_version_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownEventType) as refused:
        decode_payload(name, b"\xa0")
    assert refused.value.type == name
    assert str(refused.value).startswith(f"unknown event type {name!r}; a newer artifactstore wrote it")
    assert str(UnknownEventType(name, 7)).startswith(f"unknown event type {name!r} at sequence 7; ")


@pytest.mark.parametrize(("name", "key"), FIELDS)
def test_a_field_must_be_there(name: str, key: str) -> None:
    form = {kept: value for kept, value in FORMS[name][1].items() if kept != key}
    with pytest.raises(PayloadInvalid, match=f"exactly the keys .*{key}"):
        decode_payload(name, reference_cbor.encode(form))


@pytest.mark.parametrize("name", FORMS)
def test_a_field_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(PayloadInvalid, match="exactly the keys"):
        decode_payload(name, reference_cbor.encode({**FORMS[name][1], "more": 1}))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("value", STRANGERS)
def test_what_is_no_map_of_fields_is_refused(name: str, value: object) -> None:
    with pytest.raises(PayloadInvalid, match=f"payload of {name} is invalid: expected a map"):
        decode_payload(name, reference_cbor.encode(value))


@pytest.mark.parametrize("stranger", STRANGERS, ids=repr)
@pytest.mark.parametrize(("name", "key"), FIELDS)
def test_a_field_takes_its_own_type_only(name: str, key: str, stranger: object) -> None:
    form = FORMS[name][1]
    encoded = reference_cbor.encode({**form, key: stranger})
    nullable = key in _NULLABLE and name != "v1.retention_class.added"
    if not _may_be(form[key], stranger, nullable=nullable):
        with pytest.raises(PayloadInvalid, match=f"^payload of {name} is invalid: {key} has the wrong type$"):
            decode_payload(name, encoded)
        return
    try:
        payload = decode_payload(name, encoded)
    except (PayloadInvalid, InvalidValue):
        assert isinstance(stranger, list | str), "only what is within a list, or refers to one, has further rules"
    else:
        assert encode_payload(payload) == encoded


_NULLABLE = {"retention_duration_us", "duration_us", "expires_at_us"}


def _may_be(example: object, stranger: object, *, nullable: bool) -> bool:
    """The types by hand: those of the examples above, a map holds metadata, and what never ends is null."""
    if isinstance(stranger, dict):
        return isinstance(example, dict) and stranger in ({}, {"k": "v"}, {"k": 1})
    if example is None:
        return stranger is None or isinstance(stranger, str)
    return type(stranger) is type(example) or (stranger is None and nullable)


OTHER_FORMS: list[tuple[str, str, object]] = [
    ("v1.files.ingested", "entries", []),
    ("v1.files.ingested", "entries", [["directory", f"d{number}"] for number in range(ENTRIES_MAX + 1)]),
    ("v1.files.ingested", "entries", ["a"]),
    ("v1.files.ingested", "entries", [[]]),
    ("v1.files.ingested", "entries", [["device", "a"]]),
    ("v1.files.ingested", "entries", [["directory", "a", "b"]]),
    ("v1.files.ingested", "entries", [["directory", 1]]),
    ("v1.files.ingested", "entries", [["link", "a"]]),
    ("v1.files.ingested", "entries", [["link", "a", "/etc/passwd"]]),
    ("v1.files.ingested", "entries", [["file", "a", 1, "text/plain", 3, ONE]]),
    ("v1.files.ingested", "entries", [["file", "a", True, "text", 3, ONE]]),
    ("v1.files.ingested", "entries", [["file", "a", True, "text/plain", -1, ONE]]),
    ("v1.files.ingested", "entries", [["file", "a", True, "text/plain", True, ONE]]),
    ("v1.files.ingested", "entries", [["file", "a", True, "text/plain", 3, ONE[1:]]]),
    ("v1.files.ingested", "entries", [["file", "a", True, "text/plain", 3, "1" * 32]]),
    ("v1.files.ingested", "entries", [["file", "../a", True, "text/plain", 3, ONE]]),
    ("v1.files.ingested", "path_keys", [[0, "e\u0301/run"]]),
    ("v1.files.ingested", "path_keys", [[0, "é/run"], [0, "é/run"]]),
    ("v1.files.ingested", "path_keys", [[1, "b"], [0, "a"]]),
    ("v1.files.ingested", "path_keys", [[0, "é/run", 1]]),
    ("v1.files.ingested", "path_keys", [[True, "b"]]),
    ("v1.files.ingested", "path_keys", [[3, "b"]]),
    ("v1.files.ingested", "path_keys", [[-1, "b"]]),
    ("v1.files.ingested", "path_keys", [[0, 1]]),
    ("v1.files.ingested", "path_keys", [0]),
    ("v1.files.ingested", "replaced", [3]),
    ("v1.files.ingested", "replaced", [-1]),
    ("v1.files.ingested", "replaced", [True]),
    ("v1.files.ingested", "replaced", [1, 1]),
    ("v1.files.ingested", "replaced", [1, 0]),
    ("v1.files.ingested", "replaced", ["latest"]),
    ("v1.files.ingested", "removed", [1]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0, f"k{number}"] for number in range(OBJECTS_MAX + 1)]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0, FIRST_KEY], [TWO, SHA256, 3, 1, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 1, None], [TWO, SHA256, 3, 0, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 2, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, -1, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, True, None]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0, "../k"]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0, 1]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, 3, 0]]),
    ("v1.objects.stored", "objects", [[ONE, SHA256, -3, 0, None]]),
    ("v1.objects.stored", "objects", [[ONE, "3" * 32, 3, 0, None]]),
    ("v1.objects.stored", "objects", [["1" * 32, SHA256, 3, 0, None]]),
    ("v1.objects.stored", "objects", [ONE]),
    ("v1.objects.stored", "places", [UPLOADED[:3], *STORED_AT]),
    ("v1.objects.stored", "places", [[*UPLOADED[:3], None], *STORED_AT]),
    ("v1.objects.stored", "places", [[*UPLOADED[:3], "retired"], *STORED_AT]),
    ("v1.objects.stored", "places", [["local", "cold", *UPLOADED[2:]], *STORED_AT]),
    ("v1.objects.stored", "places", [["", *UPLOADED[1:]], *STORED_AT]),
    ("v1.objects.stored", "places", [UPLOADED, [*STORED_AT[0][:3], "condemned"], STORED_AT[1]]),
    ("v1.objects.stored", "places", [UPLOADED, STORED_AT[0], STORED_AT[0]]),
    ("v1.objects.stored", "places", [UPLOADED, STORED_AT[0]]),
    ("v1.objects.flagged", "objects", []),
    ("v1.objects.flagged", "objects", [[ONE, "local", f"k{number}", "missing"] for number in range(OBJECTS_MAX + 1)]),
    ("v1.objects.flagged", "objects", [[ONE, "local", "k", "intact"]]),
    ("v1.objects.flagged", "objects", [[ONE, "local", "k", 1]]),
    ("v1.objects.flagged", "objects", [[ONE, "local", "k"]]),
    ("v1.objects.flagged", "objects", [[ONE[1:], "local", "k", "missing"]]),
    ("v1.objects.flagged", "objects", [["1" * 32, "local", "k", "missing"]]),
    ("v1.objects.flagged", "objects", [[ONE, "local\n", "k", "missing"]]),
    ("v1.objects.flagged", "objects", [[ONE, "local", "/k", "missing"]]),
    ("v1.objects.flagged", "objects", ["missing"]),
    ("v1.objects.restored", "objects", [[ONE, "local", "k", "missing"]]),
    *[
        (f"v1.objects.{name}", "objects", objects)
        for name in ("condemned", "reprieved", "retired", "removed")
        for objects in (
            [],
            [["local", f"{FIRST_KEY}.g{number}"] for number in range(2, PLACES_MAX + 3)],
            [["local", "k"]],
            [["local", f"{FIRST_KEY}.g1"]],
            [["local", FIRST_KEY.replace("blake3", "sha256")]],
            [["local\n", FIRST_KEY]],
            [["local", FIRST_KEY, "more"]],
            [["local", 1]],
            ["local"],
        )
        if objects or name != "reprieved"  # one without objects can be
    ],
    ("v1.objects.condemned", "rule", ""),
    ("v1.objects.condemned", "rule", "two\nlines"),
    ("v1.objects.condemned", "rule", "x" * 81),
    ("v1.objects.retired", "cause", "whim"),
]


@pytest.mark.parametrize(("name", "key", "other"), OTHER_FORMS, ids=lambda value: repr(value)[:40])
def test_entries_objects_and_findings_have_one_form(name: str, key: str, other: object) -> None:
    with pytest.raises((PayloadInvalid, InvalidValue, PathRefused, KeyRefused)) as refused:
        decode_payload(name, reference_cbor.encode({**FORMS[name][1], key: other}))
    assert len(str(refused.value)) < 400


def test_an_event_of_many_entries_names_each_backend_once() -> None:
    """A file costs its path, size and digests, and not what it has in common with the others."""
    objects = tuple(
        StoredObject(digest, digest, 3, Place("local", f"blake3/{digest.hex()[:2]}/{digest.hex()[2:4]}/{digest.hex()}"))
        for digest in (bytes([number]) * 32 for number in range(200))
    )
    assert len(encode_payload(ObjectsStored("blake3", objects))) < 200 * 80
    assert encode_payload(ObjectsStored("blake3", objects)).count(b"local") == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xa0\xa0",
        b"\xbf\xff",
        reference_cbor.encode({"name": "build", "version": 1, "schema": "{}"})[:-1],
        # The same map with its keys in another order.
        b"\xa3" + b"".join(reference_cbor.encode({key: "x"})[1:] for key in ("version", "schema", "name")),
    ],
    ids=["nothing", "trailing bytes", "indefinite length", "cut short", "keys out of order"],
)
def test_bytes_that_are_not_canonical_are_refused(payload: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_payload(SCHEMA_REGISTERED.name, payload)


@given(data=st.data(), name=st.sampled_from(sorted(FORMS)))
def test_bytes_that_are_read_are_the_ones_that_would_be_written(data: st.DataObject, name: str) -> None:
    mutated = data.draw(mutations(encode_payload(FORMS[name][0])))
    try:
        payload = decode_payload(name, mutated)
    except ArtifactStoreError:
        return
    assert encode_payload(payload) == mutated
