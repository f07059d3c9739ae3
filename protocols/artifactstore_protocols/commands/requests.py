"""A command with its principal, and the digest that tells whether two are the same."""

from typing import assert_never, cast

import blake3
from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands.checks import check_caller
from artifactstore_protocols.commands.names import DeleteKeepPolicy, DeleteTag, SetKeepPolicy, SetTag
from artifactstore_protocols.commands.objects import (
    RecordFindings,
    RecordVerification,
    RemoveObjects,
    ReplaceObjects,
    RetireObjects,
    StoreObjects,
)
from artifactstore_protocols.commands.packages import AnnotatePackage, CreatePackage, FinalizePackage, IngestFiles
from artifactstore_protocols.commands.schemas import (
    RegisterMetadataSchema,
    RequireSchema,
    SchemaCommand,
    UnrequireSchema,
)
from artifactstore_protocols.entries import encode_entry
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.life_cycle import (
    AddRetentionClass,
    ConfirmClock,
    DeletePackage,
    ExpirePackage,
    ExtendRetention,
    LifeCycleCommand,
    ObserveClock,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.purging import PurgeContents
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.token_records import CreateToken, RevokeToken
from artifactstore_protocols.typed import check_fields

__all__ = ["Command", "CommandRequest", "command_digest"]


type Command = (
    CreatePackage
    | IngestFiles
    | FinalizePackage
    | RegisterMetadataSchema
    | RecordFindings
    | RecordVerification
    | ReplaceObjects
    | StoreObjects
    | RetireObjects
    | RemoveObjects
    | SetTag
    | DeleteTag
    | SetKeepPolicy
    | ApplyKeepPolicies
    | DeleteKeepPolicy
    | AnnotatePackage
    | DeletePackage
    | ExpirePackage
    | ReleaseEntries
    | PlaceHold
    | ReleaseHold
    | SetRetention
    | ExtendRetention
    | AddRetentionClass
    | ObserveClock
    | ConfirmClock
    | PurgeContents
    | CreateToken
    | RevokeToken
    | RequireSchema
    | UnrequireSchema
)


class CommandRequest(Struct, frozen=True):
    """A command and the principal that asks for it.

    Attributes:
        command_id: a UUIDv7, the same for every attempt of one call.
        command: the command.
        principal: the principal.
        idempotency_key: with it, a caller that starts over gets the result of the first call; None if not needed.
    """

    command_id: str
    command: Command
    principal: str
    idempotency_key: str | None

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("command id", self.command_id)
        check_caller(self.principal, self.idempotency_key)


def command_digest(command: Command, principal: str) -> str:
    """Return the BLAKE3 content address of a command's request and its principal.

    The digest leaves out values that can change when a caller repeats the request: the id of a new package, whether
    bytes were stored or deduplicated, the manifest of a finalization, the `as_of` of a verification, and the time by
    which a package is deleted or expires.
    """
    asked: RecordValue
    match command:
        case CreatePackage():
            metadata = cast("dict[str, RecordValue]", dict(command.metadata))
            parents = sorted(command.parents)
            asked = ["create", command.name, command.retention_class, metadata, command.schema, [*parents]]
        case IngestFiles():
            entries: list[RecordValue] = [encode_entry(entry) for entry in command.entries]
            checked: list[RecordValue] = [principal, ["ingest", command.package_id, command.on_existing.value, entries]]
            return _digest_of(canonical.encode_checked(checked))
        case FinalizePackage():
            asked = ["finalize", command.package_id]
        case RegisterMetadataSchema() | RequireSchema() | UnrequireSchema():
            asked = _schema_request(command)
        case SetTag() | DeleteTag() | SetKeepPolicy() | DeleteKeepPolicy():
            asked = _asked_of_name(command)
        case AnnotatePackage():
            annotations = cast("dict[str, RecordValue]", dict(command.annotations))
            asked = ["annotate", command.package_id, annotations, list[RecordValue](command.removed)]
        case LifeCycleCommand():
            asked = command.asked()
        case RecordFindings() | RecordVerification():
            asked = _asked_of_verification(command)
        case ReplaceObjects() | StoreObjects():
            stored: list[RecordValue] = [[each.digest, *each.place] for each in command.stored]
            asked = ["replace" if isinstance(command, ReplaceObjects) else "store", stored]
        case RetireObjects() | RemoveObjects():
            objects: list[RecordValue] = [list[RecordValue](place) for place in command.objects]
            asked = ["retire", command.cause, objects] if isinstance(command, RetireObjects) else ["remove", objects]
        case _:
            assert_never(command)
    return _digest_of(canonical.encode_record([principal, asked]))


def _schema_request(command: SchemaCommand) -> RecordValue:
    match command:
        case RegisterMetadataSchema():
            return ["schema", command.name, command.schema]
        case RequireSchema():
            return ["require schema", command.glob, command.schema]
        case UnrequireSchema():
            return ["unrequire schema", command.glob]
        case _:
            assert_never(command)


def _asked_of_verification(command: RecordFindings | RecordVerification) -> RecordValue:
    if isinstance(command, RecordFindings):
        findings: list[RecordValue] = [[digest, *place, integrity] for digest, place, integrity in command.findings]
        return ["findings", findings]
    keys: list[RecordValue] = [[key.sequence, *key.place] for key in (command.first, command.last)]
    counts: list[RecordValue] = [command.objects, command.bytes, command.damaged, command.missing]
    return ["verified", keys, command.sample.share_ppm, command.sample.seed, counts]


def _asked_of_name(command: SetTag | DeleteTag | SetKeepPolicy | DeleteKeepPolicy) -> RecordValue:
    """Return the request of a command about a tag or a keep policy."""
    match command:
        case SetTag():
            return ["tag", command.tag, command.package_id, command.protected]
        case DeleteTag():
            return ["untag", command.tag]
        case SetKeepPolicy():
            return ["keep", command.group, cast("dict[str, RecordValue]", command.rules.to_map())]
        case DeleteKeepPolicy():
            return ["unkeep", command.group]


def _digest_of(asked: bytes) -> str:
    return f"blake3:{blake3.blake3(asked).hexdigest()}"
