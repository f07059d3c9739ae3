"""Who may collect in an object root: the marker that a root carries, and what it allows.

Collection deletes what a log does not need. Two databases that know one root would each delete what only the other
needs: a clone, whose log was imported, restored or copied into a second database; and a database that was put back to
an earlier point, which knows nothing of what came after it. So a root carries the id of the one store that may collect
in it, and the highest head that its log had when it did. Everything but collection works whatever the marker says.
"""

from dataclasses import dataclass
from typing import Final, Literal, override

import msgspec
from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = [
    "MARKER_BYTES_MAX",
    "CollectionCode",
    "CollectionRefused",
    "RootMarker",
    "claimed",
    "decode_marker",
    "encode_marker",
    "may_collect",
]

MARKER_BYTES_MAX: Final = 4096
"""How long the text of a marker may be; that of this release has about 120 bytes."""

_FORMAT: Final = "artifactstore-root"

type CollectionCode = Literal["root-unclaimed", "root-of-another-store", "store-rewound"]
"""Why a store may not collect in a root; stable."""


class RootMarker(Struct, frozen=True):
    """What a root says of who may collect in it.

    Attributes:
        store_id: the store that may.
        collected_at: the highest sequence that its log had when it collected here; 0 before the first time.
    """

    store_id: str
    collected_at: int = 0

    def __post_init__(self) -> None:
        check_id("store id", self.store_id)
        if type(self.collected_at) is not int or self.collected_at < 0:
            raise InvalidValue("sequence of a root's marker", str(self.collected_at)[:80], "it is 0 or more")


@dataclass(eq=False)
class CollectionRefused(ArtifactStoreError):
    """Nothing may be collected in a root now; everything else works.

    Attributes:
        code: why; stable.
        store_id: of the store that would collect.
        head: of its log.
        marker: what the root carries; None if nobody has claimed it.
    """

    code: CollectionCode
    store_id: str
    head: int
    marker: RootMarker | None

    @override
    def __str__(self) -> str:
        if self.marker is None:
            return f"store {self.store_id} may not collect here: no store has claimed this object root"
        if self.code == "root-of-another-store":
            return (
                f"store {self.store_id} may not collect here: this object root belongs to store "
                f"{self.marker.store_id}, of which this database is a clone, or which uses the same directory"
            )
        return (
            f"store {self.store_id} may not collect here: its log ends at event {self.head}, and it has collected at "
            f"event {self.marker.collected_at}, so this database was put back to an earlier point"
        )


def may_collect(store_id: str, head: int, marker: RootMarker | None) -> CollectionRefused | None:
    """Decide whether a store may collect in a root. Returns why not; None if it may.

    Args:
        store_id: of the database.
        head: the last sequence of its log.
        marker: what the root carries.
    """
    code: CollectionCode
    if marker is None:
        code = "root-unclaimed"
    elif marker.store_id != store_id:
        code = "root-of-another-store"
    elif head < marker.collected_at:
        code = "store-rewound"
    else:
        return None
    return CollectionRefused(code, store_id, head, marker)


def claimed(store_id: str, marker: RootMarker | None) -> RootMarker:
    """Return the marker of a root after a store has opened it: the first one claims it, for good."""
    return RootMarker(store_id) if marker is None else marker


class _Written(Struct, frozen=True, tag_field="format", tag=_FORMAT):
    version: Literal[1]
    store_id: str
    collected_at: int


def encode_marker(marker: RootMarker) -> bytes:
    """Return a marker as a line of JSON, which people can read too."""
    return msgspec.json.encode(_Written(1, marker.store_id, marker.collected_at)) + b"\n"


def decode_marker(text: bytes) -> RootMarker:
    """Return the marker that `encode_marker` made this of.

    Raises:
        InvalidValue: it is not the marker of a root, or a later release wrote it.
    """
    try:
        found = msgspec.json.decode(text, type=_Written)
    except (ValueError, RecursionError) as error:
        reason = f"this release reads {_FORMAT}, version 1 ({error})"
        raise InvalidValue("marker of a root", repr(text[:80]), reason) from error
    return RootMarker(found.store_id, found.collected_at)
