"""What can be asked of the log: one frozen dataclass a command, with every id that its events will carry.

Ids are the caller's, made before the command is sent, so that a caller who lost the answer can send the same command
again and find it done. `command_digest` is what "the same command" means: it covers what was asked for, and leaves
out the ids, which a caller who starts over makes anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import blake3

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress, ContentDigests
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.manifest import (
    MANIFEST_BYTES_MAX,
    ManifestSummary,
    NotCanonicalJson,
    manifest_digest,
    read_jcs,
)
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.paths import check_path
from artifactstore_protocols.storage import StorageReceipt
from artifactstore_protocols.typed import check_fields

__all__ = [
    "Command",
    "CommandRequest",
    "Committed",
    "CreatePackage",
    "FinalizePackage",
    "FlagObject",
    "FlagObjects",
    "IngestFiles",
    "IngestedFile",
    "OnExisting",
    "RegisterMetadataSchema",
    "check_caller",
    "command_digest",
]

_NAME_CHARACTERS_MAX = 200
_METADATA_ENTRIES_MAX = 256
_METADATA_TEXT_MAX = 4096
_SCHEMA_BYTES_MAX = 1 << 20
_FLAWS = ("damaged", "missing")


def check_caller(actor: str, idempotency_key: str | None = None) -> None:
    """Refuse an actor or a key that no command may have; for work that comes before the command.

    Raises:
        InvalidValue: one of the two is not a short printable text.
    """
    _check_name("actor", actor)
    if idempotency_key is not None:
        _check_name("idempotency key", idempotency_key)


def _check_name(what: str, text: str) -> None:
    if not text or len(text) > _NAME_CHARACTERS_MAX:
        raise InvalidValue(what, text[:60], f"use 1 to {_NAME_CHARACTERS_MAX} characters")
    if text != text.strip() or not text.isprintable():
        raise InvalidValue(what, text[:60], "use printable characters, with no space at either end")


@dataclass(frozen=True, slots=True)
class CreatePackage:
    """Open a package. The name is a label and need not be unique; `package_id` is."""

    event_id: str
    package_id: str
    name: str
    retention_class: str
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("event id", self.event_id)
        check_id("package id", self.package_id)
        _check_name("package name", self.name)
        if len(self.metadata) > _METADATA_ENTRIES_MAX:
            raise InvalidValue("metadata", f"{len(self.metadata)} entries", f"use at most {_METADATA_ENTRIES_MAX}")
        for key, value in self.metadata.items():
            _check_name("metadata key", key)
            if len(value) > _METADATA_TEXT_MAX:
                raise InvalidValue("metadata value", value[:60], f"use at most {_METADATA_TEXT_MAX} characters")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidValue("metadata value", ascii(value[:60]), "use text that UTF-8 can hold") from None


class OnExisting(StrEnum):
    """What to do with a file whose path is taken in its package."""

    REFUSE = "refuse"
    """Refuse, whatever is there."""
    RESUME = "resume"
    """Pass over a file that is there already with the same content and attributes; refuse another one."""
    REPLACE = "replace"
    """Pass over the same file; let another one take the place."""


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """A file whose bytes are stored already, as its receipt shows.

    `healed_event_id` is used if the storage rewrote an object that verification had flagged.
    """

    event_id: str
    healed_event_id: str
    path: str
    size_bytes: int
    executable: bool
    media_type: str
    digests: ContentDigests
    receipt: StorageReceipt

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("event id", self.event_id)
        check_id("event id", self.healed_event_id)
        check_path(self.path)
        check_media_type(self.media_type)
        if (self.digests.content_address, self.size_bytes) != (self.receipt.content_address, self.receipt.size_bytes):
            proof = f"{self.receipt.size_bytes} bytes of {self.receipt.content_address}"
            raise InvalidValue("storage receipt", proof, "it is for other content than the file's; store that first")


@dataclass(frozen=True, slots=True)
class IngestFiles:
    """Put files into an open package, all of them or none."""

    package_id: str
    files: tuple[IngestedFile, ...]
    on_existing: OnExisting

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)


@dataclass(frozen=True, slots=True)
class FinalizePackage:
    """Seal a package with a manifest that was built when the package had `expected_version`."""

    event_id: str
    package_id: str
    expected_version: int
    manifest: bytes
    summary: ManifestSummary | None = None
    """What the manifest says in brief; without it, the writer reads the manifest, while it holds the head."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("event id", self.event_id)
        check_id("package id", self.package_id)
        if len(self.manifest) > MANIFEST_BYTES_MAX:
            reason = f"a manifest has at most {MANIFEST_BYTES_MAX} bytes; spread the files over several packages"
            raise InvalidValue("manifest", f"{len(self.manifest)} bytes", reason)
        if self.summary is not None:
            stated = (self.summary.package_id, self.summary.manifest_digest)
            if stated != (self.package_id, str(ContentAddress(manifest_digest(self.manifest)))):
                reason = "it is not of this package's manifest; make it from the bytes that are sealed"
                raise InvalidValue("manifest summary", " ".join(stated), reason)


