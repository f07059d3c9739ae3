"""The canonical CBOR of manifests: exactly the fields of the model, under the same names.

`decode` accepts only what `encode` writes: no unknown or missing field, no other type, no other order, no other
encoding. So every manifest has one encoding, and the digest of the bytes is the digest of the manifest.

Entries and receipts are arrays of their fields, and their digests are byte strings: a file takes about 170 bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

import cbor2
from blake3 import blake3
from msgspec import Struct
from msgspec.structs import asdict, force_setattr, replace

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical, RecordValue
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.manifest.entries import ENTRY_KINDS, Entry, FileEntry, check_entries
from artifactstore_protocols.manifest.model import MANIFEST_VERSION, Manifest
from artifactstore_protocols.manifest.parts import (
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Provenance,
    RetentionSummary,
    refuse,
)
from artifactstore_protocols.manifest.tree import tree_digest
from artifactstore_protocols.metadata import Metadata, is_metadata

__all__ = ["MANIFEST_BYTES_MAX", "decode", "decode_summary", "encode", "manifest_digest", "to_value"]

MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024
"""The default size limit for decoding a manifest, in bytes; 100,000 files take about 17 MB."""

_BYTES_PER_ITEM: Final = 3
"""The minimum average bytes of an item in a manifest, beyond `canonical.ITEMS_FREE`.

A link from a three-letter path to a one-letter target has 12 bytes and 4 items.
"""

_SHOWN_CHARS: Final = 80
_ARRAY, _MAP = 4, 5
_ONE_BYTE, _EIGHT_BYTES = 24, 27
_MEDIA_TYPE, _BACKEND = FileEntry._fields.index("media_type"), ManifestReceipt._fields.index("backend_id")

type _Shared = dict[str, str]
"""Texts of a manifest, by themselves: equal texts become one object, which lives as long as the manifest."""


def encode(manifest: Manifest) -> bytes:
    """Return the canonical CBOR of a manifest."""
    return cbor2.dumps(to_value(manifest))  # a `Manifest` is already checked, and `to_value` sorts its maps


def decode(payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX, redacted: bool = False) -> Manifest:
    """Return the manifest whose canonical CBOR is `payload`.

    A redacted manifest has other paths than the package had, and states the tree digest of those that it had. That
    digest is then the only one that is not checked.

    Raises:
        ManifestInvalid: the bytes are not canonical, larger than `max_bytes`, or break a rule of manifests.
    """
    try:
        value = _load_rows(payload, max_bytes)
        decoded = _redacted(value) if redacted else _manifest(value)
        canonical.require_canonical(payload, encode(decoded))
    except NotCanonical as error:
        raise ManifestInvalid("", str(error)) from error
    return decoded


def decode_summary(
    payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX
) -> tuple[ManifestPackage, RetentionSummary, Provenance]:
    """Return a manifest's package, retention summary and provenance, without checking its entries and receipts.

    This is three times as fast as `decode`.

    Raises:
        ManifestInvalid: the bytes are not canonical, larger than `max_bytes`, or these parts break a rule of manifests.
    """
    try:
        value = _load(payload, max_bytes)
        canonical.require_canonical(payload, cbor2.dumps(value))
        fields = _fields(value, Manifest)
    except NotCanonical as error:
        raise ManifestInvalid("", str(error)) from error
    return (
        _within("package", partial(_part, ManifestPackage), fields["package"]),
        _within("retention_summary", partial(_part, RetentionSummary), fields["retention_summary"]),
        _within("provenance", partial(_part, Provenance), fields["provenance"]),
    )


def _load(payload: bytes, max_bytes: int) -> RecordValue:
    return canonical.load(payload, max_bytes=max_bytes, items_max=_items_max(payload))


def _items_max(payload: bytes) -> int:
    return canonical.ITEMS_FREE + len(payload) // _BYTES_PER_ITEM


def _load_rows(payload: bytes, max_bytes: int) -> RecordValue:
    """Load a manifest with tuples of entries and receipts in place of the arrays.

    It converts each row before it loads the next. The arrays of 100,000 files would take 45 MB. If the payload does not
    have the form of a manifest, it is loaded like any other payload, and the caller finds the error.
    """
    fields: dict[str, Any] = {}
    shared: _Shared = {}
    try:
        with canonical.decoder(payload, max_bytes=max_bytes, items_max=_items_max(payload)) as values:
            for _ in range(_count(values, _MAP)):
                name = _text(values.decode())
                if name in fields:
                    refuse(name, "this field is there twice")
                if (read := _ROWS.get(name)) is not None:
                    fields[name] = _rows(read, (values.decode() for _ in range(_count(values, _ARRAY))), shared)
                else:
                    fields[name] = values.decode()
    except ManifestInvalid:
        fields.clear()
    else:
        return fields
    return _load(payload, max_bytes)


def _count(values: cbor2.CBORDecoder, major: int) -> int:
    """Read the head of an array or a map, and return the number of its items."""
    [head] = values.read(1)
    of_major, argument = head >> 5, head & 31
    if of_major != major or argument > _EIGHT_BYTES:
        raise ManifestInvalid("", "expected an array or a map")
    return argument if argument < _ONE_BYTE else int.from_bytes(values.read(1 << argument - _ONE_BYTE))


def manifest_digest(payload: bytes) -> Digest:
    """Return the BLAKE3-256 of a manifest's canonical CBOR, which is the identity of a finalized package."""
    return Digest("blake3", blake3(payload).hexdigest())


