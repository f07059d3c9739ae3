"""Defects of the life cycle, as what stands in for the real thing: what tests put in on purpose, to see it found."""

from collections.abc import Iterable, Mapping, Sequence

from artifactstore_protocols.admission import Examined, admit
from artifactstore_protocols.collection import Listed, content_place
from artifactstore_protocols.commands import Command, IngestFiles
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import PackageExpired, Payload
from artifactstore_protocols.event_types.package_expired import expire_package
from artifactstore_protocols.judging import decide
from artifactstore_protocols.life_cycle import ExpirePackage
from artifactstore_protocols.state import LogState, ObjectState
from artifactstore_protocols.storage import ListedObject
from artifactstore_protocols.views import HOLDS, PURGED, RowOperation

__all__ = [
    "admitted_without_holds",
    "admitted_without_purges",
    "decided_with_any_key",
    "expired_under_a_hold",
    "no_reprieve",
    "sorted_by_age",
]


def sorted_by_age(
    backend_id: str, listed: Iterable[ListedObject], states: Mapping[Place, ObjectState], orphan_age_s: float
) -> Listed:
    """Stands in for `sort_listed`: what is old and not in use is deleted, and nothing is retired before."""
    places = [(content_place(backend_id, each.object_key), each) for each in listed]
    found = [(place, each.size_bytes) for place, each in places if place and each.age_s >= orphan_age_s]
    return Listed((), (), tuple(each for each in found if states.get(each[0]) not in {"live", "condemned"}))


def no_reprieve(*_: object, **_always: object) -> None:
    """Stands in for `reprieve_objects`: what is condemned can be used, and stays condemned."""


def decided_with_any_key(command: Command, state: LogState, *, entries_max: int) -> tuple[Payload, ...]:
    """Stands in for `decide`: a key that is retired can be used again."""
    for each in command.stored if isinstance(command, IngestFiles) else ():
        held = state.places_of(each.digest).get(each.place)
        if held is not None and not held.is_current:
            del state.objects[each.digest][each.place]
    return decide(command, state, entries_max=entries_max)


def admitted_without_holds(examined: Examined, state: LogState) -> Sequence[RowOperation]:
    """Stands in for `admit`: an import leaves out holds."""
    return [operation for operation in admit(examined, state) if operation.table is not HOLDS]


def admitted_without_purges(examined: Examined, state: LogState) -> Sequence[RowOperation]:
    """Stands in for `admit`: an import leaves out which contents were purged."""
    return [operation for operation in admit(examined, state) if operation.table is not PURGED]


def expired_under_a_hold(command: ExpirePackage, state: LogState) -> PackageExpired | None:
    """Stands in for `expire_package` in keep policies: holds do not count."""
    package = state.packages[command.package_id]
    held, package.holds = package.holds, set[str]()
    try:
        return expire_package(command, state)
    finally:
        package.holds = held
