"""The check of a substitute that another log has in place of a payload that this log still has.

A record commits to the digest of a payload that is gone, so a redaction of an arriving log could say anything.
Where the payload is still here, the substitute must equal it except for marks. A mark can stand for any text.
"""

from collections import Counter
from typing import Final, cast

from msgspec.structs import replace

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import (
    CONTENTS_PURGED,
    ENTRIES_RELEASED,
    FILES_INGESTED,
    HOLD_PLACED,
    PACKAGE_ANNOTATED,
    PACKAGE_CREATED,
    PACKAGE_DELETED,
    PACKAGE_FINALIZED,
    PAYLOADS_REDACTED,
    TOKEN_REVOKED,
    EntriesReleased,
    FilesIngested,
    PackageAnnotated,
    PackageFinalized,
)
from artifactstore_protocols.events import EventRefused, StoredEvent
from artifactstore_protocols.manifest import Entry as ManifestEntry
from artifactstore_protocols.manifest import LinkEntry, Manifest
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.redacted_texts import fits

__all__ = ["REDACTED_TYPES", "check_substitute"]

REDACTED_TYPES: Final = frozenset(
    kind.name
    for kind in (
        CONTENTS_PURGED,
        ENTRIES_RELEASED,
        FILES_INGESTED,
        HOLD_PLACED,
        PACKAGE_ANNOTATED,
        PACKAGE_CREATED,
        PACKAGE_DELETED,
        PACKAGE_FINALIZED,
        PAYLOADS_REDACTED,
        TOKEN_REVOKED,
    )
)
"""The types of events that can be redacted."""

_OUTSIDE_TEXTS: Final = tuple(name for name in Manifest.__struct_fields__ if name not in {"package", "entries"})


def check_substitute(mine: StoredEvent, theirs: StoredEvent) -> None:
    """Check an event that another log has redacted, and this log has not, or only before that.

    The paths of a manifest have another order after a redaction. They are compared with the events that ingested them,
    as in any manifest, so only what belongs to them is compared here. The same holds for released path keys.

    Raises:
        EventRefused: the substitute differs from the payload that is here in more than marks.
    """
    try:
        alike = _is_alike(mine, theirs)
    except EventRefused:
        raise
    except ArtifactStoreError as error:
        raise EventRefused(theirs.sequence, theirs.event.type, str(error)) from error
    if not alike:
        reason = "it is redacted, and differs from the event that is here in more than marks"
        raise EventRefused(theirs.sequence, theirs.event.type, reason)


def _is_alike(mine: StoredEvent, theirs: StoredEvent) -> bool:
    here, there = mine.decode(), theirs.decode()
    if isinstance(here, FilesIngested) and isinstance(there, FilesIngested):
        return _is_ingest_alike(here, there)
    if isinstance(here, EntriesReleased) and isinstance(there, EntriesReleased):
        return replace(there, first=here.first, last=here.last, keys=here.keys) == here
    if isinstance(here, PackageFinalized) and isinstance(there, PackageFinalized):
        return _is_manifest_alike(
            manifest.decode(here.manifest, redacted=mine.event.redacted_by is not None),
            manifest.decode(there.manifest, redacted=True),
        )
    if isinstance(here, PackageAnnotated) and isinstance(there, PackageAnnotated):
        removed = _is_value_alike(dict.fromkeys(here.removed), dict.fromkeys(there.removed))
        return removed and _is_raw_alike(mine, theirs, without="removed")
    return _is_raw_alike(mine, theirs)


def _is_raw_alike(mine: StoredEvent, theirs: StoredEvent, without: str = "") -> bool:
    here, there = (
        {
            key: value
            for key, value in cast("dict[str, object]", canonical.decode_record(each.event.payload)).items()
            if key != without
        }
        for each in (mine, theirs)
    )
    return _is_value_alike(here, there)


def _is_ingest_alike(here: FilesIngested, there: FilesIngested) -> bool:
    if len(here.entries) != len(there.entries) or len(here.removed) != len(there.removed):
        return False
    same = replace(there, entries=here.entries, path_keys=here.path_keys, replaced=here.replaced, removed=here.removed)
    return (
        same == here
        and all(fits(*each) for each in zip(there.removed, here.removed, strict=True))
        and all(
            new._replace(path=old.path, target=old.target) == old
            and fits(new.path, old.path)
            and fits(new.target, old.target)
            and (
                new_key == old_key if new.path == old.path else new_key == path_key(new.path) or fits(new_key, old_key)
            )
            and (new_key in there.replaced) == (old_key in here.replaced)
            for new, new_key, old, old_key in zip(
                there.entries, there.path_keys, here.entries, here.path_keys, strict=True
            )
        )
    )


def _is_manifest_alike(here: Manifest, there: Manifest) -> bool:
    package = replace(there.package, name=here.package.name, metadata=here.package.metadata)
    return (
        package == here.package
        and all(getattr(here, name) == getattr(there, name) for name in _OUTSIDE_TEXTS)
        and fits(there.package.name, here.package.name)
        and _is_value_alike(dict(here.package.metadata), dict(there.package.metadata))
        and Counter(map(_without_texts, here.entries)) == Counter(map(_without_texts, there.entries))
    )


def _without_texts(entry: ManifestEntry) -> ManifestEntry:
    return entry._replace(path="", target="") if isinstance(entry, LinkEntry) else entry._replace(path="")


def _is_value_alike(here: object, there: object) -> bool:
    """Return whether two values are equal except for marks in texts and in keys. Marks change the order of keys."""
    if type(here) is not type(there):
        return False
    if isinstance(here, str):
        return fits(cast("str", there), here)
    if isinstance(here, dict):
        old_map, new_map = cast("dict[str, object]", here), cast("dict[str, object]", there)
        return _are_pairs(list(old_map.items()), list(new_map.items()))
    if isinstance(here, list | tuple):
        old, new = cast("list[object]", here), cast("list[object]", there)
        return len(old) == len(new) and all(map(_is_value_alike, old, new))
    return here == there


def _are_pairs(here: list[tuple[str, object]], there: list[tuple[str, object]]) -> bool:
    """Return whether each item there belongs to another one here: an augmenting path for each item finds it."""
    choices = [
        [index for index, old in enumerate(here) if fits(new[0], old[0]) and _is_value_alike(old[1], new[1])]
        for new in there
    ]
    taken = dict[int, int]()  # by the item here, the item there that it belongs to

    def finds(item: int, tried: set[int]) -> bool:
        for index in choices[item]:
            if index not in tried:
                tried.add(index)
                if index not in taken or finds(taken[index], tried):
                    taken[index] = item
                    return True
        return False

    return len(here) == len(there) and all(finds(item, set()) for item in range(len(there)))
