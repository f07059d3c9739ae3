import copy
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest import Manifest, ManifestInvalid, decode, encode, manifest_digest
from manifest_samples import sample_manifest
from strategies import canonical_values, manifests, mutations

SAMPLE = sample_manifest()
PAYLOAD = encode(SAMPLE)

type Change = Callable[[CanonicalValue], None]
type Place = tuple[str | int, ...]


def _value() -> CanonicalValue:
    return copy.deepcopy(canonical.decode(PAYLOAD))


def _node(value: CanonicalValue, place: Place) -> "dict[str | int, CanonicalValue]":
    """The map or array at a place that is known from the sample; both are indexed alike."""
    node = cast("dict[str | int, CanonicalValue]", value)
    for step in place:
        node = cast("dict[str | int, CanonicalValue]", node[step])
    return node


def _places(value: CanonicalValue) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield (step,)
        yield from ((step, *place) for place in _places(item))


@given(manifests())
def test_a_manifest_comes_back_from_its_bytes(manifest: Manifest) -> None:
    payload = encode(manifest)
    decoded = decode(payload)
    assert decoded == manifest
    assert encode(decoded) == payload


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
        },
        "files": [
            {
                "path": file.path,
                "size_bytes": file.size_bytes,
                "executable": file.executable,
                "media_type": file.media_type,
                "digest": f"blake3:{file.digest.hex}",
                "sha256": f"sha256:{file.sha256.hex}",
            }
            for file in manifest.files
        ],
        "storage_receipts": [
            {
                "content_address": str(receipt.content_address),
                "backend_id": receipt.backend_id,
                "object_key": receipt.object_key,
                "size_bytes": receipt.size_bytes,
            }
            for receipt in manifest.storage_receipts
        ],
        "retention_summary": {
            "retention_class": retention.retention_class,
            "duration_us": retention.duration_us,
            "expires_at_us": retention.expires_at_us,
        },
        "provenance": {
            "producer": {"name": provenance.producer.name, "version": provenance.producer.version},
            "actor": provenance.actor,
            "tree_digest": provenance.tree_digest,
            "file_count": provenance.file_count,
            "total_bytes": provenance.total_bytes,
        },
    }
    assert encode(manifest) == reference_cbor.encode(value)


def test_the_sample_keeps_its_digest_from_release_to_release() -> None:
    digest = manifest_digest(PAYLOAD)
    assert digest == Digest("blake3", blake3(PAYLOAD).hexdigest())
    assert digest.hex == "529ffd3ecbc1a553e737209d7973a5c2149f23ab00f30fb61945a1e99045de93"


@given(st.binary(max_size=60) | canonical_values().map(canonical.encode) | mutations(PAYLOAD))
def test_any_bytes_are_refused_or_are_a_manifest(payload: bytes) -> None:
    _assert_refused_or_a_manifest(payload)


@given(st.sampled_from(sorted(_places(_value()), key=str)), canonical_values())
def test_a_field_with_another_value_is_refused_or_makes_another_manifest(place: Place, other: CanonicalValue) -> None:
    value = _value()
    _node(value, place[:-1])[place[-1]] = other
    _assert_refused_or_a_manifest(canonical.encode(value))


def _assert_refused_or_a_manifest(payload: bytes) -> None:
    try:
        manifest = decode(payload)
    except ManifestInvalid:
        return
    assert encode(manifest) == payload


def _set(*place: str | int, to: CanonicalValue) -> Change:
    def change(value: CanonicalValue) -> None:
        _node(value, place[:-1])[place[-1]] = to

    return change


def _drop(*place: str | int) -> Change:
    def change(value: CanonicalValue) -> None:
        del _node(value, place[:-1])[place[-1]]

    return change


def _reverse(name: str) -> Change:
    def change(value: CanonicalValue) -> None:
        cast("list[CanonicalValue]", _node(value, (name,))).reverse()

    return change


def _both(first: Change, second: Change) -> Change:
    def change(value: CanonicalValue) -> None:
        first(value)
        second(value)

    return change


