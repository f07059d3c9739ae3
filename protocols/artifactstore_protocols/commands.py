"""Commands: requests to change the log, each as a frozen struct.

A caller creates the id of a command before it sends the command. If the reply is lost, the caller sends the same
command again and gets the result of the first attempt. The ids of the command's events are derived from its id. Two
commands are the same if their `command_digest` is equal. It covers the request, but not the id of a new package, which
a caller that starts over creates anew, and not whether bytes were stored or deduplicated.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, assert_never, cast

import blake3
from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.entries import (
    Entry,
    Place,
    StoredObject,
    check_digest,
    check_entry,
    check_object,
    check_place,
    encode_entry,
)
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import check_glob
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import check_id, is_id
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.keep_rules import KeepRules
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
from artifactstore_protocols.manifest import (
    MANIFEST_BYTES_MAX,
    ManifestSummary,
    NotCanonicalJson,
    manifest_digest,
    read_jcs,
)
from artifactstore_protocols.metadata import Metadata, check_keys, check_metadata
from artifactstore_protocols.metadata_schema import SCHEMA_BYTES_MAX, check_schema, parse_reference
from artifactstore_protocols.names import check_name
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.purging import PurgeContents
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.token_records import CreateToken, RevokeToken
from artifactstore_protocols.typed import check_fields
from artifactstore_protocols.verification import VERIFIED_OBJECTS_MAX, Sample, VerifiedKey

__all__ = [
    "ENTRIES_BYTES_MAX",
    "ENTRIES_MAX",
    "OBJECTS_MAX",
    "PARENTS_MAX",
    "AnnotatePackage",
    "Command",
    "CommandRequest",
    "CondemnObjects",
    "CreatePackage",
    "DeleteKeepPolicy",
    "DeleteTag",
    "FinalizePackage",
    "IngestFiles",
    "ObjectFinding",
    "OnExisting",
    "RecordFindings",
    "RecordVerification",
    "RegisterMetadataSchema",
    "RemoveObjects",
    "ReplaceObjects",
    "RequireSchema",
    "RetireObjects",
    "SchemaCommand",
    "SetKeepPolicy",
    "SetTag",
    "UnrequireSchema",
    "check_caller",
    "check_entries_bytes",
    "command_digest",
    "entries_bytes",
    "entry_bytes",
    "file_entry_bytes",
]

_INTEGRITIES = ("intact", "damaged", "missing")
_CAUSES = ("condemned", "orphan")
_REFERENCE_CHARACTERS = re.compile(r"[@:{}]|~[0-9]*\Z")  # see `package_references`
_RULE_CHARACTERS_MAX = 80

ENTRIES_MAX: Final = 256
"""The most entries in one command, and so in one event."""

ENTRIES_BYTES_MAX: Final = 1 << 20
"""The most bytes of the entries in one command, as `entry_bytes` counts them."""

PARENTS_MAX: Final = 100
"""The most packages that a package can be made from."""

OBJECTS_MAX: Final = 256
"""The most findings, contents or objects in one command, and the most objects that one event stores."""

_ENTRY_BYTES = 70  # digest, size, kind and CBOR heads
_TEXT_BYTES = 4  # the most that UTF-8 uses for a character


def check_caller(principal: str, idempotency_key: str | None = None) -> None:
    """Refuse an invalid principal or idempotency key. Call this before work that precedes the command.

    Raises:
        InvalidValue: the principal or the key is not 1 to 200 printable characters, or has a space at an end.
    """
    check_name("principal", principal)
    if idempotency_key is not None:
        check_name("idempotency key", idempotency_key)


def _check_reference(what: str, text: str) -> None:
    """Refuse a name that is invalid, is an id, or has a character that selects a package beside a name."""
    check_name(what, text)
    if is_id(text):
        raise InvalidValue(what, text, "it is an id; take another name")
    if _REFERENCE_CHARACTERS.search(text) is not None:
        raise InvalidValue(what, text[:60], "leave out @ : { } and a final ~ or ~n, which select a package")


class CreatePackage(Struct, frozen=True):
    """A command that creates an open package.

    Attributes:
        package_id: the id of the package, which is unique.
        name: a label, which need not be unique.
        retention_class: the name of its retention class.
        metadata: values by key.
        schema: the schema that the metadata fits, as `NAME` (its latest version) or `NAME@VERSION`; None for none.
        parents: the ids of the finalized packages that this one is made from, at most `PARENTS_MAX`.
    """

    package_id: str
    name: str
    retention_class: str
    metadata: Metadata
    schema: str | None = None
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        _check_reference("package name", self.name)
        check_metadata(self.metadata)
        if self.schema is not None:
            check_name("metadata schema name", parse_reference(self.schema)[0])
        if len(self.parents) > PARENTS_MAX or len(set(self.parents)) != len(self.parents):
            raise InvalidValue("parents", str(len(self.parents)), f"name at most {PARENTS_MAX} packages, each once")
        for parent in self.parents:
            check_id("package id", parent)


class OnExisting(StrEnum):
    """What an ingest does with an entry whose path the package already has."""

    REFUSE = "refuse"
    """Refuse the entry, even if the package has the same one."""
    RESUME = "resume"
    """Skip an entry that the package has with the same content and attributes. Refuse a different one."""
    REPLACE = "replace"
    """Skip an entry that the package has with the same content and attributes. Replace a different one."""


class IngestFiles(Struct, frozen=True):
    """A command that puts entries into an open package, either all of them or none.

    Attributes:
        package_id: the id of the package.
        entries: 1 to `ENTRIES_MAX` entries of at most `ENTRIES_BYTES_MAX` together. Each path occurs once.
        stored: proofs for the contents of files that the log may not know yet, at most `ENTRIES_MAX`. Proofs that are
            not needed do no harm.
        on_existing: what to do with an entry whose path the package already has.
    """

    package_id: str
    entries: tuple[Entry, ...]
    stored: tuple[StoredObject, ...]
    on_existing: OnExisting

    def __post_init__(self) -> None:
        if type(self.entries) is not tuple or type(self.stored) is not tuple:
            raise InvalidValue("entries", type(self.entries).__name__, "entries and stored objects are tuples")
        check_id("package id", self.package_id)
        if type(self.on_existing) is not OnExisting:
            raise InvalidValue("on_existing", str(self.on_existing)[:60], "use a member of OnExisting")
        if not 0 < len(self.entries) <= ENTRIES_MAX or len(self.stored) > ENTRIES_MAX:
            reason = f"a command has 1 to {ENTRIES_MAX} entries, and no more stored objects; send the rest in others"
            raise InvalidValue("entries", f"{len(self.entries)} entries, {len(self.stored)} objects", reason)
        for entry in self.entries:
            check_entry(entry)
        for stored in self.stored:
            check_object(stored)
        check_entries_bytes(self.entries)


def check_entries_bytes(entries: Sequence[Entry]) -> None:
    """Refuse entries that are too large for one command.

    Raises:
        InvalidValue: the entries take more than `ENTRIES_BYTES_MAX`.
    """
    if (size := entries_bytes(entries)) > ENTRIES_BYTES_MAX:
        reason = f"the entries of a command take {ENTRIES_BYTES_MAX} bytes at most; send the rest in others"
        raise InvalidValue("entries", f"{size} bytes", reason)


def entries_bytes(entries: Iterable[Entry]) -> int:
    """Return an upper bound for the size of entries in an event, in bytes."""
    return sum(map(entry_bytes, entries))


def entry_bytes(entry: Entry) -> int:
    """Return an upper bound for the size of an entry in an event, in bytes. The path can occur as text and as key."""
    _kind, path, _executable, media_type, _size, _digest, target = entry
    return _ENTRY_BYTES + _TEXT_BYTES * (2 * len(path) + len(media_type) + len(target))


def file_entry_bytes(path: str, media_type: str) -> int:
    """Return the `entry_bytes` of a file with this path and media type."""
    return _ENTRY_BYTES + _TEXT_BYTES * (2 * len(path) + len(media_type))


class FinalizePackage(Struct, frozen=True):
    """A command that finalizes a package. The manifest was built when the package had `expected_version`."""

    package_id: str
    expected_version: int
    manifest: bytes
    summary: ManifestSummary | None = None
    """The summary of the manifest. Without it, the writer decodes the manifest while it locks the head of the log."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        if len(self.manifest) > MANIFEST_BYTES_MAX:
            reason = f"a manifest has at most {MANIFEST_BYTES_MAX} bytes; spread the files over several packages"
            raise InvalidValue("manifest", f"{len(self.manifest)} bytes", reason)
        if self.summary is not None:
            stated = (self.summary.package_id, self.summary.manifest_digest)
            if stated != (self.package_id, str(ContentAddress(manifest_digest(self.manifest)))):
                reason = "it is not of this package's manifest; make it from the bytes that are committed"
                raise InvalidValue("manifest summary", " ".join(stated), reason)


