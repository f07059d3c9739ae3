import copy
from collections.abc import Callable, Iterator
from typing import cast

import cbor2
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest import (
    DirectoryEntry,
    Entry,
    FileEntry,
    LinkEntry,
    Manifest,
    ManifestInvalid,
    ManifestReceipt,
    decode,
    encode,
    manifest_digest,
    summarize,
)
from manifest_samples import sample_file, sample_manifest
from strategies import manifests, mutations, record_values

SAMPLE = sample_manifest()
PAYLOAD = encode(SAMPLE)

type Change = Callable[[RecordValue], None]
type Place = tuple[str | int, ...]


def _value() -> RecordValue:
    return copy.deepcopy(canonical.decode_record(PAYLOAD))


def _node(value: RecordValue, place: Place) -> "dict[str | int, RecordValue]":
    """The map or array at a place that is known from the sample; both are indexed alike."""
    node = cast("dict[str | int, RecordValue]", value)
    for step in place:
        node = cast("dict[str | int, RecordValue]", node[step])
    return node


def _places(value: RecordValue) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield (step,)
        yield from ((step, *place) for place in _places(item))


@pytest.mark.slow
@given(manifests())
def test_a_manifest_comes_back_from_its_bytes(manifest: Manifest) -> None:
    payload = encode(manifest)
    decoded = decode(payload)
    assert decoded == manifest
    assert encode(decoded) == payload


@pytest.mark.slow
@given(manifests())
def test_the_bytes_are_the_canonical_ones_of_the_documented_fields(manifest: Manifest) -> None:
    retention, provenance = manifest.retention_summary, manifest.provenance
    value = {
        "manifest_version": 1,
        "package": {
            "package_id": manifest.package.package_id,
            "name": manifest.package.name,
            "created_at_us": manifest.package.created_at_us,
            "finalized_at_us": manifest.package.finalized_at_us,
            "metadata": dict(manifest.package.metadata),
            "schema": manifest.package.schema,
            "parents": dict(manifest.package.parents),
        },
        "digest_algorithm": "blake3",
        "entries": [_row(entry) for entry in manifest.entries],
        "storage_receipts": [
            [receipt.digest, receipt.backend_id, receipt.object_key] for receipt in manifest.storage_receipts
        ],
        "retention_summary": {
            "retention_class": retention.retention_class,
            "duration_us": retention.duration_us,
            "expires_at_us": retention.expires_at_us,
        },
        "provenance": {
            "producer": {"name": provenance.producer.name, "version": provenance.producer.version},
            "principal": provenance.principal,
            "tree_digest": provenance.tree_digest,
            "file_count": provenance.file_count,
            "link_count": provenance.link_count,
            "directory_count": provenance.directory_count,
            "total_bytes": provenance.total_bytes,
        },
    }
    assert encode(manifest) == reference_cbor.encode(value)


def _row(entry: Entry) -> list[object]:
    match entry:
        case FileEntry():
            file = [entry.executable, entry.size_bytes, entry.media_type, entry.digest, entry.sha256]
            return ["file", entry.path, *file]
        case LinkEntry():
            return ["link", entry.path, entry.target]
        case DirectoryEntry():
            return ["directory", entry.path]


def test_a_file_costs_less_than_200_bytes() -> None:
    files = [sample_file(f"reports/part-{number:04}.json", str(number).encode()) for number in range(1000)]
    assert len(encode(sample_manifest(*files))) < 200 * len(files)


def test_the_sample_keeps_its_digest_from_release_to_release() -> None:
    digest = manifest_digest(PAYLOAD)
    assert digest == Digest("blake3", blake3(PAYLOAD).hexdigest())
    assert digest.hex == "b37a63e258c2e463f33f32a6f38a901859aede14f8f48d3b8f06902030091d01"


@given(st.binary(max_size=60) | record_values().map(canonical.encode_record) | mutations(PAYLOAD))
def test_any_bytes_are_refused_or_are_a_manifest(payload: bytes) -> None:
    _assert_refused_or_a_manifest(payload)


