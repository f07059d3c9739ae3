"""The marker of an object root: it names the one store that may collect in the root.

Collection deletes objects that a log does not need. Two databases with the same root could each delete objects that
only the other needs. This concerns a clone, whose log was imported, restored or copied into a second database. It also
concerns a database that was put back to an earlier point, which does not know the later objects. So a root carries the
id of the one store that may collect in it, and the last event of that store's log at its last collection. The log
must still have that event: a log that was put back and grew again has another one at its place. A second store
that opens the root to write makes it shared, and then nobody collects in it. The marker affects no operation but
collection.
"""

from collections.abc import Mapping
from typing import Final, Literal, override

import msgspec
from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = [
    "MARKER_BYTES_MAX",
    "SHARED",
    "CollectionCode",
    "CollectionRefused",
    "RootMarker",
    "claimed",
    "collecting",
    "collection_refusal",
    "decode_marker",
    "encode_marker",
]

MARKER_BYTES_MAX: Final = 4096
"""The maximum length of a marker's text, in bytes. The markers of this release have about 180 bytes."""

SHARED: Final = "00000000-0000-0000-0000-000000000000"
"""The store id in the marker of a root that several stores have opened to write."""

_FORMAT: Final = "artifactstore-root"

type CollectionCode = Literal["root-unclaimed", "root-of-another-store", "root-shared", "store-rewound", "root-unknown"]
"""The reason why a store may not collect in a root. These codes are stable."""


class RootMarker(Struct, frozen=True):
    """The marker of a root.

    Attributes:
        store_id: the id of the store that may collect in the root; `SHARED` if no store may.
        collected_at: the highest head of the store's log at a collection in this root; 0 before the first collection.
        event_id: the id of the event with this sequence; empty before the first collection.
    """

    store_id: str
    collected_at: int = 0
    event_id: str = ""

    def __post_init__(self) -> None:
        check_id("store id", self.store_id)
        if type(self.collected_at) is not int or self.collected_at < 0:
            raise InvalidValue("sequence of a root's marker", str(self.collected_at)[:80], "it is 0 or more")
        if self.collected_at:
            check_id("event id", self.event_id)
        elif self.event_id != "":
            raise InvalidValue("event of a root's marker", str(self.event_id)[:80], "there was no collection yet")


class CollectionRefused(ArtifactStoreError):
    """The store may not collect in this root. No other operation checks the marker.

    Attributes:
        code: the reason, as a stable code.
        store_id: the id of the store.
        head: the last sequence of the store's log.
        marker: the marker of the root; None if no store has claimed the root.
    """

    code: CollectionCode
    store_id: str
    head: int
    marker: RootMarker | None

    @override
    def __str__(self) -> str:
        explained = self.code in {"root-of-another-store", "root-shared", "store-rewound"}
        return f"{self.reason}; `artifactstore doctor` says what to do" if explained else self.reason

    @property
    def reason(self) -> str:
        """What is wrong, without the way out of it."""
        refused = f"store {self.store_id} may not collect here"
        if self.code == "root-unknown":
            return f"{refused}: its objects are in a backend of its own, which says nothing about who may collect in it"
        if self.marker is None:
            return f"{refused}: no store has claimed this object root; open the store where the root can be written"
        if self.code == "root-shared":
            return f"{refused}: several databases have used this object root, and each could delete what another needs"
        if self.code == "root-of-another-store":
            return (
                f"{refused}: this object root belongs to store {self.marker.store_id}; this database is a clone of "
                "that store's, or both use the same directory"
            )
        ends = (
            f"its log ends at event {self.head}, and it has collected at event {self.marker.collected_at}"
            if self.head < self.marker.collected_at
            else f"it has collected at event {self.marker.collected_at}, and its log has another event there"
        )
        return f"{refused}: {ends}, so this database was put back to an earlier point"


def collection_refusal(
    store_id: str, head: int, marker: RootMarker | None, event_id: str | None
) -> CollectionRefused | None:
    """Return the reason why a store may not collect in a root, or None if it may.

    Args:
        store_id: the id of the store.
        head: the last sequence of the store's log.
        marker: the marker of the root; None if no store has claimed the root.
        event_id: the id of the event that the store's log has at `marker.collected_at`; None if it has none there.
    """
    code: CollectionCode
    if marker is None:
        code = "root-unclaimed"
    elif marker.store_id == SHARED:
        code = "root-shared"
    elif marker.store_id != store_id:
        code = "root-of-another-store"
    elif marker.collected_at and event_id != marker.event_id:
        code = "store-rewound"
    else:
        return None
    return CollectionRefused(code, store_id, head, marker)


def collecting(store_id: str, known: Mapping[int, str], marker: RootMarker | None) -> RootMarker:
    """Return the marker of a root in which a store is about to delete what its log allows up to its head.

    Args:
        store_id: the id of the store.
        known: the ids of the last event of its log and of the event at `marker.collected_at`, by their sequences.
        marker: the marker of the root; None if no store has claimed the root.

    Raises:
        CollectionRefused: the store may not collect in this root.
    """
    head = max(known, default=0)
    refusal = collection_refusal(store_id, head, marker, None if marker is None else known.get(marker.collected_at))
    if refusal is not None:
        raise refusal
    return RootMarker(store_id, head, known.get(head, ""))


def claimed(store_id: str, marker: RootMarker | None, *, writes: bool) -> RootMarker:
    """Return the marker of a root after a store has opened it.

    The first store that opens a root claims it. Another one that opens it to write makes it shared: it may store
    objects there that the log of the first one does not know.
    """
    if marker is None:
        return RootMarker(store_id)
    return (
        RootMarker(SHARED, marker.collected_at, marker.event_id) if writes and marker.store_id != store_id else marker
    )


class _Written(Struct, frozen=True, tag_field="format", tag=_FORMAT):
    version: Literal[1]
    store_id: str
    collected_at: int
    event_id: str


def encode_marker(marker: RootMarker) -> bytes:
    """Return a marker as a line of JSON."""
    return msgspec.json.encode(_Written(1, marker.store_id, marker.collected_at, marker.event_id)) + b"\n"


def decode_marker(text: bytes) -> RootMarker:
    """Return the marker that `encode_marker` encoded.

    Raises:
        InvalidValue: the text is not the marker of a root, or a later release wrote it.
    """
    try:
        found = msgspec.json.decode(text, type=_Written)
    except (ValueError, RecursionError) as error:
        reason = f"this release reads {_FORMAT}, version 1 ({error})"
        raise InvalidValue("marker of a root", repr(text[:80]), reason) from error
    return RootMarker(found.store_id, found.collected_at, found.event_id)
