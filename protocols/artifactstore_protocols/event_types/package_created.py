"""`v1.package.created`: a package was created."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import CreatePackage
from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.metadata import Metadata, metadata_bytes, search_term
from artifactstore_protocols.packages import PackageExists
from artifactstore_protocols.retention import retention_class
from artifactstore_protocols.state import LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, RETENTION, VALUES, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PACKAGE_CREATED", "PackageCreated", "create_package"]


class PackageCreated(Struct, frozen=True):
    """A package was created.

    Attributes:
        package_id: the id of the package; also the subject.
        name: the label of the package.
        retention_class: the retention class of the package.
        retention_duration_us: the duration of that class in microseconds; null if it never expires.
        metadata: a map of text to values; see `metadata`.
    """

    package_id: str
    name: str
    retention_class: str
    retention_duration_us: int | None
    metadata: Metadata


def create_package(command: CreatePackage, state: LogState) -> PackageCreated:
    """Return the payload that creates a package.

    Raises:
        PackageExists: another package has the id.
        UnknownRetentionClass: there is no such retention class.
    """
    if command.package_id in state.packages:
        raise PackageExists(command.package_id)
    kept = retention_class(command.retention_class)
    return PackageCreated(command.package_id, command.name, kept.name, kept.duration_us, dict(command.metadata))


def _command(payload: PackageCreated) -> CreatePackage:
    return CreatePackage(payload.package_id, payload.name, payload.retention_class, dict(payload.metadata))


def _check(payload: PackageCreated, _event: "Event") -> None:
    _command(payload)


def _judge(payload: PackageCreated, _stored: "StoredEvent", state: LogState) -> None:
    decided = create_package(_command(payload), state)
    check_equal("retention duration", payload.retention_duration_us, decided.retention_duration_us)


def _evolve(payload: PackageCreated, stored: "StoredEvent", state: LogState) -> None:
    state.packages[payload.package_id] = PackageState(
        package_id=payload.package_id,
        number=stored.sequence,
        name=payload.name,
        retention_class=payload.retention_class,
        metadata=metadata_bytes(payload.metadata),
        created_at_us=stored.event.recorded_at_us,
    )


def _rows(payload: PackageCreated, stored: "StoredEvent") -> Iterable[RowOperation]:
    package: Row = (
        payload.package_id,
        payload.name,
        "open",
        1,  # version
        0,  # file_count
        0,  # link_count
        0,  # directory_count
        0,  # total_bytes
        payload.retention_class,
        metadata_bytes(payload.metadata),
        stored.event.principal,
        stored.event.recorded_at_us,
        None,  # finalized_at
        None,  # manifest_digest
        None,  # tree_digest
        stored.sequence,
        None,  # finalized_sequence
    )
    retention: Row = (
        payload.package_id,
        payload.retention_class,
        payload.retention_duration_us,
        "open",
        None,  # retained_from
        None,  # expires_at
    )
    searched: list[Row] = [
        (stored.sequence, key, None, term, stored.sequence)
        for key, value in payload.metadata.items()
        if (term := search_term(key, value)) is not None
    ]
    puts = (Put(PACKAGES, (package,)), Put(RETENTION, (retention,)))
    return (*puts, Put(VALUES, searched)) if searched else puts


_NAME: Final = "v1.package.created"
PACKAGE_CREATED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, PackageCreated),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: Needs(packages=frozenset({payload.package_id})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"created {payload.name!r}, retention {payload.retention_class}",
)
