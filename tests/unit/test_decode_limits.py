"""What comes from outside cannot cost many times its own size: items are counted before any of them is made."""

from collections.abc import Callable
from string import ascii_lowercase

import pytest

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.canonical import ITEMS_FREE, MAX_DEPTH, NotCanonical, items_allowed
from artifactstore_protocols.commands import RegisterMetadataSchema
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import (
    FILES_INGESTED,
    OBJECTS_FLAGGED,
    OBJECTS_STORED,
    PACKAGE_CREATED,
    PACKAGE_FINALIZED,
    PackageFinalized,
    decode_payload,
)
from artifactstore_protocols.events import decode_event
from artifactstore_protocols.log_file import LogFileReader
from artifactstore_protocols.manifest import DirectoryEntry, LinkEntry, read_jcs
from manifest_samples import sample_manifest
from traced import traced

COUNT = 1_000_000
HEAD = b"\x9a" + COUNT.to_bytes(4)
SMALL = {
    "empty maps": b"\xa0",
    "empty arrays": b"\x80",
    "arrays of one": b"\x81\x00",
    "numbers": b"\x19\x01\x00",
    "short texts": b"\x62aa",
    "short texts in maps": b"\xa1\x61a\x61a",
}
READERS: dict[str, Callable[[bytes], object]] = {
    "value": canonical.decode,
    "record value": canonical.decode_record,
    "record of an event": lambda content: decode_event(1, content, b""),
    "payload": lambda content: decode_payload(PACKAGE_CREATED.name, content),
    "payload of entries": lambda content: decode_payload(FILES_INGESTED.name, content),
    "payload of objects": lambda content: decode_payload(OBJECTS_STORED.name, content),
    "payload of findings": lambda content: decode_payload(OBJECTS_FLAGGED.name, content),
    "manifest": manifest.decode,
    "log file": lambda content: LogFileReader("log").feed(content),
    "event of a log file": lambda content: LogFileReader("log").feed(_log_with(content)),
}


def _log_with(record: bytes) -> bytes:
    header: dict[str, canonical.CanonicalValue] = {
        "format": "artifactstore-log",
        "version": 1,
        "after": 0,
        "last": 1,
        "previous": None,
    }
    return canonical.encode(header) + canonical.encode_record([1, record, b""])


def peak_bytes(work: Callable[[], object]) -> int:
    """How much memory some refused work takes at most, beyond what it was given."""
    with traced() as peak:
        with pytest.raises(ArtifactStoreError, match=r"more than|nested deeper"):
            work()
        return peak()


@pytest.mark.slow
@pytest.mark.parametrize("item", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_many_small_items_are_refused_before_they_are_made(read: Callable[[bytes], object], item: bytes) -> None:
    content = HEAD + item * COUNT
    reason = r"more than \d+ (items|values|bytes)|says that it has \d+ items|it has \d+ bytes, and at most \d+ are read"
    if read is manifest.decode and len(item) == 3:  # an honest manifest of short links has as many items
        reason = "expected a map with manifest_version"
    with pytest.raises(ArtifactStoreError, match=reason):
        read(content)


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_refusal_takes_no_more_memory_than_a_copy_or_two(read: Callable[[bytes], object]) -> None:
    """Many maps one after another, so that no head of an array says beforehand how many they are."""
    nested = b"\x98\xff" + b"\xa0" * 255
    content = b"\x99\x0f\xff" + nested * 0x0FFF
    with traced() as peak:
        with pytest.raises(ArtifactStoreError):
            read(content)
        assert peak() < 5 * len(content)


def test_an_array_that_only_says_that_it_is_long_gets_no_room() -> None:
    for head in (b"\x9a\x7f\xff\xff\xff", b"\xba\x7f\xff\xff\xff", b"\x81\x9b\x00\x00\x00\x7f\xff\xff\xff\xff"):
        with pytest.raises(NotCanonical, match="says that it has"):
            canonical.decode(head)


def test_what_is_allowed_is_counted_item_by_item() -> None:
    values: list[canonical.CanonicalValue] = [{} for _ in range(ITEMS_FREE)]
    payload = canonical.encode(values)
    assert len(values) + 1 <= items_allowed(len(payload))
    assert canonical.decode(payload) == values
    longer = canonical.encode([*values, *({} for _ in range(ITEMS_FREE // 4))])
    with pytest.raises(NotCanonical, match=f"at most {items_allowed(len(longer))} are read"):
        canonical.decode(longer)
    by_two = canonical.encode([[{}, {}] for _ in range(ITEMS_FREE // 2)])
    with pytest.raises(NotCanonical, match=f"more than {items_allowed(len(by_two))} items"):
        canonical.decode(by_two)


@pytest.mark.slow
def test_manifests_with_the_shortest_names_are_decoded() -> None:
    """A link has four items and may have few bytes; a package may hold 100,000 of them."""
    names = [
        first + second + third for first in ascii_lowercase for second in ascii_lowercase for third in "0123456789"
    ]
    links = sample_manifest(*(LinkEntry("link", name, ".") for name in names))
    assert manifest.decode(manifest.encode(links)) == links
    directories = sample_manifest(*(DirectoryEntry("directory", name) for name in names))
    assert manifest.decode(manifest.encode(directories)) == directories


@pytest.mark.slow
@pytest.mark.parametrize(
    "schema",
    [
        "[" + ",".join(["{}"] * 300_000) + "]",
        "[" + ",".join(["0"] * 500_000) + "]",
        '{"a":[' + ",".join(['{"":{}}'] * 100_000) + "]}",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    ],
    ids=["empty objects", "numbers", "objects in objects", "too deep"],
)
def test_a_schema_of_many_small_items_is_refused_before_they_are_made(schema: str) -> None:
    text = schema.encode()
    peak = peak_bytes(lambda: read_jcs(text))
    assert peak < 3 * len(text) + (64 << 10)
    with pytest.raises(ArtifactStoreError):
        RegisterMetadataSchema("s", schema)


def test_what_looks_like_structure_within_a_text_is_none() -> None:
    text = '"' + '[{:,\\"' * 50_000 + '"'
    assert read_jcs(text.encode()) == '[{:,"' * 50_000


def test_a_manifest_in_an_event_is_read_when_it_is_judged_and_not_before() -> None:
    content = b"\x9a" + COUNT.to_bytes(4) + b"\xa0" * COUNT
    payload = decode_payload(PACKAGE_FINALIZED.name, content)
    assert isinstance(payload, PackageFinalized)
    with pytest.raises(ArtifactStoreError, match="says that it has"):
        manifest.summarize(payload.manifest)