def to_value(manifest: Manifest) -> dict[str, object]:
    """Return the manifest as a plain value, with maps in canonical CBOR order; entries and receipts are tuples.

    The order saves the encoder from sorting, and the tuples save copies.
    """
    return cast("dict[str, object]", _ordered(manifest))


def _ordered(value: object) -> object:
    if isinstance(value, Struct):
        value = asdict(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {key: _ordered(fields[key]) for key in _in_order(fields)}
    if isinstance(value, list):  # only metadata has lists
        return [_ordered(item) for item in cast("list[object]", value)]
    return value


def _in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (len(encoded := key.encode()), encoded))


def _manifest(value: RecordValue) -> Manifest:
    # Check the version first: in a later version, unknown fields are expected.
    version = value.get("manifest_version") if isinstance(value, dict) else None
    if type(version) is int and version != MANIFEST_VERSION:
        raise ManifestInvalid("manifest_version", f"{version} is not {MANIFEST_VERSION}; use a later release")
    return _part(Manifest, value)


def _redacted(value: RecordValue) -> Manifest:
    """Read a manifest that states the tree digest of the paths before they were redacted."""
    fields = _fields(value, Manifest)
    entries = _within("entries", partial(_loaded_rows, _entry), cast("Any", fields["entries"]))
    provenance = _within("provenance", partial(_part, Provenance), fields["provenance"])
    check_entries(entries, PRIMARY_ALGORITHM)
    derived = replace(provenance, tree_digest=str(ContentAddress(tree_digest(entries))))
    decoded = _manifest({**fields, "provenance": _loaded(derived)})
    force_setattr(decoded, "provenance", provenance)
    return decoded


def _loaded(provenance: Provenance) -> RecordValue:
    return {**asdict(provenance), "producer": asdict(provenance.producer)}


def _part[T: Struct](kind: type[T], value: RecordValue) -> T:
    """Read a struct: a map of exactly its fields, each of its type."""
    fields = _fields(value, kind)
    parts = {
        name: _within(name, _READERS.get(of) or partial(_part, cast("type[Struct]", of)), fields[name])
        for name, of in kind.__annotations__.items()
    }
    return cast("T", cast("Any", kind)(**parts))


