"""`v1.package.created`: a package was created."""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from artifactstore_protocols.commands import CreatePackage
from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.event_types.schema_registered import versioned_schema
from artifactstore_protocols.metadata import Metadata, metadata_bytes, search_term
from artifactstore_protocols.metadata_schema import check_with_schema, parse_reference
from artifactstore_protocols.packages import NotFinalized, PackageExists, PackageNotFound
from artifactstore_protocols.retention import classes_to_load, retention_class
from artifactstore_protocols.schema_requirements import applied_schema
from artifactstore_protocols.state import LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, PARENTS, RETENTION, VALUES, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PACKAGE_CREATED", "PackageCreated", "create_package", "creation_needs"]


class PackageCreated(Struct, frozen=True):
    """A package was created.

    Attributes:
        package_id: the id of the package; also the subject.
        name: the label of the package.
        retention_class: the retention class of the package.
        retention_duration_us: the duration of that class in microseconds; null if it never expires.
        metadata: a map of text to values; see `metadata`.
        schema: the schema that the metadata fits, as `NAME@VERSION`; null for none.
        parents: the manifest digests of the packages that this one is made from, by their ids.
    """

    package_id: str
    name: str
    retention_class: str
    retention_duration_us: int | None
    metadata: Metadata
    schema: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict[str, str])


def creation_needs(command: CreatePackage) -> Needs:
    """Return the state that the creation of a package needs."""
    packages = frozenset({command.package_id, *command.parents})
    classes = classes_to_load(command.retention_class)
    needs = Needs(packages=packages, names=frozenset({command.name}), classes=classes)
    if command.schema is None:
        return needs
    name, _version = parse_reference(command.schema)
    return needs | Needs(schemas=frozenset({name}), schema_texts=frozenset({command.schema}))


def create_package(command: CreatePackage, state: LogState, *, redacted: bool = False) -> PackageCreated:
    """Return the payload that creates a package. The command may be one from a redacted event.

    Raises:
        PackageExists: another package has the id.
        UnknownRetentionClass: there is no such retention class.
        SchemaNotFound: there is no such schema.
        SchemaRequired: packages of this name must have another schema.
        SchemaViolated: the metadata does not fit the schema.
        PackageNotFound, NotFinalized: a parent is missing, or open.
    """
    if command.package_id in state.packages:
        raise PackageExists(command.package_id)
    kept = retention_class(command.retention_class, state.classes)
    given = None if command.schema is None else versioned_schema(command.schema, state)
    schema = applied_schema(command.name, given, state.requirements)
    if schema is not None:
        check_with_schema(state.schemas[schema], schema, command.metadata, redacted=redacted)
    parents = {package_id: _manifest_digest(package_id, state) for package_id in sorted(command.parents)}
    metadata = dict(command.metadata)
    return PackageCreated(command.package_id, command.name, kept.name, kept.duration_us, metadata, schema, parents)


def _manifest_digest(package_id: str, state: LogState) -> str:
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    if package.manifest_digest is None:
        raise NotFinalized(package_id)
    return package.manifest_digest


def _command(payload: PackageCreated) -> CreatePackage:
    metadata, parents = dict(payload.metadata), tuple(payload.parents)
    return CreatePackage(payload.package_id, payload.name, payload.retention_class, metadata, payload.schema, parents)


def _check(payload: PackageCreated, _event: "Event") -> None:
    _command(payload)


def _judge(payload: PackageCreated, stored: "StoredEvent", state: LogState) -> None:
    decided = create_package(_command(payload), state, redacted=stored.event.redacted_by is not None)
    check_equal("retention duration", payload.retention_duration_us, decided.retention_duration_us)
    check_equal("schema", payload.schema, decided.schema)
    check_equal("manifest digests of parents", dict(payload.parents), decided.parents)


def _evolve(payload: PackageCreated, stored: "StoredEvent", state: LogState) -> None:
    package = PackageState(
        package_id=payload.package_id,
        number=stored.sequence,
        name=payload.name,
        retention_class=payload.retention_class,
        metadata=metadata_bytes(payload.metadata),
        created_at_us=stored.event.recorded_at_us,
        schema=payload.schema,
        parents=dict(payload.parents),
    )
    state.add_package(package)


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
        0,  # stored_bytes
        payload.retention_class,
        metadata_bytes(payload.metadata),
        stored.event.principal,
        stored.event.recorded_at_us,
        None,  # finalized_at
        None,  # manifest_digest
        None,  # tree_digest
        stored.sequence,
        None,  # finalized_sequence
        payload.schema,
        None,  # gone_at
        None,  # gone_by
        None,  # gone_reason
        None,  # gone_sequence
    )
    retention: Row = (
        payload.package_id,
        payload.retention_class,
        payload.retention_duration_us,
        "open",
        None,  # retained_from
        None,  # expires_at
        stored.sequence,
    )
    searched: list[Row] = [
        (stored.sequence, key, None, term, stored.sequence)
        for key, value in sorted(payload.metadata.items(), key=itemgetter(0))
        if (term := search_term(key, value)) is not None
    ]
    parents: list[Row] = [(stored.sequence, *parent) for parent in sorted(payload.parents.items())]
    yield Put(PACKAGES, (package,))
    yield Put(RETENTION, (retention,))
    if searched:
        yield Put(VALUES, searched)
    if parents:
        yield Put(PARENTS, parents)


_NAME: Final = "v1.package.created"
PACKAGE_CREATED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, PackageCreated),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: creation_needs(_command(payload)),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"created {payload.name!r}, retention {payload.retention_class}",
)