REFUSED: dict[str, tuple[Change, str, str]] = {
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
    "metadata not a map": (_set("package", "metadata", to=[]), "package.metadata", "map of text to text"),
    "long metadata key": (_set("package", "metadata", "k" * 999, to=1), "package.metadata." + "k" * 80, "text"),
    "metadata nested": (_set("package", "metadata", "k", to={}), "package.metadata.k", "expected text"),
    "files a map": (_set("files", to={}), "files", "expected an array"),
    "file not a map": (_set("files", 1, to="docs/a.md"), "files[1]", "expected a map with path"),
    "file field missing": (_drop("files", 2, "sha256"), "files[2].sha256", "missing"),
    "file field unknown": (_set("files", 0, "mode", to=420), "files[0].mode", "unknown"),
    "path out of the tree": (_set("files", 0, "path", to="../run"), "files[0].path", "refused"),
    "path of a number": (_set("files", 0, "path", to=1), "files[0].path", "expected text"),
    "executable as a number": (_set("files", 0, "executable", to=1), "files[0].executable", "true or false"),
    "size as a boolean": (_set("files", 0, "size_bytes", to=True), "files[0].size_bytes", "expected an integer"),
    "negative size": (_set("files", 0, "size_bytes", to=-1), "files[0].size_bytes", "-1 is not"),
    "media type in capitals": (_set("files", 0, "media_type", to="Text/Plain"), "files[0].media_type", "lower"),
    "digest without algorithm": (_set("files", 0, "digest", to="0" * 64), "files[0].digest", "<algorithm>:<hex>"),
    "digest of an unknown kind": (
        _set("files", 0, "digest", to="md5:" + "0" * 32),
        "files[0].digest",
        "registered",
    ),
    "digest in capitals": (_set("files", 0, "digest", to="blake3:" + "A" * 64), "files[0].digest", "lower-case"),
    "digest null": (_set("files", 0, "digest", to=None), "files[0].digest", "expected text"),
    "second digest not SHA-256": (
        _set("files", 0, "sha256", to="blake3:" + "0" * 64),
        "files[0].sha256",
        "always sha256",
    ),
    "files out of order": (_reverse("files"), "files[1].path", "belongs before"),
    "file twice": (_set("files", 2, to=_node(_value(), ("files",))[1]), "files", "occurs twice"),
    "file dropped": (_drop("files", 2), "provenance.tree_digest", "the files make it"),
    "receipts null": (_set("storage_receipts", to=None), "storage_receipts", "expected an array"),
    "receipt field missing": (
        _drop("storage_receipts", 0, "backend_id"),
        "storage_receipts[0].backend_id",
        "missing",
    ),
    "receipt for an empty key": (
        _set("storage_receipts", 1, "object_key", to=""),
        "storage_receipts[1].object_key",
        "single slashes",
    ),
    "receipt with a bad address": (
        _set("storage_receipts", 1, "content_address", to="x"),
        "storage_receipts[1].content_address",
        "<algorithm>:<hex>",
    ),
    "receipts out of order": (
        _reverse("storage_receipts"),
        "storage_receipts[1].content_address",
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
        "finalisation and duration make it",
    ),
    "producer as text": (_set("provenance", "producer", to="x"), "provenance.producer", "expected a map"),
    "producer without version": (
        _drop("provenance", "producer", "version"),
        "provenance.producer.version",
        "missing",
    ),
    "actor empty": (_set("provenance", "actor", to=""), "provenance.actor", "0 bytes"),
    "tree digest of another tree": (
        _set("provenance", "tree_digest", to="blake3:" + "0" * 64),
        "provenance.tree_digest",
        "the files make it",
    ),
    "wrong total": (_set("provenance", "total_bytes", to=0), "provenance.total_bytes", "make it 33, not 0"),
}


@pytest.mark.parametrize(("change", "where", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_that_is_not_right_is_refused_at_its_field(change: Change, where: str, reason: str) -> None:
    value = _value()
    change(value)
    with pytest.raises(ManifestInvalid) as refused:
        decode(canonical.encode(value))
    assert refused.value.where == where
    assert reason in refused.value.reason


NOT_CANONICAL: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "premature end"),
    "trailing byte": (PAYLOAD + b"\x00", "1 bytes follow"),
    "cut short": (PAYLOAD[:-1], "premature end"),
    "tagged": (b"\xd9\xd9\xf7" + PAYLOAD, "tag 55799"),
    "indefinite map": (b"\xbf" + PAYLOAD[1:] + b"\xff", "indefinite length"),
    "longer head": (b"\xb8\x06" + PAYLOAD[1:], "a head is longer"),
    "key repeated": (b"\xa7" + PAYLOAD[1:] + b"\x65files\x80", "Duplicate map key: 'files'"),
    "keys out of order": (
        b"\xa6\x70manifest_version\x01" + PAYLOAD[1:].replace(b"\x70manifest_version\x01", b""),
        "keys are out of order",
    ),
    "float": (PAYLOAD.replace(b"manifest_version\x01", b"manifest_version\xf9\x3c\x00"), "type float"),
    "bytes": (PAYLOAD.replace(b"\x67nightly", b"\x47nightly"), "at $.package.name: type bytes"),
    "undefined": (PAYLOAD.replace(b"manifest_version\x01", b"manifest_version\xf7"), "type UndefinedType"),
    "simple value": (PAYLOAD.replace(b"manifest_version\x01", b"manifest_version\xe0"), "CBORSimpleValue"),
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