class RegisterMetadataSchema(Struct, frozen=True):
    """A command that adds the next version of a named metadata schema. `schema` is canonical JSON text (RFC 8785)."""

    name: str
    schema: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_name("metadata schema name", self.name)
        if "@" in self.name:
            raise InvalidValue("metadata schema name", self.name[:60], "leave out @, which selects a version")
        try:
            check_schema(read_jcs(self.schema.encode(), max_bytes=SCHEMA_BYTES_MAX))
        except (UnicodeEncodeError, NotCanonicalJson) as error:
            raise InvalidValue("metadata schema", self.schema[:60], str(error)) from error


class RequireSchema(Struct, frozen=True):
    """A command that requires a schema for new packages of a name.

    Attributes:
        glob: the glob for the names of packages; see `globs`.
        schema: the schema, as `NAME` (the version that is the latest one now) or `NAME@VERSION`.
    """

    glob: str
    schema: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_name_glob(self.glob)
        check_name("metadata schema name", parse_reference(self.schema)[0])


class UnrequireSchema(Struct, frozen=True):
    """A command that no longer requires a schema for the packages that a glob names."""

    glob: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_name_glob(self.glob)


def _check_name_glob(glob: str) -> None:
    check_name("package name glob", glob)
    check_glob(glob)


class SetTag(Struct, frozen=True):
    """A command that sets a tag to a finalized package.

    Attributes:
        tag: the name of the tag.
        package_id: the id of the package.
        protected: whether the tag can be neither moved nor deleted; None leaves the protection as it is.
    """

    tag: str
    package_id: str
    protected: bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check_reference("tag", self.tag)
        check_id("package id", self.package_id)


