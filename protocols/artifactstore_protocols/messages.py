"""The message catalogue: the messages that each actor handles, and their replies.

The type of a message names the role of its receiver and the type of its reply. So a type checker reports a message to
the wrong actor and a wrong use of a reply. Messages are frozen. A stream in a message belongs to the receiver once the
message is sent.

A message checks its fields when it is created, so a handler never gets a value of a type that is not declared here. The
code that creates an invalid message gets an `InvalidValue`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, Self, assert_never, cast, override

from msgspec import Struct

from artifactstore_protocols import commands
from artifactstore_protocols.commands import (
    AnnotatePackage,
    CommandRequest,
    CreatePackage,
    DeleteKeepPolicy,
    DeleteTag,
    IngestFiles,
    OnExisting,
    RecordFindings,
    RecordVerification,
    RegisterMetadataSchema,
    RemoveObjects,
    ReplaceObjects,
    RequireSchema,
    RetireObjects,
    SetKeepPolicy,
    SetTag,
    StoreObjects,
    UnrequireSchema,
    entries_bytes,
)
from artifactstore_protocols.dataplane import (
    SERVED_CHUNK_BYTES,
    FileSource,
    IngestResult,
    VerifyResult,
    check_local_path,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.metadata import Metadata, metadata_bytes
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    HealthReport,
    IngestPreview,
    IngestProgress,
    IngestSummary,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
)
from artifactstore_protocols.sources import SourceTree
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    HeldFile,
    KnownObject,
    ListedObject,
    Place,
    StorageError,
)
from artifactstore_protocols.supervision import Message, Request
from artifactstore_protocols.typed import check_fields
from artifactstore_protocols.unfinished_import import ImportRun, UnfinishedImport

__all__ = [
    "AddDirectory",
    "AddFile",
    "Commit",
    "CompactStorage",
    "DatabaseReading",
    "DatabaseRole",
    "DeleteObjects",
    "FinalizePackage",
    "GetHealth",
    "HeadMoved",
    "HealthRole",
    "ImportEvents",
    "IngestRole",
    "IngestTree",
    "ListBackends",
    "ListObjects",
    "OpenObjectFile",
    "OpenPackage",
    "OpenTail",
    "PreviewIngest",
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
"""The approximate size of the fixed-size fields of an event, in bytes."""

_OBJECT_BYTES = 200
"""The approximate size of one object in an event, in bytes."""


class _Checked:
    """A base class that checks the fields of a message. A field name has the same meaning in all messages."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_fields(cast("Struct", self))
        for name, check in _CHECKS.items():
            if (text := getattr(self, name, None)) is not None:
                check(name.replace("_", " "), text)


_CHECKS: Mapping[str, Callable[[str, str], object]] = {"package_id": check_id, "directory": check_local_path}


class DatabaseRole:
    """The role of the actor that owns the database's thread and engines."""


class StorageRole:
    """The role of the actor that moves bytes in and out of storage backends."""


class WriterRole:
    """The role of the single writer of the log."""


class ProjectionRole:
    """The role of the actor that sends committed events to tails and rebuilds the projection from the log."""


class IngestRole:
    """The role of the actor that creates, fills and finalizes packages."""


class HealthRole:
    """The role of the actor that measures the health of all components."""


class Stream[T](Protocol):
    """A stream of items from a task of the actor that opened it. Close it after use, even if it has not ended."""

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        ...

    async def __anext__(self) -> T:
        """Wait for the next item and return it."""
        ...

    def close(self) -> None:
        """Stop the stream. Does nothing if already closed."""
        ...


class DatabaseReading(Struct, frozen=True):
    """The result of probing the database.

    Attributes:
        database: the name of the database.
        head: the last sequence of the log.
        free_bytes: the free space where the log is stored; None if it is unknown.
        read_only: the reason why the database cannot be written; None if it can.
        unfinished: the import that must finish before anything else can be written; None if no import is unfinished.
        store_id: the random id of the database; None if it has none.
    """

    database: str
    head: int
    free_bytes: int | None
    read_only: str | None = None
    unfinished: UnfinishedImport | None = None
    store_id: str | None = None


class ProbeDatabase(_Checked, Request[DatabaseReading, DatabaseRole], Struct, frozen=True):
    """Read the head of the log, and check that the open database is still at its location."""


