"""`v1.metadata_schema.registered`: a version of a metadata schema was registered."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import RegisterMetadataSchema
from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.metadata_schema import SchemaNotFound, parse_reference
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import SCHEMAS, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["SCHEMA_REGISTERED", "MetadataSchemaRegistered", "register_schema", "versioned_schema"]


class MetadataSchemaRegistered(Struct, frozen=True):
    """A version of a metadata schema was registered.

    Attributes:
        name: the name of the schema; also the subject.
        version: the version number: 1, 2, 3 … for each name.
        schema: the schema as canonical JSON text (RFC 8785).
    """

    name: str
    version: int
    schema: str


def register_schema(command: RegisterMetadataSchema, state: LogState) -> MetadataSchemaRegistered:
    """Return the payload that registers the next version of a schema."""
    version = state.schema_versions.get(command.name, 0) + 1
    return MetadataSchemaRegistered(command.name, version, command.schema)


def versioned_schema(reference: str, state: LogState) -> str:
    """Return a schema that exists as `NAME@VERSION`.

    Raises:
        SchemaNotFound: there is no such schema.
    """
    name, version = parse_reference(reference)
    latest = state.schema_versions.get(name, 0)
    if not 1 <= (version or latest) <= latest:
        raise SchemaNotFound(reference, latest)
    return f"{name}@{version or latest}"


def _check(payload: MetadataSchemaRegistered, _event: "Event") -> None:
    RegisterMetadataSchema(payload.name, payload.schema)


def _judge(payload: MetadataSchemaRegistered, _stored: "StoredEvent", state: LogState) -> None:
    check_equal("version", payload.version, state.schema_versions.get(payload.name, 0) + 1)


def _evolve(payload: MetadataSchemaRegistered, _stored: "StoredEvent", state: LogState) -> None:
    state.schema_versions[payload.name] = payload.version
    state.schemas[f"{payload.name}@{payload.version}"] = payload.schema


def _rows(payload: MetadataSchemaRegistered, stored: "StoredEvent") -> Iterable[RowOperation]:
    row: Row = (
        payload.name,
        payload.version,
        payload.schema.encode(),
        stored.event.recorded_at_us,
        stored.sequence,
    )
    return (Put(SCHEMAS, (row,)),)


_NAME: Final = "v1.metadata_schema.registered"
SCHEMA_REGISTERED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, MetadataSchemaRegistered),
    subject=lambda payload: payload.name,
    needs=lambda payload: Needs(schemas=frozenset({payload.name})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"registered metadata schema {payload.name!r} version {payload.version}",
)
