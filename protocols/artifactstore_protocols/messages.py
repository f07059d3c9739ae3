"""The message catalogue: what each actor can be asked, and what it answers.

A message names the kind of actor that takes it and the type of its reply, so a wrong message to an actor, or a wrong
use of a reply, is an error for the type checker. Messages are frozen; a stream in one is handed over with it.

A message checks its fields when it is made, so a handler never meets a value of another type than is written here: the
mistake is its maker's, who gets an `InvalidValue`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, Self, assert_never, cast, override

from msgspec import Struct

from artifactstore_protocols import commands
from artifactstore_protocols.commands import (
    CommandRequest,
    CondemnObjects,
    CreatePackage,
    IngestFiles,
    OnExisting,
    RecordFindings,
    RegisterMetadataSchema,
    RemoveObjects,
    ReplaceObjects,
    RetireObjects,
    entries_bytes,
)
from artifactstore_protocols.dataplane import FileSource, IngestResult, VerifyResult, check_local_path
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.imports import ImportRun, UnfinishedImport
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    HealthReport,
    IngestProgress,
    IngestSummary,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
)
from artifactstore_protocols.storage import BackendHealth, KnownObject, Place, StorageError
from artifactstore_protocols.supervision import Message, Request
from artifactstore_protocols.typed import check_fields

__all__ = [
    "AddDirectory",
    "AddFile",
    "Commit",
    "DatabaseReading",
    "DatabaseRole",
    "DeleteObject",
    "FinalizePackage",
    "GetHealth",
    "HeadMoved",
    "HealthRole",
    "ImportEvents",
    "IngestRole",
    "IngestTree",
    "OpenPackage",
    "OpenTail",
    "ProbeDatabase",
    "ProbeStorage",
    "ProbeTails",
    "ProjectionRole",
    "ReadObjects",
    "Replay",
    "ServeObject",
    "StatObjects",
    "StorageRole",
    "StoreFiles",
    "StoreStream",
    "Stream",
    "TailsReading",
    "VerifyObjects",
    "WriterRole",
]

_EVENT_BYTES = 600
"""What the fields of an event take that do not grow."""

_OBJECT_BYTES = 200
"""What an object takes in an event."""


class _Checked:
    """Checks the fields of the message that it is a base of; a field of the same name is the same everywhere."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_fields(cast("Struct", self))
        for name, check in _CHECKS.items():
            if (text := getattr(self, name, None)) is not None:
                check(name.replace("_", " "), text)


_CHECKS: Mapping[str, Callable[[str, str], object]] = {"package_id": check_id, "directory": check_local_path}


class DatabaseRole:
    """Owns the database's thread and engines."""


class StorageRole:
    """Moves bytes in and out of storage backends."""


class WriterRole:
    """The single writer of the log."""


class ProjectionRole:
    """Fans committed events out, and rebuilds projections from the log."""


class IngestRole:
    """Admits packages and files."""


class HealthRole:
    """Measures all the others."""


class Stream[T](Protocol):
    """Items that arrive over time, from a task of the actor that opened it. Close it when done, early or not."""

    def __aiter__(self) -> Self:
        """Itself."""
        ...

    async def __anext__(self) -> T:
        """The next item; waits for it."""
        ...

    def close(self) -> None:
        """Stop the stream; harmless twice."""
        ...


class DatabaseReading(Struct, frozen=True):
    """What a probe of the database found.

    Attributes:
        database: its name.
        head: the last sequence of the log.
        free_bytes: the room left; None if nobody can tell.
        read_only: why nothing can be written; None if it can.
        unfinished: the import that must be finished before anything else is written; None if there is none.
        store_id: random id of the database; None where it has none.
    """

    database: str
    head: int
    free_bytes: int | None
    read_only: str | None = None
    unfinished: UnfinishedImport | None = None
    store_id: str | None = None


class ProbeDatabase(_Checked, Request[DatabaseReading, DatabaseRole], Struct, frozen=True):
    """Read the head of the log, and check that the file is still the one that is open."""


class StoreFiles(_Checked, Request[tuple[IngestResult | ArtifactStoreError, ...], StorageRole], Struct, frozen=True):
    """Hash and store a batch of local files; answers are in order, one file's error is its own."""

    batch: tuple[FileSource, ...]
    places: Mapping[ContentAddress, Place]


class StoreStream(_Checked, Request[IngestResult, StorageRole], Struct, frozen=True):
    """Hash and store one stream of bytes."""

    reader: AsyncIterator[bytes]
    expected_size: int | None
    places: Mapping[ContentAddress, Place]


class ServeObject(_Checked, Request[Stream[bytes], StorageRole], Struct, frozen=True):
    """Open an object, or a range of it, as a stream of chunks; a whole object is checked before its last chunk."""

    known: KnownObject
    offset: int = 0
    length: int | None = None


class ReadObjects(_Checked, Request[tuple[bytes | StorageError, ...], StorageRole], Struct, frozen=True):
    """Read many small objects at once, each checked against its address; answers are in order."""

    known: tuple[KnownObject, ...]


class StatObjects(_Checked, Request[tuple[int | None, ...], StorageRole], Struct, frozen=True):
    """Return the size in bytes of each of many objects, in their order; None for one that is not there."""

    known: tuple[KnownObject, ...]


class VerifyObjects(_Checked, Request[tuple[VerifyResult, ...], StorageRole], Struct, frozen=True):
    """Read objects again and compare each with its address; answers are in order."""

    known: tuple[KnownObject, ...]


class DeleteObject(_Checked, Request[bool, StorageRole], Struct, frozen=True):
    """Remove an object; False if there was none."""

    known: KnownObject


