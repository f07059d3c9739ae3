"""`v1.entries.released`: a collector let go of entries of a package that was deleted or has expired."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, check_equal, fields_of
from artifactstore_protocols.event_types.objects_condemned import ObjectsCondemned, condemn_lost
from artifactstore_protocols.packages import PackageNotFound, ProjectionDamaged
from artifactstore_protocols.releasing import RELEASED_MAX, ReleaseEntries
from artifactstore_protocols.state import EntryCounts, LogState, Needs, PackageState
from artifactstore_protocols.views import FILES, PACKAGES, Delete, DeleteRange, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["ENTRIES_RELEASED", "EntriesReleased", "release_entries", "release_needs"]


_NAME: Final = "v1.entries.released"


class EntriesReleased(Struct, frozen=True):
    """Entries of a gone package were released, all of those in a range of path keys. The manifest still lists them.

    Attributes:
        package_id: the id of the package; also the subject.
        package_number: the sequence of the event that created the package.
        first: the path key of the first entry.
        last: the path key of the last entry.
        package_files: the number of files that the package still holds.
        package_links: the number of its symbolic links.
        package_directories: the number of its empty directories.
        package_bytes: the total size of its files.
        keys: the path keys of all released entries, in a redacted event: redacted paths are no range any more. Empty
            in any other event.
    """

    package_id: str
    package_number: int
    first: str
    last: str
    package_files: int
    package_links: int
    package_directories: int
    package_bytes: int
    keys: tuple[str, ...] = ()


def release_needs(package_id: str, first: str, last: str) -> Needs:
    """Return the state that the release of a range of entries needs."""
    return Needs(packages=frozenset({package_id}), ranges=frozenset({(package_id, first, last)}))


def release_entries(command: ReleaseEntries, state: LogState) -> tuple[EntriesReleased | None, ObjectsCondemned | None]:
    """Return the payloads that release entries and condemn the contents that lose their last reference.

    Both are None if the range has no entry any more.

    Raises:
        PackageNotFound: no package has this id.
        InvalidValue: the package is not gone, or the range has too many entries.
        ProjectionDamaged: the entries in the tables are not as many as the log says.
    """
    package = _gone_package(command.package_id, state)
    entries = _entries_in(package, command.first, command.last)
    if not entries or package.gone is None:
        return None, None
    lost: dict[bytes, int] = {}
    for entry in entries.values():
        if entry.digest:
            lost[entry.digest] = lost.get(entry.digest, 0) + 1
    unused = [digest for digest, count in lost.items() if state.references_to(digest) <= count]
    object_places.check_references(set(unused) & state.references.keys(), state)  # not what the same batch put
    condemned = condemn_lost(unused, f"package {package.gone.status}", state)
    return _released(package, entries, ()), condemned


def _gone_package(package_id: str, state: LogState) -> PackageState:
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    if package.gone is None:
        raise InvalidValue("package", package_id, "it was not deleted and has not expired, so it keeps its entries")
    return package


def _entries_in(package: PackageState, first: str, last: str) -> Mapping[str, Entry]:
    keys = sorted(key for key in package.entries if first <= key <= last)
    if len(keys) > RELEASED_MAX:
        raise InvalidValue("entries to release", str(len(keys)), f"release at most {RELEASED_MAX} at once")
    return {key: package.entries[key] for key in keys}


def _entries_of(payload: EntriesReleased, package: PackageState) -> Mapping[str, Entry]:
    """Return the entries of an event: those of its range, or of its keys."""
    if not payload.keys:
        return _entries_in(package, payload.first, payload.last)
    return {key: package.entries[key] for key in payload.keys if key in package.entries}


def _released(package: PackageState, entries: Mapping[str, Entry], named: tuple[str, ...]) -> EntriesReleased:
    counts = {"file": package.files, "link": package.links, "directory": package.directories}
    total_bytes = package.total_bytes
    for entry in entries.values():
        counts[entry.kind] -= 1
        total_bytes -= entry.size_bytes
    if min(*counts.values(), total_bytes) < 0:
        raise ProjectionDamaged(f"package {package.package_id}", "more entries than it counts", "as many")
    keys = list(entries)
    return EntriesReleased(
        package_id=package.package_id,
        package_number=package.number,
        first=keys[0],
        last=keys[-1],
        keys=named,
        package_files=counts["file"],
        package_links=counts["link"],
        package_directories=counts["directory"],
        package_bytes=total_bytes,
    )


def _check(payload: EntriesReleased, event: "Event") -> None:
    if payload.keys and (event.redacted_by is None or len(payload.keys) > RELEASED_MAX):
        raise InvalidValue("path keys", str(len(payload.keys)), f"only a redacted event has them, up to {RELEASED_MAX}")
    ReleaseEntries(payload.package_id, payload.first, payload.last)


def _judge(payload: EntriesReleased, _stored: "StoredEvent", state: LogState) -> None:
    package = _gone_package(payload.package_id, state)
    entries = _entries_of(payload, package)
    if not entries:
        raise InvalidValue("entries to release", payload.package_id, "the package has none in this range")
    check_equal("released entries", payload, _released(package, entries, tuple(entries) if payload.keys else ()))


def _evolve(payload: EntriesReleased, _stored: "StoredEvent", state: LogState) -> None:
    package = state.packages[payload.package_id]
    for key, entry in _entries_of(payload, package).items():
        if entry.digest:
            state.refer(entry.digest, -1)
        del package.entries[key]
    counts = EntryCounts(
        payload.package_files, payload.package_links, payload.package_directories, payload.package_bytes
    )
    state.fill_package(package, package.version, counts)


def _rows(payload: EntriesReleased, _stored: "StoredEvent") -> Iterable[RowOperation]:
    changed = {
        "file_count": payload.package_files,
        "link_count": payload.package_links,
        "directory_count": payload.package_directories,
        "total_bytes": payload.package_bytes,
    }
    number = payload.package_number
    entries = (
        Delete(FILES, [(number, key) for key in payload.keys])
        if payload.keys
        else DeleteRange(FILES, (number,), payload.first, payload.last)
    )
    return (entries, Update(PACKAGES, (payload.package_id,), changed))


def _needs(payload: EntriesReleased) -> Needs:
    if not payload.keys:
        return release_needs(payload.package_id, payload.first, payload.last)
    package_ids = frozenset({payload.package_id})
    at = frozenset((payload.package_id, key) for key in payload.keys)
    return Needs(packages=package_ids, at=at, occupants=package_ids)


_NUMBERS: Final = ("package_number", "package_files", "package_links", "package_directories", "package_bytes")
_KINDS: Final = {
    **dict.fromkeys(("package_id", "first", "last"), frozenset({str})),
    **dict.fromkeys(_NUMBERS, frozenset({int})),
    "keys": frozenset({list}),
}


def _encode(payload: EntriesReleased) -> bytes:
    fields: dict[str, CanonicalValue] = {name: getattr(payload, name) for name in _KINDS}
    fields["keys"] = list[CanonicalValue](payload.keys)
    return canonical.encode(fields)


def _decode(content: bytes) -> EntriesReleased:
    fields: dict[str, Any] = {**fields_of(_NAME, content, cast("Mapping[str, frozenset[type]]", _KINDS))}
    keys: list[object] = fields["keys"]
    if not all(type(key) is str for key in keys):
        raise PayloadInvalid(_NAME, "a path key is a text")
    fields["keys"] = tuple(keys)
    return EntriesReleased(**fields)


ENTRIES_RELEASED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda payload: payload.package_id,
    needs=_needs,
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"released its entries from {payload.first!r} to {payload.last!r}",
)
