"""Redaction: a text that must be forgotten is replaced in the names, paths and metadata of the log.

`substitute_of` returns the payload that stands in place of one that contains the text. It changes texts only: counts,
sizes, kinds, ids, states and the digests of contents stay, so that every later decision is the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast, override

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from artifactstore_protocols import manifest
from artifactstore_protocols.commands import check_caller
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import (
    ContentsPurged,
    EntriesReleased,
    FilesIngested,
    HoldPlaced,
    PackageAnnotated,
    PackageCreated,
    PackageDeleted,
    PackageFinalized,
    Payload,
    PayloadsRedacted,
    TokenRevoked,
    decode_payload,
    encode_payload,
)
from artifactstore_protocols.event_types.package_finalized import read_manifest
from artifactstore_protocols.events import SEQUENCE_MAX, StoredEvent
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.manifest import Entry as ManifestEntry
from artifactstore_protocols.manifest import LinkEntry, Manifest
from artifactstore_protocols.names import check_name
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.redacted_texts import TextReplacement

__all__ = [
    "ManifestRedacted",
    "OpenPackages",
    "RedactionImpossible",
    "RedactionReport",
    "RedactionRequest",
    "RedactionUnconfirmed",
    "UnredactedEvent",
    "released_as",
    "remaining_in",
    "substitute_of",
]


_NOT_CHOSEN: Final = frozenset(
    {
        "package_id",
        "hold_id",
        "log_id",
        "store_id",
        "parents",
        "digest_algorithm",
        "tree_digest",
        "object_key",
        "kind",
        "integrity",
        "cause",
        "scopes",
        "retrieval_tier",
        "restore_status",
    }
)
"""Fields whose texts the store makes: ids, digests, and words of its own."""


class ManifestRedacted(ArtifactStoreError):
    """A manifest was redacted. No bytes with its digest exist any more.

    Attributes:
        package_id: the id of the package.
        manifest_digest: the digest of the manifest before.
        redacted_by: the sequence of the event that redacted it.
    """

    package_id: str
    manifest_digest: str
    redacted_by: int
    template = (
        "event {self.redacted_by} redacted the manifest {self.manifest_digest} of package {self.package_id}, so it "
        "cannot be printed or verified any more; `ls` and `export` still give the files"
    )


class OpenPackages(ArtifactStoreError):
    """A redaction would change packages that are open. Nothing was changed.

    Attributes:
        packages: the ids of up to 10 of these packages.
        count: the number of all of them.
    """

    packages: tuple[str, ...]
    count: int

    @override
    def __str__(self) -> str:
        named, plural = ", ".join(self.packages), "" if self.count == 1 else "s"
        more = f" and {self.count - len(self.packages)} more" if self.count > len(self.packages) else ""
        return (
            f"the text is in {self.count} open package{plural} ({named}{more}); "
            "nothing was changed: finalize or delete them first"
        )


class RedactionImpossible(ArtifactStoreError):
    """An event cannot be redacted. Nothing was changed.

    Attributes:
        sequence: the sequence of the event.
        reason: the rule that it would break.
    """

    sequence: int
    reason: str
    template = (
        "event {self.sequence} cannot be redacted ({self.reason}); nothing was changed: "
        "redact a longer text, such as the whole name between two slashes"
    )


class RedactionUnconfirmed(ArtifactStoreError):
    """A redaction was not confirmed. Nothing was changed.

    Attributes:
        events: the number of events that it would redact.
        packages: the number of packages that it would change.
    """

    events: int
    packages: int

    @override
    def __str__(self) -> str:
        return (
            f"a redaction replaces the text in {self.events} event{'' if self.events == 1 else 's'} of {self.packages} "
            f"package{'' if self.packages == 1 else 's'} for good; if you are sure, repeat it with "
            f"--confirm-events {self.events}"
        )


class RedactionRequest(Struct, frozen=True):
    """A redaction that somebody asks for.

    Attributes:
        replaced: the replacement of the text.
        reason: why, in 1 to 200 printable characters. It stays in the log, so it must not repeat the text.
        principal: the principal.
        confirm_events: the number of events that it redacts; another number is refused.
    """

    replaced: TextReplacement
    reason: str
    principal: str
    confirm_events: int | None

    def __post_init__(self) -> None:
        check_name("reason", self.reason)
        if self.confirm_events is not None and not 0 <= self.confirm_events <= SEQUENCE_MAX:
            raise InvalidValue("number of events", str(self.confirm_events)[:20], f"use 0 to {SEQUENCE_MAX}")
        check_caller(self.principal, None)
        if self.replaced.is_in_text(self.reason) or self.replaced.is_in_text(self.principal):
            raise InvalidValue("reason", "hidden", "the reason and the principal must not repeat the text")


class UnredactedEvent(Struct, frozen=True):
    """An event that still contains the text.

    Attributes:
        sequence: its sequence.
        event_type: its type.
        where: what contains the text: `principal`, `subject`, `idempotency key` or `payload`.
    """

    sequence: int
    event_type: str
    where: str


class RedactionReport(Struct, frozen=True):
    """The result of a redaction.

    Attributes:
        mark: what stands in place of the text.
        events: the number of events that were redacted.
        packages: the number of packages that these events are about.
        sequence: the last event of the log afterwards.
        left: up to 100 events that still contain the text, because it cannot be redacted there.
        left_events: the number of all such events.
        backups: the directories of the backups that do not contain the text in redacted events any more.
        failures: what could not be done. A repeated call does the rest.
    """

    mark: str
    events: int
    packages: int
    sequence: int
    left: tuple[UnredactedEvent, ...] = ()
    left_events: int = 0
    backups: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def substitute_of(stored: StoredEvent, replaced: TextReplacement) -> bytes | None:
    """Return the payload in which the text is replaced; None if nothing in it is a text that can be redacted.

    Raises:
        RedactionImpossible: the package cannot have such a name, path or metadata.
    """
    if not replaced.is_in(stored.event.payload):
        return None
    try:
        payload = _redacted(stored.decode(), stored, replaced)
        encoded = None if payload is None else encode_payload(payload)
    except ArtifactStoreError as error:
        raise RedactionImpossible(stored.sequence, str(error)) from error
    return None if encoded == stored.event.payload else encoded


def released_as(payload: EntriesReleased, keys: Iterable[str], replaced: TextReplacement) -> bytes:
    """Return the substitute of an event that released entries with these path keys."""
    named = tuple(sorted(map(replaced.text, keys)))
    return encode_payload(replace(payload, first=named[0], last=named[-1], keys=named))


def remaining_in(stored: StoredEvent, payload: bytes | None, replaced: TextReplacement) -> UnredactedEvent | None:
    """Return what of an event still contains the text, with this payload or apart from it; None if nothing does."""
    event = stored.event
    where = None
    if replaced.is_in_text(event.principal):
        where = "principal"
    elif replaced.is_in_text(event.subject) and not is_id(event.subject):
        where = "subject"
    elif replaced.is_in_text(event.command.idempotency_key):
        where = "idempotency key"
    elif payload is not None and replaced.is_in(payload) and any(map(replaced.is_in_text, _texts_of(stored, payload))):
        where = "payload"
    return None if where is None else UnredactedEvent(stored.sequence, event.type, where)


def _texts_of(stored: StoredEvent, payload: bytes) -> Iterator[str]:
    """Yield the texts in a payload that people chose: no names of fields, kinds, ids or digests."""
    decoded = decode_payload(stored.event.type, payload)
    if isinstance(decoded, PackageFinalized):
        is_substitute = stored.event.redacted_by is not None or payload != stored.event.payload
        yield from _chosen(read_manifest(decoded, redacted=is_substitute).decoded)
    else:
        yield from _chosen(decoded)


def _chosen(value: object) -> Iterator[str]:
    names = getattr(value, "__struct_fields__", None) or getattr(value, "_fields", ())
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, object]", value).items():
            yield key
            yield from _chosen(each)
    elif names:
        for name in names:
            if name not in _NOT_CHOSEN:
                yield from _chosen(getattr(value, name))
    elif isinstance(value, tuple | list | frozenset):
        for each in cast("Iterable[object]", value):
            yield from _chosen(each)


def _redacted(payload: Payload, stored: StoredEvent, replaced: TextReplacement) -> Payload | None:
    text = replaced.text
    match payload:
        case PackageCreated():
            return replace(payload, name=text(payload.name), metadata=replaced.metadata(payload.metadata))
        case PackageAnnotated():
            removed = tuple(sorted(map(text, payload.removed)))
            return replace(payload, annotations=replaced.metadata(payload.annotations), removed=removed)
        case FilesIngested():
            return _ingested(payload, replaced)
        case PackageFinalized():
            read = read_manifest(payload, redacted=stored.event.redacted_by is not None)
            return PackageFinalized(_manifest(cast("Manifest", read.decoded), replaced))
        case PackageDeleted() | HoldPlaced() | ContentsPurged() | PayloadsRedacted() | TokenRevoked():
            return cast("Payload", replace(cast("Any", payload), reason=text(payload.reason)))
        case _:
            return None


def _ingested(payload: FilesIngested, replaced: TextReplacement) -> FilesIngested:
    text = replaced.text
    entries = tuple(entry._replace(path=text(entry.path), target=text(entry.target)) for entry in payload.entries)
    keys = dict(zip(payload.path_keys, (path_key(entry.path) for entry in entries), strict=True))
    return replace(
        payload,
        entries=entries,
        path_keys=tuple(keys.values()),
        replaced=frozenset(keys[key] for key in payload.replaced),
        removed=tuple(map(text, payload.removed)),
    )


def _manifest(decoded: Manifest, replaced: TextReplacement) -> bytes:
    """Return a manifest with replaced texts. It states the tree digest that the paths had before."""
    package, kept, said = decoded.package, decoded.retention_summary, decoded.provenance
    name, metadata = replaced.text(package.name), replaced.metadata(package.metadata)
    built = Manifest.build(
        package=replace(package, name=name, metadata=metadata),
        entries=[_manifest_entry(entry, replaced) for entry in decoded.entries],
        storage_receipts=decoded.storage_receipts,
        retention_class=kept.retention_class,
        retention_duration_us=kept.duration_us,
        producer=said.producer,
        principal=said.principal,
        digest_algorithm=decoded.digest_algorithm,
    )
    force_setattr(built, "provenance", said)
    return manifest.encode(built)


def _manifest_entry(entry: ManifestEntry, replaced: TextReplacement) -> ManifestEntry:
    path = replaced.text(entry.path)
    if isinstance(entry, LinkEntry):
        return entry._replace(path=path, target=replaced.text(entry.target))
    return entry._replace(path=path)