@given(st.sampled_from(sorted(_places(_value()), key=str)), record_values())
def test_a_field_with_another_value_is_refused_or_makes_another_manifest(place: Place, other: RecordValue) -> None:
    value = _value()
    _node(value, place[:-1])[place[-1]] = other
    _assert_refused_or_a_manifest(canonical.encode_record(value))


def _assert_refused_or_a_manifest(payload: bytes) -> None:
    try:
        manifest = decode(payload)
    except ManifestInvalid:
        return
    assert encode(manifest) == payload


def _set(*place: str | int, to: RecordValue) -> Change:
    def change(value: RecordValue) -> None:
        _node(value, place[:-1])[place[-1]] = to

    return change


def _drop(*place: str | int) -> Change:
    def change(value: RecordValue) -> None:
        del _node(value, place[:-1])[place[-1]]

    return change


def _reverse(name: str) -> Change:
    def change(value: RecordValue) -> None:
        cast("list[RecordValue]", _node(value, (name,))).reverse()

    return change


def _both(first: Change, second: Change) -> Change:
    def change(value: RecordValue) -> None:
        first(value)
        second(value)

    return change


REFUSED: dict[str, tuple[Change, str, str]] = {
    "version as a float": (_set("manifest_version", to=cast("int", 1.0)), "manifest_version", "expected an integer"),
    "name as bytes": (_set("package", "name", to=b"nightly"), "package.name", "expected text"),
    "later version": (_set("manifest_version", to=2), "manifest_version", "2 is not 1; use a later release"),
    "later version with other fields": (
        _both(_set("manifest_version", to=2), _set("signatures", to=[])),
        "manifest_version",
        "2 is not 1",
    ),
    "version as text": (_set("manifest_version", to="1"), "manifest_version", "expected an integer"),
    "version as a boolean": (_set("manifest_version", to=True), "manifest_version", "expected an integer"),
    "version missing": (_drop("manifest_version"), "manifest_version", "missing"),
    "field missing": (_drop("provenance"), "provenance", "missing"),
    "field unknown": (_set("comment", to=""), "comment", "unknown"),
    "long unknown field": (_set("x" * 999, to=""), "x" * 80, "unknown"),
    "package not a map": (_set("package", to=[]), "package", "expected a map with package_id, name"),
    "package field missing": (_drop("package", "name"), "package.name", "missing"),
    "package field unknown": (_set("package", "owner", to=""), "package.owner", "unknown"),
    "name not text": (_set("package", "name", to=1), "package.name", "expected text"),
    "id in another form": (_set("package", "package_id", to="{0}"), "package.package_id", "UUID"),
    "time as text": (_set("package", "created_at_us", to="0"), "package.created_at_us", "expected an integer"),
    "time null": (_set("package", "finalized_at_us", to=None), "package.finalized_at_us", "expected an integer"),
    "metadata not a map": (_set("package", "metadata", to=[]), "package.metadata", "map of text to text, integers"),
    "long metadata key": (_set("package", "metadata", "k" * 999, to=1), "package.metadata", "use 1 to 200 characters"),
    "metadata of bytes": (_set("package", "metadata", "k", to=b""), "package.metadata", "text, integers, booleans"),
    "algorithm missing": (_drop("digest_algorithm"), "digest_algorithm", "missing"),
    "unknown algorithm": (_set("digest_algorithm", to="md5"), "digest_algorithm", "registered"),
    "entries a map": (_set("entries", to={}), "entries", "expected an array"),
    "entry not an array": (_set("entries", 1, to="docs/a.md"), "entries[1]", "expected an array"),
    "entry without a kind": (_set("entries", 1, to=[]), "entries[1]", "begins with one of file, link, directory"),
    "entry of an unknown kind": (_set("entries", 1, 0, to="device"), "entries[1]", "begins with one of file"),
    "kind of a number": (_set("entries", 1, 0, to=0), "entries[1]", "begins with one of file"),
    "file as a link": (_set("entries", 1, 0, to="link"), "entries[1]", "a link has the fields kind, path, target"),
    "file field missing": (_drop("entries", 2, 6), "entries[2]", "a file has the fields kind, path, executable"),
    "path out of the tree": (_set("entries", 0, 1, to="../run"), "entries[0].path", "refused"),
    "path of a number": (_set("entries", 0, 1, to=1), "entries[0].path", "expected text"),
    "executable as a number": (_set("entries", 0, 2, to=1), "entries[0].executable", "true or false"),
    "size as a boolean": (_set("entries", 0, 3, to=True), "entries[0].size_bytes", "True is not"),
    "negative size": (_set("entries", 0, 3, to=-1), "entries[0].size_bytes", "-1 is not"),
    "media type in capitals": (_set("entries", 0, 4, to="Text/Plain"), "entries[0].media_type", "lower"),
    "media type of a number": (_set("entries", 0, 4, to=1), "entries[0].media_type", "expected text"),
    "digest as text": (_set("entries", 0, 5, to="0" * 64), "entries[0].digest", "a blake3 digest is 32 bytes"),
    "short digest": (_set("entries", 0, 5, to=b"x"), "entries[0].digest", "a blake3 digest is 32 bytes"),
    "second digest null": (_set("entries", 0, 6, to=None), "entries[0].sha256", "a SHA-256 digest is 32 bytes"),
    "target of a number": (_set("entries", 3, 2, to=1), "entries[3].target", "expected text"),
    "target out of the tree": (_set("entries", 3, 2, to="../.."), "entries", "1 links lead out of the tree"),
    "entries out of order": (_reverse("entries"), "entries[1].path", "belongs before"),
    "entry twice": (_set("entries", 2, to=_node(_value(), ("entries",))[1]), "entries", "occurs twice"),
    "entry dropped": (_drop("entries", 2), "provenance.tree_digest", "the entries make it"),
    "receipts null": (_set("storage_receipts", to=None), "storage_receipts", "expected an array"),
    "receipt not an array": (_set("storage_receipts", 0, to={}), "storage_receipts[0]", "expected an array"),
    "receipt field missing": (_drop("storage_receipts", 0, 1), "storage_receipts[0]", "fields digest, backend_id"),
    "receipt without a digest": (_set("storage_receipts", 1, 0, to=None), "storage_receipts[1].digest", "byte string"),
    "receipt of no backend": (_set("storage_receipts", 1, 1, to=[]), "storage_receipts[1].backend_id", "text"),
    "receipt for an empty key": (
        _set("storage_receipts", 1, 2, to=""),
        "storage_receipts[1].object_key",
        "single slashes",
    ),
    "receipt for a key of a number": (_set("storage_receipts", 1, 2, to=0), "storage_receipts[1].object_key", "text"),
    "receipts out of order": (
        _reverse("storage_receipts"),
        "storage_receipts[1].digest",
        "belongs earlier",
    ),
    "receipt dropped": (_drop("storage_receipts", 0), "storage_receipts", "none is for the content of"),
    "retention not a map": (_set("retention_summary", to="long"), "retention_summary", "expected a map"),
    "duration as text": (
        _set("retention_summary", "duration_us", to="1"),
        "retention_summary.duration_us",
        "expected an integer",
    ),
    "expiry dropped": (
        _set("retention_summary", "expires_at_us", to=None),
        "retention_summary.expires_at_us",
        "exactly if",
    ),
    "expiry moved": (
        _set("retention_summary", "expires_at_us", to=0),
        "retention_summary.expires_at_us",
        "finalization and duration make it",
    ),
    "producer as text": (_set("provenance", "producer", to="x"), "provenance.producer", "expected a map"),
    "producer without version": (
        _drop("provenance", "producer", "version"),
        "provenance.producer.version",
        "missing",
    ),
    "principal empty": (_set("provenance", "principal", to=""), "provenance.principal", "0 bytes"),
    "tree digest of another tree": (
        _set("provenance", "tree_digest", to="sha256:" + "0" * 64),
        "provenance.tree_digest",
        "the entries make it",
    ),
    "wrong total": (_set("provenance", "total_bytes", to=0), "provenance.total_bytes", "make it 33, not 0"),
}


