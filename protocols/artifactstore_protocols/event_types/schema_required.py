"""`v1.schema_requirement.set` and `.deleted`: packages of a name must have a schema, or need it no longer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from artifactstore_protocols.commands import RegisterMetadataSchema, RequireSchema, SchemaCommand, UnrequireSchema
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.event_types.schema_registered import (
    MetadataSchemaRegistered,
    register_schema,
    versioned_schema,
)
from artifactstore_protocols.metadata_schema import parse_reference
from artifactstore_protocols.schema_requirements import REQUIREMENTS_MAX, SchemaNotRequired
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import REQUIREMENTS, Delete, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = [
    "SCHEMA_REQUIREMENT_DELETED",
    "SCHEMA_REQUIREMENT_SET",
    "SchemaRequirementDeleted",
    "SchemaRequirementSet",
    "judge_schema",
    "require_schema",
    "schema_needs",
    "unrequire_schema",
]


class SchemaRequirementSet(Struct, frozen=True):
    """A schema is required for packages of a name. The subject is `schema requirement:` and the glob.

    Attributes:
        glob: the glob for names.
        schema: the schema that new packages with such a name must have, as `NAME@VERSION`.
    """

    glob: str
    schema: str


class SchemaRequirementDeleted(Struct, frozen=True):
    """A schema is no longer required for packages of a name. The subject is `schema requirement:` and the glob.

    Attributes:
        glob: the glob for names.
    """

    glob: str


def schema_needs(command: SchemaCommand) -> Needs:
    """Return the state that a command about schemas needs."""
    match command:
        case RegisterMetadataSchema():
            return Needs(schemas=frozenset({command.name}))
        case RequireSchema():
            name, _version = parse_reference(command.schema)
            # The text of the schema is for packages that the same batch creates.
            return Needs(schemas=frozenset({name}), schema_texts=frozenset({command.schema}), requirements=True)
        case UnrequireSchema():
            return Needs(requirements=True)
        case _:
            assert_never(command)


def judge_schema(
    command: SchemaCommand, state: LogState
) -> MetadataSchemaRegistered | SchemaRequirementSet | SchemaRequirementDeleted | None:
    """Return the payload of a command about schemas; None if it changes nothing.

    Raises:
        SchemaNotFound, SchemaNotRequired, InvalidValue: see the functions for each command.
    """
    match command:
        case RegisterMetadataSchema():
            return register_schema(command, state)
        case RequireSchema():
            return require_schema(command, state)
        case UnrequireSchema():
            return unrequire_schema(command, state)
        case _:
            assert_never(command)


def require_schema(command: RequireSchema, state: LogState) -> SchemaRequirementSet | None:
    """Return the payload that requires a schema; None if the same version is required already.

    Raises:
        SchemaNotFound: there is no such schema.
        InvalidValue: there are `REQUIREMENTS_MAX` requirements already.
    """
    schema = versioned_schema(command.schema, state)
    if state.requirements.get(command.glob) == schema:
        return None
    if command.glob not in state.requirements and len(state.requirements) >= REQUIREMENTS_MAX:
        reason = f"a store has at most {REQUIREMENTS_MAX} required schemas; use one glob for several names"
        raise InvalidValue("package name glob", command.glob[:60], reason)
    return SchemaRequirementSet(command.glob, schema)


def unrequire_schema(command: UnrequireSchema, state: LogState) -> SchemaRequirementDeleted:
    """Return the payload that ends a requirement.

    Raises:
        SchemaNotRequired: there is no requirement for this glob.
    """
    if command.glob not in state.requirements:
        raise SchemaNotRequired(command.glob)
    return SchemaRequirementDeleted(command.glob)


def _subject(payload: SchemaRequirementSet | SchemaRequirementDeleted) -> str:
    return f"schema requirement:{payload.glob}"


def _check_set(payload: SchemaRequirementSet, _event: "Event") -> None:
    RequireSchema(payload.glob, payload.schema)


def _judge_set(payload: SchemaRequirementSet, _stored: "StoredEvent", state: LogState) -> None:
    decided = require_schema(RequireSchema(payload.glob, payload.schema), state)
    if decided is None:
        raise InvalidValue("package name glob", payload.glob[:60], "the schema is required already")
    check_equal("schema", payload.schema, decided.schema)


def _evolve_set(payload: SchemaRequirementSet, _stored: "StoredEvent", state: LogState) -> None:
    state.requirements[payload.glob] = payload.schema


def _rows_set(payload: SchemaRequirementSet, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    row: Row = (payload.glob, payload.schema, event.principal, event.recorded_at_us, stored.sequence)
    return (Put(REQUIREMENTS, (row,)),)


def _check_deleted(payload: SchemaRequirementDeleted, _event: "Event") -> None:
    UnrequireSchema(payload.glob)


def _judge_deleted(payload: SchemaRequirementDeleted, _stored: "StoredEvent", state: LogState) -> None:
    unrequire_schema(UnrequireSchema(payload.glob), state)


def _evolve_deleted(payload: SchemaRequirementDeleted, _stored: "StoredEvent", state: LogState) -> None:
    del state.requirements[payload.glob]


def _rows_deleted(payload: SchemaRequirementDeleted, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return (Delete(REQUIREMENTS, ((payload.glob,),)),)


_SET: Final = "v1.schema_requirement.set"
SCHEMA_REQUIREMENT_SET: Final = EventType(
    name=_SET,
    codec=record_codec(_SET, SchemaRequirementSet),
    subject=_subject,
    needs=lambda payload: schema_needs(RequireSchema(payload.glob, payload.schema)),
    check=_check_set,
    judge=_judge_set,
    evolve=_evolve_set,
    rows=_rows_set,
    describe=lambda payload: f"required metadata schema {payload.schema} for packages named {payload.glob!r}",
)

_DELETED: Final = "v1.schema_requirement.deleted"
SCHEMA_REQUIREMENT_DELETED: Final = EventType(
    name=_DELETED,
    codec=record_codec(_DELETED, SchemaRequirementDeleted),
    subject=_subject,
    needs=lambda _payload: Needs(requirements=True),
    check=_check_deleted,
    judge=_judge_deleted,
    evolve=_evolve_deleted,
    rows=_rows_deleted,
    describe=lambda payload: f"no longer required a metadata schema for packages named {payload.glob!r}",
)
