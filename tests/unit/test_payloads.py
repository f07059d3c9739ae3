"""Payloads are one canonical map a type, read back exactly, and nothing else is read."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
    PayloadInvalid,
    UnknownEventType,
    decode_payload,
    encode_payload,
)
from command_strategies import payloads
from manifest_samples import sample_manifest
from strategies import mutations

PERMANENT = PackageCreated("p", "nightly", "permanent", None, {})
FILE = ("p", 2, 1, 3, "é", "é", 3, True, "text/plain", "blake3:0", "sha256:0", "local", "b/0", "immediate", "required")
FILE_MAP: dict[str, object] = {
    "package_id": "p",
    "package_version": 2,
    "package_files": 1,
    "package_bytes": 3,
    "path": "é",
    "path_key": "é",
    "size_bytes": 3,
    "executable": True,
    "media_type": "text/plain",
    "content_address": "blake3:0",
    "sha256": "sha256:0",
    "backend_id": "local",
    "object_key": "b/0",
    "retrieval_tier": "immediate",
    "restore_status": "required",
}

# What is in logs already: a name or a field that changes here has to become a new version of its type.
FORMS: dict[str, tuple[Payload, dict[str, object]]] = {
    "v1.package.created": (
        PackageCreated("p", "nightly", "short", 5, {"é": "ü", "b": ""}),
        {
            "package_id": "p",
            "name": "nightly",
            "retention_class": "short",
            "retention_duration_us": 5,
            "metadata": {"é": "ü", "b": ""},
        },
    ),
    "v1.file.ingested": (FileIngested(*FILE), FILE_MAP),
    "v1.file.replaced": (
        FileReplaced(*FILE, "blake3:1"),
        {**FILE_MAP, "replaced_content_address": "blake3:1"},
    ),
    "v1.metadata_schema.registered": (
        MetadataSchemaRegistered("build", 1, "{}"),
        {"name": "build", "version": 1, "schema": "{}"},
    ),
    "v1.object.flagged": (
        ObjectFlagged("blake3:0", "local", "missing"),
        {"content_address": "blake3:0", "backend_id": "local", "integrity": "missing"},
    ),
    "v1.object.healed": (
        ObjectHealed("blake3:0", "local"),
        {"content_address": "blake3:0", "backend_id": "local"},
    ),
}
FIELDS = [(name, key) for name, (_, form) in FORMS.items() for key in form]
STRANGERS: list[object] = [None, True, 1, "1", [], [1], {}, {"k": "v"}, {"k": 1}, {"k": None}]


@pytest.mark.parametrize("name", FORMS)
def test_a_payload_has_this_form(name: str) -> None:
    payload, form = FORMS[name]
    assert (payload.TYPE, encode_payload(payload)) == (name, reference_cbor.encode(form))


@given(payload=payloads())
def test_a_payload_reads_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(payload.TYPE, encode_payload(payload)) == payload


def test_what_never_expires_has_a_null_duration() -> None:
    assert reference_cbor.encode({"retention_duration_us": None})[1:] in encode_payload(PERMANENT)
    assert decode_payload(PERMANENT.TYPE, encode_payload(PERMANENT)) == PERMANENT


def test_any_mapping_of_text_is_metadata() -> None:
    frozen = PackageCreated("p", "nightly", "short", 5, MappingProxyType({"b": "", "é": "ü"}))
    assert encode_payload(frozen) == encode_payload(FORMS["v1.package.created"][0])


@given(payload=st.binary(max_size=20))
def test_a_manifest_is_handed_over_as_its_bytes(payload: bytes) -> None:
    assert encode_payload(PackageFinalized(payload)) == payload
    assert decode_payload("v1.package.finalized", payload) == PackageFinalized(payload)


def test_a_summary_that_comes_along_is_no_part_of_the_event() -> None:
    payload = manifest.encode(sample_manifest())
    in_brief = PackageFinalized(payload, manifest.summarize(payload))
    assert encode_payload(in_brief) == payload
    assert in_brief == PackageFinalized(payload)


@pytest.mark.parametrize("name", ["", "v2.package.created", "v1.package.deleted", "V1.object.healed", "healed"])
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
    if _may_be(form[key], key, stranger):
        assert encode_payload(decode_payload(name, encoded)) == encoded
    else:
        with pytest.raises(PayloadInvalid, match=f"^payload of {name} is invalid: {key} has the wrong type$"):
            decode_payload(name, encoded)


def _may_be(example: object, key: str, stranger: object) -> bool:
    """The types by hand: those of the examples above, a map holds text, and one duration may be null."""
    if isinstance(stranger, dict):
        return isinstance(example, dict) and stranger in ({}, {"k": "v"})
    return type(stranger) is type(example) or (stranger is None and key == "retention_duration_us")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xa0\xa0",
        b"\xbf\xff",
        reference_cbor.encode({"content_address": b"blake3:0", "backend_id": "local"}),
        reference_cbor.encode({"backend_id": "local", "content_address": "blake3:0"})[:-1],
        # The same map with its keys in the other order.
        b"\xa2"
        + reference_cbor.encode({"content_address": "blake3:0"})[1:]
        + reference_cbor.encode({"backend_id": "local"})[1:],
    ],
    ids=["nothing", "trailing bytes", "indefinite length", "byte string", "cut short", "keys out of order"],
)
def test_bytes_that_are_not_canonical_are_refused(payload: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_payload("v1.object.healed", payload)


@given(data=st.data(), name=st.sampled_from(sorted(FORMS)))
def test_bytes_that_are_read_are_the_ones_that_would_be_written(data: st.DataObject, name: str) -> None:
    mutated = data.draw(mutations(encode_payload(FORMS[name][0])))
    try:
        payload = decode_payload(name, mutated)
    except ArtifactStoreError:
        return
    assert encode_payload(payload) == mutated