@pytest.mark.parametrize(("change", "where", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_that_is_not_right_is_refused_at_its_field(change: Change, where: str, reason: str) -> None:
    value = _value()
    change(value)
    with pytest.raises(ManifestInvalid) as refused:
        decode(cbor2.dumps(value, canonical=True))
    assert refused.value.where == where
    assert reason in refused.value.reason


NOT_CANONICAL: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "premature end"),
    "trailing byte": (PAYLOAD + b"\x00", "1 bytes follow"),
    "cut short": (PAYLOAD[:-1], "premature end"),
    "tagged": (b"\xd9\xd9\xf7" + PAYLOAD, "tag 55799"),
    "indefinite map": (b"\xbf" + PAYLOAD[1:] + b"\xff", "indefinite length"),
    "longer head": (b"\xb8\x07" + PAYLOAD[1:], "a head is longer"),
    "key repeated": (b"\xa8" + PAYLOAD[1:] + b"\x67entries\x80", "Duplicate map key: 'entries'"),
    "keys out of order": (
        b"\xa7\x70manifest_version\x01" + PAYLOAD[1:].replace(b"\x70manifest_version\x01", b""),
        "keys are out of order",
    ),
    "not UTF-8": (PAYLOAD.replace(b"nightly", b"nightl\xff"), "can't decode byte"),
    "deeply nested": (b"\x81" * 1_000, "nesting depth"),
    "huge array": (b"\x9b" + b"\xff" * 8, "an array or a map says that it has 18446744073709551615 items"),
}