@dataclass(frozen=True, slots=True)
class RegisterMetadataSchema:
    """Add the next version of a named metadata schema. `schema` is canonical JSON text (RFC 8785)."""

    event_id: str
    name: str
    schema: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("event id", self.event_id)
        _check_name("metadata schema name", self.name)
        try:
            read_jcs(self.schema.encode(), max_bytes=_SCHEMA_BYTES_MAX)
        except (UnicodeEncodeError, NotCanonicalJson) as error:
            raise InvalidValue("metadata schema", self.schema[:60], str(error)) from error


@dataclass(frozen=True, slots=True)
class FlagObject:
    """One object that verification found `damaged` or `missing`."""

    event_id: str
    content_address: ContentAddress
    backend_id: str
    integrity: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("event id", self.event_id)
        if self.integrity not in _FLAWS:
            raise InvalidValue("integrity", self.integrity[:60], f"use one of {', '.join(_FLAWS)}")


@dataclass(frozen=True, slots=True)
class FlagObjects:
    """Record what verification found, so that the next ingest of the same content heals it."""

    objects: tuple[FlagObject, ...]

    def __post_init__(self) -> None:
        check_fields(self)


type Command = CreatePackage | IngestFiles | FinalizePackage | RegisterMetadataSchema | FlagObjects


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command, and on whose behalf.

    Attributes:
        command_id: UUIDv7, the same for every attempt of one call.
        command: what is asked.
        actor: who asks.
        idempotency_key: lets a caller who starts over find the first answer; None where nobody will.
    """

    command_id: str
    command: Command
    actor: str
    idempotency_key: str | None

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("command id", self.command_id)
        check_caller(self.actor, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a command wrote, now or the first time it was asked.

    Attributes:
        events: in order; empty where what was asked for was true already.
        sequence: the last of them; the head of the log where there is none.
        repeated: whether this is the answer to an earlier call.
    """

    events: tuple[StoredEvent, ...]
    sequence: int
    repeated: bool


def command_digest(command: Command, actor: str) -> str:
    """BLAKE3 content address of what a command asks for, on behalf of whom.

    Package and event ids that the caller makes anew on every attempt are left out, and so is what a repeat finds
    changed by itself: whether bytes were stored or found, and the manifest that a finalisation builds.
    """
    asked: RecordValue
    match command:
        case CreatePackage():
            metadata: dict[str, RecordValue] = dict(command.metadata)
            asked = ["create", command.name, command.retention_class, metadata]
        case IngestFiles():
            files: list[RecordValue] = [
                [
                    file.path,
                    file.size_bytes,
                    file.executable,
                    file.media_type,
                    str(file.digests.content_address),
                ]
                for file in command.files
            ]
            asked = ["ingest", command.package_id, command.on_existing.value, files]
        case FinalizePackage():
            asked = ["finalize", command.package_id]
        case RegisterMetadataSchema():
            asked = ["schema", command.name, command.schema]
        case FlagObjects():
            objects: list[RecordValue] = [
                [str(flag.content_address), flag.backend_id, flag.integrity] for flag in command.objects
            ]
            asked = ["flag", objects]
        case _:
            assert_never(command)
    return f"blake3:{blake3.blake3(canonical.encode_record([actor, asked])).hexdigest()}"