class ProbeStorage(_Checked, Request[tuple[BackendHealth, ...], StorageRole], Struct, frozen=True):
    """Measure every backend, by a small object written, synced, read back and removed."""


class Commit(_Checked, Request[Committed, WriterRole], Struct, frozen=True):
    """Decide a command against what is true, and write what follows, in one transaction."""

    request: CommandRequest

    @property
    @override
    def size_bytes(self) -> int:
        """Roughly what the command's events will hold, for the limits of mailbox and batch."""
        match self.request.command:
            case IngestFiles(entries=entries, stored=stored):
                return _EVENT_BYTES + entries_bytes(entries) + _OBJECT_BYTES * len(stored)
            case commands.FinalizePackage(manifest=manifest):
                return _EVENT_BYTES + len(manifest)
            case CreatePackage(metadata=metadata):
                return _EVENT_BYTES + sum(len(key) + len(value) for key, value in metadata.items())
            case RegisterMetadataSchema(schema=schema):
                return _EVENT_BYTES + len(schema)
            case RecordFindings(findings=findings):
                return _EVENT_BYTES + _OBJECT_BYTES * len(findings)
            case ReplaceObjects(stored=objects) | CondemnObjects(contents=objects):
                return _EVENT_BYTES + _OBJECT_BYTES * len(objects)
            case RetireObjects(objects=objects) | RemoveObjects(objects=objects):
                return _EVENT_BYTES + _OBJECT_BYTES * len(objects)
            case _:
                assert_never(self.request.command)


class ImportEvents(_Checked, Request[int, WriterRole], Struct, frozen=True):
    """Take over some of another log's events as they are; the answer is how many were not there before.

    Attributes:
        events: their sequences without a gap; none where the import begins.
        run: the import.
    """

    events: tuple[StoredEvent, ...]
    run: ImportRun

    @override
    def __post_init__(self) -> None:
        _Checked.__post_init__(self)
        for stored in self.events:  # which come from outside; those that are read from a log are not checked again
            check_fields(stored)
            check_fields(stored.event)
            check_fields(stored.event.command)

    @property
    @override
    def size_bytes(self) -> int:
        """Roughly what the events hold, for the limits of the mailbox."""
        return sum(_EVENT_BYTES + len(stored.event.payload) for stored in self.events)


class HeadMoved(_Checked, Message[ProjectionRole], Struct, frozen=True):
    """The log has grown to this sequence."""

    sequence: int


class OpenTail(_Checked, Request[Stream[StoredEvent], ProjectionRole], Struct, frozen=True):
    """Follow the log: every event after `since`, in order, then those to come, with no hole and no repeat."""

    since: int


class TailsReading(Struct, frozen=True):
    """How far the tails of this process have come.

    Attributes:
        tails: how many are being read.
        head: the last sequence that this process knows of. It looks after the log only while there are tails.
        slowest: the last sequence that the slowest tail has handed to its reader; None without tails.
    """

    tails: int
    head: int
    slowest: int | None

    @property
    def lag_events(self) -> int:
        """How many events the slowest tail has still to hand over."""
        return 0 if self.slowest is None else max(0, self.head - self.slowest)


class ProbeTails(_Checked, Request[TailsReading, ProjectionRole], Struct, frozen=True):
    """Say how far behind the log the tails are."""


class Replay(_Checked, Request[ReplayReport, ProjectionRole], Struct, frozen=True):
    """Build the projections again from the log, and compare them with the live ones or repair those.

    `progress` is as for `EventStore.replay`.
    """

    rebuild: bool
    progress: Callable[[ReplayProgress], None] | None = None


class OpenPackage(_Checked, Request[PackageRecord, IngestRole], Struct, frozen=True):
    """Create a package."""

    name: str
    retention_class: str
    metadata: Mapping[str, str]
    actor: str
    idempotency_key: str | None


class AddFile(_Checked, Request[FileRecord, IngestRole], Struct, frozen=True):
    """Put one file into an open package: a local path, or a stream of bytes."""

    package_id: str
    path: str
    source: FileSource | AsyncIterator[bytes]
    expected_size: int | None
    executable: bool | None
    media_type: str | None
    on_existing: OnExisting
    actor: str
    idempotency_key: str | None


class AddDirectory(_Checked, Request[DirectoryIngest, IngestRole], Struct, frozen=True):
    """Put what is below a local directory into an open package, a transaction per batch.

    With `files_cache`, files that have not changed since they were read are not read again. `links` says what becomes
    of symbolic links.
    """

    package_id: str
    directory: str
    on_existing: OnExisting
    actor: str
    progress: Callable[[IngestProgress], None] | None
    files_cache: bool = True
    links: LinkPolicy = LinkPolicy.KEEP


class FinalizePackage(_Checked, Request[FinalizedPackage, IngestRole], Struct, frozen=True):
    """Finalize a package."""

    package_id: str
    actor: str


class IngestTree(_Checked, Request[IngestSummary, IngestRole], Struct, frozen=True):
    """Create a package, put a directory into it and finalize it; nothing is created if the directory is refused.

    With `files_cache`, as for `AddDirectory`, and an interrupted run's package is filled further. `links` as there.
    """

    directory: str
    name: str | None
    retention_class: str
    metadata: Mapping[str, str]
    actor: str
    idempotency_key: str | None
    progress: Callable[[IngestProgress], None] | None
    files_cache: bool = True
    links: LinkPolicy = LinkPolicy.KEEP


class GetHealth(_Checked, Request[HealthReport, HealthRole], Struct, frozen=True):
    """The state of every part, from readings that are no older than `max_age_s` seconds."""

    max_age_s: float