@pytest.mark.parametrize(("payload", "reason"), NOT_CANONICAL.values(), ids=NOT_CANONICAL.keys())
def test_bytes_that_are_not_canonical_are_refused_as_a_whole(payload: bytes, reason: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        decode(payload)
    assert refused.value.where == ""
    assert reason in refused.value.reason


@pytest.mark.parametrize("payload", [b"\x80", b"\xf6", b"\x00", b"\x60", b"\xa0"])
def test_another_value_than_a_map_of_fields_is_refused(payload: bytes) -> None:
    with pytest.raises(ManifestInvalid, match=r"expected a map with manifest_version|manifest_version: this field is"):
        decode(payload)


def test_a_manifest_larger_than_the_caller_wants_is_refused() -> None:
    assert decode(PAYLOAD, max_bytes=len(PAYLOAD)) == SAMPLE
    with pytest.raises(ManifestInvalid, match=f"at most {len(PAYLOAD) - 1} are read here"):
        decode(PAYLOAD, max_bytes=len(PAYLOAD) - 1)


@pytest.mark.slow
@given(manifests())
def test_a_summary_is_the_same_from_the_bytes_and_from_the_manifest(manifest: Manifest) -> None:
    payload = encode(manifest)
    assert summarize(payload) == summarize(payload, manifest)


def test_a_summary_of_other_bytes_is_refused() -> None:
    for payload in (b"", b"\xa0", PAYLOAD[:-1], PAYLOAD + b"\x00", b"\xb8\x07" + PAYLOAD[1:]):
        with pytest.raises(ManifestInvalid):
            summarize(payload)


def test_equal_texts_of_a_manifest_are_one_object() -> None:
    digests = b"\1" * 32, b"\2" * 32
    entries = [FileEntry("file", str(number), False, 1, "text/x-shared", *digests) for number in range(2)]
    made = Manifest.build(
        package=SAMPLE.package,
        entries=entries,
        storage_receipts=[ManifestReceipt(digests[0], "local", None)],
        retention_class="permanent",
        retention_duration_us=None,
        producer=SAMPLE.provenance.producer,
        principal="ci",
    )
    decoded = decode(encode(made))
    first, second = decoded.files
    assert first.media_type is second.media_type
    assert first.kind is second.kind