class DeleteTag(Struct, frozen=True):
    """A command that deletes a tag. The package stays."""

    tag: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_reference("tag", self.tag)


class SetKeepPolicy(Struct, frozen=True):
    """A command that sets the keep policy of a group of packages, in place of the one before.

    Attributes:
        group: a package name, or a glob of names.
        rules: the rules that keep packages of the group.
    """

    group: str
    rules: KeepRules

    def __post_init__(self) -> None:
        check_fields(self)
        _check_group(self.group)


class DeleteKeepPolicy(Struct, frozen=True):
    """A command that deletes the keep policy of a group. The packages stay."""

    group: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_group(self.group)


def _check_group(group: str) -> None:
    """Refuse a text that is neither a package name nor a glob of names."""
    _check_reference("group", group)
    check_glob(group)


class AnnotatePackage(Struct, frozen=True):
    """A command that sets and removes annotations of a package, either all of them or none.

    Attributes:
        package_id: the id of the package, which may be open or finalized.
        annotations: the annotations to set, with values as metadata has them.
        removed: the keys of the annotations to remove. Each occurs once, and is not set by the same command.
        expected: what the package must have of all these keys, so that no other change is lost; None for anything.
    """

    package_id: str
    annotations: Metadata
    removed: tuple[str, ...] = ()
    expected: Metadata | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        check_metadata(self.annotations, "annotation")
        check_keys(self.removed, "annotation key")
        if not self.annotations and not self.removed:
            raise InvalidValue("annotations", "", "name at least one to set or to remove")
        if len({*self.removed, *self.annotations}) != len(self.removed) + len(self.annotations):
            reason = "each key is set or removed once"
            raise InvalidValue("annotations", ", ".join(self.removed)[:60], reason)


class ObjectFinding(NamedTuple):
    """The result of verifying one object. `integrity` is `intact`, `damaged` or `missing`."""

    digest: bytes
    place: Place
    integrity: str


class RecordFindings(Struct, frozen=True):
    """A command that records the findings of a verification.

    The next ingest stores flawed objects again. Intact objects lose their flag.

    Attributes:
        findings: 1 to `OBJECTS_MAX` findings. Each object occurs once.
        as_of: the head of the log when the verification began to read. Findings on objects that changed later are
            skipped.
    """

    findings: tuple[ObjectFinding, ...]
    as_of: int

    def __post_init__(self) -> None:
        if type(self.findings) is not tuple or not 0 < len(self.findings) <= OBJECTS_MAX:
            raise InvalidValue("findings", type(self.findings).__name__, f"a command has 1 to {OBJECTS_MAX}")
        if type(self.as_of) is not int or self.as_of < 0:
            raise InvalidValue("as_of", str(self.as_of)[:60], "it is the sequence of an event, or 0")
        for digest, (backend_id, object_key), integrity in self.findings:
            check_digest("digest", digest)
            check_place(backend_id, object_key)
            if integrity not in _INTEGRITIES:
                raise InvalidValue("integrity", str(integrity)[:60], f"use one of {', '.join(_INTEGRITIES)}")
        if len({finding.place for finding in self.findings}) != len(self.findings):
            raise InvalidValue("findings", str(len(self.findings)), "an object stands there twice")