class StoreFiles(_Checked, Request[tuple[IngestResult | ArtifactStoreError, ...], StorageRole], Struct, frozen=True):
    """Hash and store a batch of local files. Results are in order. An error of one file does not affect the others.

    A content in `places` is stored at the given place instead of under its first key.
    """

    batch: tuple[FileSource, ...]
    places: Mapping[ContentAddress, Place]


class StoreStream(_Checked, Request[IngestResult, StorageRole], Struct, frozen=True):
    """Hash and store one stream of bytes. `places` is as for `StoreFiles`."""

    reader: AsyncIterator[bytes]
    expected_size: int | None
    places: Mapping[ContentAddress, Place]


class ServeObject(_Checked, Request[Stream[bytes], StorageRole], Struct, frozen=True):
    """Open an object, or a range of its bytes, as a stream of chunks.

    A whole object is checked against its address before its last chunk is sent.
    """

    known: KnownObject
    offset: int = 0
    length: int | None = None
    chunk_bytes: int = SERVED_CHUNK_BYTES


class ReadObjects(_Checked, Request[tuple[bytes | StorageError, ...], StorageRole], Struct, frozen=True):
    """Read many small objects at once, and check each against its address. Results are in order."""

    known: tuple[KnownObject, ...]


class StatObjects(_Checked, Request[tuple[int | None, ...], StorageRole], Struct, frozen=True):
    """Return the size of each object in bytes, in order; None for a missing object."""

    known: tuple[KnownObject, ...]


class VerifyObjects(_Checked, Request[tuple[VerifyResult, ...], StorageRole], Struct, frozen=True):
    """Read objects again and compare each with its address. Results are in order."""

    known: tuple[KnownObject, ...]


class OpenObjectFile(_Checked, Request[HeldFile | None, StorageRole], Struct, frozen=True):
    """Open the file of an object, for a reflink. The reply is None if its backend offers no file of it."""

    known: KnownObject


class DeleteObjects(_Checked, Request[tuple[bool | StorageError, ...], StorageRole], Struct, frozen=True):
    """Remove objects whose keys are retired. Results are in order: whether the object existed, or an error."""

    places: tuple[Place, ...]


class ListBackends(_Checked, Request[tuple[str, ...], StorageRole], Struct, frozen=True):
    """Return the ids of all backends, in order."""


class ListObjects(_Checked, Request[tuple[ListedObject, ...], StorageRole], Struct, frozen=True):
    """List up to `limit` objects of a backend, those whose keys come after `after`; fewer on the last page."""

    backend_id: str
    after: str
    limit: int


class CompactStorage(_Checked, Request[Compaction, StorageRole], Struct, frozen=True):
    """Give the room of deleted objects of a backend back."""

    backend_id: str


class ProbeStorage(_Checked, Request[tuple[BackendHealth, ...], StorageRole], Struct, frozen=True):
    """Measure every backend: write, sync, read back and remove a small object."""


class Commit(_Checked, Request[Committed, WriterRole], Struct, frozen=True):
    """Judge a command against the current state, and write its events, in one transaction."""

    request: CommandRequest

    @property
    @override
    def size_bytes(self) -> int:
        """The approximate size of the command's events, for the limits of the mailbox and of a batch."""
        match self.request.command:
            case IngestFiles(entries=entries, stored=stored):
                return _EVENT_BYTES + entries_bytes(entries) + _OBJECT_BYTES * len(stored)
            case commands.FinalizePackage(manifest=manifest):
                return _EVENT_BYTES + len(manifest)
            case CreatePackage(metadata=metadata):
                return _EVENT_BYTES + len(metadata_bytes(metadata))
            case RegisterMetadataSchema(schema=schema):
                return _EVENT_BYTES + len(schema)
            case ApplyKeepPolicies(package_ids=package_ids):
                return _EVENT_BYTES * len(package_ids)
            case (
                SetTag()
                | DeleteTag()
                | SetKeepPolicy()
                | DeleteKeepPolicy()
                | RequireSchema()
                | UnrequireSchema()
                | LifeCycleCommand()
                | RecordVerification()
            ):
                return _EVENT_BYTES
            case AnnotatePackage(annotations=annotations, removed=removed):
                return _EVENT_BYTES + len(metadata_bytes(annotations)) + sum(map(len, removed))
            case RecordFindings(findings=findings):
                return _EVENT_BYTES + _OBJECT_BYTES * len(findings)
            case ReplaceObjects(stored=objects) | StoreObjects(stored=objects):
                return _EVENT_BYTES + _OBJECT_BYTES * len(objects)
            case RetireObjects(objects=objects) | RemoveObjects(objects=objects):
                return _EVENT_BYTES + _OBJECT_BYTES * len(objects)
            case _:
                assert_never(self.request.command)