def _metadata(value: RecordValue) -> Metadata:
    if not is_metadata(value):
        raise ManifestInvalid("", "expected a map of text to text, integers, booleans, lists and maps")
    return cast("Metadata", value)


def _texts(value: RecordValue) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ManifestInvalid("", "expected a map of text to text")
    return {key: _within(key[:_SHOWN_CHARS], _text, text) for key, text in value.items()}


def _entry(value: RecordValue, shared: _Shared) -> Entry:
    row = _array(value)
    name = row[0] if row and isinstance(row[0], str) else ""
    kind = ENTRY_KINDS.get(name)
    if kind is None:
        raise ManifestInvalid("", f"an entry begins with one of {', '.join(ENTRY_KINDS)}")
    if len(row) != len(kind._fields):
        raise ManifestInvalid("", f"a {name} has the fields {', '.join(kind._fields)}")
    _share(row, 0, shared)
    if kind is FileEntry:
        _share(row, _MEDIA_TYPE, shared)
    return kind._make(row)  # `check_entries` checks the types


def _receipt(value: RecordValue, shared: _Shared) -> ManifestReceipt:
    row = _array(value)
    if len(row) != len(ManifestReceipt._fields):
        raise ManifestInvalid("", f"a receipt has the fields {', '.join(ManifestReceipt._fields)}")
    _share(row, _BACKEND, shared)
    return ManifestReceipt._make(row)


def _share(row: list[RecordValue], index: int, shared: _Shared) -> None:
    """Replace a text by an equal one of another row: 100,000 rows repeat their kinds, media types and backends."""
    value = row[index]
    if type(value) is str:
        row[index] = shared.setdefault(value, value)


def _fields(value: RecordValue, kind: type[Struct]) -> dict[str, RecordValue]:
    names = kind.__struct_fields__
    if not isinstance(value, dict):
        raise ManifestInvalid("", f"expected a map with {', '.join(names)}")
    for name in names:
        if name not in value:
            raise ManifestInvalid(name, "this field is missing")
    if len(value) != len(names):
        unknown = next(name for name in value if name not in names)
        raise ManifestInvalid(unknown[:_SHOWN_CHARS], "this field is unknown")
    return value


def _text(value: RecordValue) -> str:
    if not isinstance(value, str):
        raise ManifestInvalid("", "expected text")
    return value


def _integer(value: RecordValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ManifestInvalid("", "expected an integer")
    return value


def _array(value: RecordValue) -> list[RecordValue]:
    if not isinstance(value, list):
        raise ManifestInvalid("", "expected an array")
    return value


def _within[T](where: str, read: Callable[[RecordValue], T], value: RecordValue) -> T:
    try:
        return read(value)
    except ManifestInvalid as error:
        raise error.within(where) from error.__cause__


def _rows[T](
    read: Callable[[RecordValue, _Shared], T], values: Iterable[RecordValue], shared: _Shared
) -> tuple[T, ...]:
    rows: list[T] = []
    for value in values:
        try:
            rows.append(read(value, shared))
        except ManifestInvalid as error:
            raise error.within(f"[{len(rows)}]") from error.__cause__
    return tuple(rows)


def _loaded_rows[T](read: Callable[[RecordValue, _Shared], T], value: RecordValue | tuple[T, ...]) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else _rows(read, _array(value), {})


_ROWS: Mapping[str, Callable[[RecordValue, _Shared], object]] = {"entries": _entry, "storage_receipts": _receipt}
_READERS: Mapping[object, Callable[[Any], object]] = {
    str: _text,
    int: _integer,
    int | None: lambda value: None if value is None else _integer(value),
    Metadata: _metadata,
    Mapping[str, str]: _texts,
    str | None: lambda value: None if value is None else _text(value),
    tuple[Entry, ...]: partial(_loaded_rows, _entry),
    tuple[ManifestReceipt, ...]: partial(_loaded_rows, _receipt),
}
"""Readers by the annotation of a field. A field with any other annotation is a struct, which `_part` reads."""