class RecordVerification(Struct, frozen=True):
    """A command that records that a range of the objects that were due has been verified.

    Attributes:
        as_of: the head of the log when the verification began. The range has no object that was stored after it.
        first: the first object of the range, in the order of verification.
        last: the last object of the range.
        sample: the sample whose objects were read.
        objects: the number of objects that were read, at most `VERIFIED_OBJECTS_MAX`.
        bytes: their total size.
        damaged: how many of them are damaged.
        missing: how many of them are missing.
    """

    as_of: int
    first: VerifiedKey
    last: VerifiedKey
    sample: Sample
    objects: int
    bytes: int
    damaged: int = 0
    missing: int = 0

    def __post_init__(self) -> None:
        numbers = (self.as_of, self.objects, self.bytes, self.damaged, self.missing)
        keys = (self.first, self.last)
        if not all(type(each) is int and each >= 0 for each in (*numbers, *(key.sequence for key in keys))):
            raise InvalidValue("verification", str(numbers)[:60], "its counts and sequences are 0 or more")
        if not 0 < self.objects <= VERIFIED_OBJECTS_MAX or self.damaged + self.missing > self.objects:
            reason = f"it has read 1 to {VERIFIED_OBJECTS_MAX} objects, and found no more flawed ones"
            raise InvalidValue("verification", str(numbers)[:60], reason)
        if self.last.sequence > self.as_of:
            raise InvalidValue("verification", str(self.last.sequence), "its last object is of a later event")
        _check_each_place({key.place for key in keys})


def _check_each_place(places: Iterable[Place]) -> None:
    for place in places:
        check_place(*place)
        parse_key(place.object_key)


class ReplaceObjects(Struct, frozen=True):
    """A command that records that contents with flawed objects were stored again.

    Contents without a live object are skipped.

    Attributes:
        stored: proofs for 1 to `OBJECTS_MAX` new objects.
    """

    stored: tuple[StoredObject, ...]

    def __post_init__(self) -> None:
        _check_tuple("stored objects", self.stored)
        for stored in self.stored:
            check_object(stored)


class CondemnObjects(Struct, frozen=True):
    """A command that condemns contents that no package refers to. Other contents are skipped.

    Attributes:
        contents: 1 to `OBJECTS_MAX` primary digests.
        rule: the name of the rule that condemns them, for explanations.
    """

    contents: tuple[bytes, ...]
    rule: str

    def __post_init__(self) -> None:
        _check_tuple("contents", self.contents)
        for digest in self.contents:
            check_digest("digest", digest)
        if type(self.rule) is not str or not 0 < len(self.rule) <= _RULE_CHARACTERS_MAX or not self.rule.isprintable():
            reason = f"use 1 to {_RULE_CHARACTERS_MAX} printable characters"
            raise InvalidValue("rule", str(self.rule)[:60], reason)


class RetireObjects(Struct, frozen=True):
    """A command that retires the keys of condemned objects, or of orphans, which no event names. Others are skipped.

    Attributes:
        objects: 1 to `OBJECTS_MAX` places.
        cause: `condemned` or `orphan`.
        until_us: retire only objects that have been condemned at this time, in microseconds since 1970 UTC; None for
            any.
    """

    objects: tuple[Place, ...]
    cause: str
    until_us: int | None = None

    def __post_init__(self) -> None:
        _check_places(self.objects)
        if self.cause not in _CAUSES:
            raise InvalidValue("cause", str(self.cause)[:60], f"use one of {', '.join(_CAUSES)}")


class RemoveObjects(Struct, frozen=True):
    """A command that records that the bytes at retired keys were deleted.

    Attributes:
        objects: 1 to `OBJECTS_MAX` places.
    """

    objects: tuple[Place, ...]

    def __post_init__(self) -> None:
        _check_places(self.objects)


def _check_places(places: tuple[Place, ...]) -> None:
    """Refuse places that a command cannot name."""
    _check_tuple("objects", places)
    _check_each_place(places)


def _check_tuple(what: str, items: tuple[object, ...]) -> None:
    """Refuse items that are not a tuple of 1 to `OBJECTS_MAX` different items."""
    if type(items) is not tuple or not 0 < len(items) <= OBJECTS_MAX:
        raise InvalidValue(what, type(items).__name__, f"a command has 1 to {OBJECTS_MAX}")
    if len(set(items)) != len(items):
        raise InvalidValue(what, str(len(items)), "one of them stands there twice")


type SchemaCommand = RegisterMetadataSchema | RequireSchema | UnrequireSchema

type Command = (
    CreatePackage
    | IngestFiles
    | FinalizePackage
    | RegisterMetadataSchema
    | RecordFindings
    | RecordVerification
    | ReplaceObjects
    | CondemnObjects
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
        case ReplaceObjects():
            asked = ["replace", [[each.digest, *each.place] for each in command.stored]]
        case CondemnObjects():
            asked = ["condemn", command.rule, list[RecordValue](command.contents)]
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