class ImportEvents(_Checked, Request[int, WriterRole], Struct, frozen=True):
    """Append events of another log unchanged. The reply is the number of events that were new.

    Attributes:
        events: events with consecutive sequences; empty to begin the import.
        run: the import that the events belong to.
    """

    events: tuple[StoredEvent, ...]
    run: ImportRun

    @override
    def __post_init__(self) -> None:
        _Checked.__post_init__(self)
        for stored in self.events:  # these come from outside; events that a store reads from its log are not checked
            check_fields(stored)
            check_fields(stored.event)
            check_fields(stored.event.command)

    @property
    @override
    def size_bytes(self) -> int:
        """The approximate size of the events, for the limits of the mailbox."""
        return sum(_EVENT_BYTES + len(stored.event.payload) for stored in self.events)


class HeadMoved(_Checked, Message[ProjectionRole], Struct, frozen=True):
    """A notice that the log has grown to this sequence."""

    sequence: int


class OpenTail(_Checked, Request[Stream[StoredEvent], ProjectionRole], Struct, frozen=True):
    """Stream every event after `since`, and then new events, in order, without gaps or repeats."""

    since: int


class TailsReading(Struct, frozen=True):
    """The progress of the tails of this process.

    Attributes:
        tails: the number of tails that are being read.
        head: the last sequence that this process knows. The process watches the log only while it has tails.
        slowest: the last sequence that the slowest tail has given to its reader; None without tails.
    """

    tails: int
    head: int
    slowest: int | None

    @property
    def lag_events(self) -> int:
        """The number of events that the slowest tail has not yet given to its reader."""
        return 0 if self.slowest is None else max(0, self.head - self.slowest)


class ProbeTails(_Checked, Request[TailsReading, ProjectionRole], Struct, frozen=True):
    """Return how far the tails are behind the head of the log."""


class Replay(_Checked, Request[ReplayReport, ProjectionRole], Struct, frozen=True):
    """Build the projection again from the log, and compare the live tables with it, or repair them if `rebuild` is set.

    `progress` is called as for `EventStore.replay`.
    """

    rebuild: bool
    progress: Callable[[ReplayProgress], None] | None = None


class OpenPackage(_Checked, Request[PackageRecord, IngestRole], Struct, frozen=True):
    """Create a package."""

    name: str
    retention_class: str
    metadata: Metadata
    principal: str
    idempotency_key: str | None
    schema: str | None = None
    parents: tuple[str, ...] = ()


class AddFile(_Checked, Request[FileRecord, IngestRole], Struct, frozen=True):
    """Put one file into an open package, from a local path or from a stream of bytes."""

    package_id: str
    path: str
    source: FileSource | AsyncIterator[bytes]
    expected_size: int | None
    executable: bool | None
    media_type: str | None
    on_existing: OnExisting
    principal: str
    idempotency_key: str | None


class AddDirectory(_Checked, Request[DirectoryIngest, IngestRole], Struct, frozen=True):
    """Put local sources into an open package, with one transaction for each batch.

    With `files_cache`, files that have not changed since an earlier ingest read them are not read again.
    """

    package_id: str
    tree: SourceTree
    on_existing: OnExisting
    principal: str
    progress: Callable[[IngestProgress], None] | None
    files_cache: bool = True


class FinalizePackage(_Checked, Request[FinalizedPackage, IngestRole], Struct, frozen=True):
    """Finalize a package."""

    package_id: str
    principal: str


class IngestTree(_Checked, Request[IngestSummary, IngestRole], Struct, frozen=True):
    """Create a package, put local sources into it and finalize it. If they are refused, no package is created.

    With `files_cache`, this also continues the package of an interrupted ingest.
    """

    tree: SourceTree
    name: str | None
    retention_class: str
    metadata: Metadata
    principal: str
    idempotency_key: str | None
    progress: Callable[[IngestProgress], None] | None
    files_cache: bool = True
    schema: str | None = None
    parents: tuple[str, ...] = ()


class PreviewIngest(_Checked, Request[IngestPreview, IngestRole], Struct, frozen=True):
    """Return what an ingest of local sources would store, without storing anything."""

    tree: SourceTree


class GetHealth(_Checked, Request[HealthReport, HealthRole], Struct, frozen=True):
    """Return the health of every component, from readings that are at most `max_age_s` seconds old."""

    max_age_s: float
