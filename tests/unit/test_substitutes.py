"""A substitute from another log equals the payload that is here, except for marks."""

from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols.admission import examine
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.event_types import (
    FilesIngested,
    PackageAnnotated,
    PackageCreated,
    Payload,
    TagSet,
    encode_payload,
    type_of,
)
from artifactstore_protocols.event_types.placing import Totals
from artifactstore_protocols.events import CommandStamp, Event, EventRefused, StoredEvent
from artifactstore_protocols.metadata import MetadataValue
from artifactstore_protocols.redacted_texts import TextReplacement, fits
from artifactstore_protocols.redaction import substitute_of
from artifactstore_protocols.substitutes import check_substitute

PACKAGE_ID = "00000000-0000-7000-8000-000000000001"
TEXT = "aB"
REPLACED = TextReplacement(TEXT, "0123456789ab")
TEXTS = st.text("aBx", max_size=6)
VALUES = st.recursive(
    st.integers(0, 2) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, max_size=3),
    max_leaves=6,
)
METADATA = st.dictionaries(TEXTS.filter(bool), VALUES, max_size=5)


def stored(payload: Payload, redacted_by: int | None = None) -> StoredEvent:
    """An event with a payload."""
    kind = type_of(payload)
    encoded = encode_payload(payload)
    event = Event(PACKAGE_ID, kind.name, kind.subject(payload), "ci", 1, encoded, CommandStamp(PACKAGE_ID))
    return StoredEvent(3, event if redacted_by is None else replace(event, redacted_by=redacted_by))


def created(metadata: Mapping[str, MetadataValue]) -> PackageCreated:
    """The creation of a package with metadata."""
    return PackageCreated(PACKAGE_ID, f"of {TEXT}", "standard", 1, metadata, None, {})


@given(METADATA, st.sets(TEXTS.filter(bool), max_size=4))
def test_what_a_redaction_does_is_accepted(metadata: dict[str, MetadataValue], removed: set[str]) -> None:
    for payload in (
        created(metadata),
        PackageAnnotated(PACKAGE_ID, 2, metadata, tuple(sorted(removed - metadata.keys()))),
    ):
        mine = stored(payload)
        substitute = substitute_of(mine, REPLACED)
        if substitute is not None:
            check_substitute(mine, StoredEvent(3, replace(mine.event, payload=substitute, redacted_by=9)))


@given(METADATA, METADATA)
def test_other_values_are_refused(metadata: dict[str, MetadataValue], other: dict[str, MetadataValue]) -> None:
    assume(stored(created(metadata)) != stored(created(other)))
    with pytest.raises(EventRefused, match="more than marks"):
        check_substitute(stored(created(metadata)), stored(created(other), 9))


def test_paths_keep_their_contents() -> None:
    one, two = (
        Entry("file", path, False, "text/plain", 1, digest, "")
        for path, digest in ((TEXT, b"1" * 32), ("b", b"2" * 32))
    )
    totals = Totals(2, 2, 0, 0, 2, 2)
    payload = FilesIngested(PACKAGE_ID, 2, totals, "blake3", (one, two), (TEXT, "b"), frozenset({TEXT}), ("d",))
    mine = stored(payload)
    substitute = cast("bytes", substitute_of(mine, REPLACED))
    genuine = StoredEvent(3, replace(mine.event, payload=substitute, redacted_by=9))
    check_substitute(mine, genuine)
    there = cast("FilesIngested", genuine.decode())
    first, second = there.entries
    swapped = (first._replace(digest=second.digest), second._replace(digest=first.digest))
    for forged in (
        replace(there, entries=swapped),
        replace(there, replaced=frozenset({"b"})),
        replace(there, removed=()),
        replace(there, removed=("e",)),
        replace(there, entries=there.entries[:1], path_keys=there.path_keys[:1]),
        replace(there, totals=replace(totals, total_bytes=3)),
    ):
        with pytest.raises(EventRefused, match="more than marks"):
            check_substitute(mine, stored(forged, 9))


def test_a_mark_stands_for_any_text_of_one_name() -> None:
    mark = REPLACED.mark
    for text, original in ((mark, "x"), (f"a{mark}b{mark}", "a1b2"), (f"{mark}/x", "Jane/x"), (f"{mark}{mark}", "x")):
        assert fits(text, original)
    for text, original in (("x", "y"), (f"a{mark}a", "a"), (mark, "a/b"), (f"{mark}b{mark}c", "xc"), ("x", mark)):
        assert not fits(text, original)


def test_only_some_types_of_events_are_redacted() -> None:
    with pytest.raises(EventRefused, match="no redaction changes"):
        examine(stored(TagSet("t", PACKAGE_ID, False), 9))
