"""The event store SPI: what the actors need from a log and its views, whatever keeps them.

A store keeps one gapless log and the projections that follow from it, commits batches of commands in one transaction
each, and answers questions from its views. It makes no decision: `judging.judge_batch` says what commands make true,
and `judging.project` which rows an event implies. Every read sees one snapshot.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.imports import ImportRun, UnfinishedImport
from artifactstore_protocols.manifest import Entry, ManifestReceipt
from artifactstore_protocols.records import FileRecord, MetadataSchema, PackageRecord, ReplayProgress, ReplayReport
from artifactstore_protocols.storage import KnownObject, Place

__all__ = ["READ_BYTES_MAX", "CommandOutcome", "EventStore", "Location", "LogReading", "PackageContents"]

READ_BYTES_MAX: Final = 8 << 20
"""How long the payloads of events that are read together may be, unless a reader says otherwise."""

type CommandOutcome = Committed | ArtifactStoreError
"""What became of one command of a batch: what it wrote, or why it was refused."""


class LogReading(Struct, frozen=True):
    """What a probe of a store found.

    Attributes:
        head: the last sequence of its log.
        free_bytes: room that is left where it is kept; None where that cannot be told.
        read_only: why nothing can be written; None if it can.
        unfinished: the import that must be finished before anything else is written; None if there is none.
        store_id: random id of what keeps the log, outside the log; None where it has none.
    """

    head: int
    free_bytes: int | None
    read_only: str | None = None
    unfinished: UnfinishedImport | None = None
    store_id: str | None = None


class Location(Struct, frozen=True, gc=False):
    """Where an object is, what it should be, and what verification last said of it.

    Attributes:
        content_address: which object.
        backend_id: in which backend.
        object_key: under which key.
        digest_sha256: hex of its second digest.
        size_bytes: how long it is.
        integrity: `intact`, or `damaged` or `missing` since a verification found it so.
    """

    content_address: str
    backend_id: str
    object_key: str
    digest_sha256: str
    size_bytes: int
    integrity: str

    @property
    def known(self) -> KnownObject:
        """The object, as storage is asked for it.

        Raises:
            InvalidValue: its address is none.
        """
        address = ContentAddress.parse(self.content_address)
        return KnownObject(address, self.size_bytes, Place(self.backend_id, self.object_key))


class PackageContents(Struct, frozen=True):
    """What a manifest is made from, in one snapshot.

    Attributes:
        package: the package.
        entries: its entries, in ascending order of their keys.
        receipts: where the contents of its files are; equal ones may repeat.
        digest_algorithms: names of the algorithms of the primary digests.
    """

    package: PackageRecord
    entries: Sequence[Entry]
    receipts: Sequence[ManifestReceipt]
    digest_algorithms: frozenset[str]


class EventStore(Protocol):
    """A log and its views. Errors are `ArtifactStoreError`s that say whether anything may have been written."""

    @property
    def name(self) -> str:
        """What may be shown of where it is; never a password."""
        ...

    async def open(self) -> None:
        """Make it ready, setting up what a new one needs."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go; harmless when closed."""
        ...

    def must_be_writable(self) -> None:
        """Refuse a change before it begins, where none can be written; raises the error that `commit` would raise."""
        ...

    async def probe(self) -> LogReading:
        """Read the head of the log, having checked that what is open is still what is at its place."""
        ...

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        """Decide a batch of commands in order and write what follows, in one transaction.

        A refused command leaves no trace and does not fail its neighbours; one that is in the log already gets its
        first answer. `v1.log.created` precedes what is written into an empty log. While an import is unfinished, every
        other command is refused with `ImportUnfinished`. When this returns, what it says is durable.

        Raises:
            OutcomeUnknown: the batch may have been written; the same batch again finds out.
        """
        ...

    async def import_events(self, events: Sequence[StoredEvent], run: ImportRun) -> int:
        """Take over some of another log's events as they are, with the rows that they imply, in one transaction.

        Those that are there already are compared. When this returns, all of them are in the log, durably, and the head
        refuses other writers until the last event of the run is there. With no events, a run begins: the head refuses
        others from then on, unless somebody has written meanwhile, which the first events find out.

        Args:
            events: their sequences without a gap.
            run: the import that they belong to.

        Returns:
            How many were not there before.

        Raises:
            ImportUnfinished: another import is; nothing was written.
            LogDiffers: this log holds another event at one of their sequences, or none before the first of them;
                nothing was written.
            OutcomeUnknown: they may have been written; the same events again find out.
        """
        ...

    async def read_events(
        self, *, after: int, limit: int, subject: str | None = None, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[StoredEvent]:
        """Events after a sequence, in order.

        Args:
            after: the sequence.
            limit: how many at most.
            subject: only those about it, if one is given.
            bytes_max: how long their payloads may be together; one that is longer comes alone.

        Raises:
            LogDamaged: the very next event is missing. Without a subject, a run of events has no hole.
        """
        ...

    async def wait_for_growth(self, after: int) -> int:
        """Wait until the log has grown past a sequence, whoever wrote to it, and say where its head is then.

        May return without growth, after seconds at most; so an answer is never older than that.
        """
        ...

    async def replay(self, *, rebuild: bool, progress: Callable[[ReplayProgress], None] | None = None) -> ReplayReport:
        """Build the projections again from the log, and compare them with the live ones or repair those.

        `progress` is called now and then, from whatever thread is at it; it must not raise.
        """
        ...

    async def package(self, package_id: str) -> PackageRecord:
        """The package with this id, or PackageNotFound."""
        ...

    async def find_packages(self, wanted: str) -> Sequence[PackageRecord]:
        """Packages whose id, or else whose name, is `wanted`; newest first."""
        ...

    async def packages(self, *, after: int, limit: int) -> Sequence[PackageRecord]:
        """Up to `limit` packages in order of creation, those created after a sequence."""
        ...

    async def contents(self, package_id: str) -> PackageContents:
        """What a manifest of the package is made from, or PackageNotFound."""
        ...

    async def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """The entry at a path (as its NFC key), if there is one; or PackageNotFound."""
        ...

    async def files(self, package_id: str) -> tuple[PackageRecord, Sequence[FileRecord]]:
        """A package and its entries, in the order of `paths.tree_order` of their keys; or PackageNotFound."""
        ...

    async def manifest_bytes(self, package_id: str) -> bytes | None:
        """The manifest of a package, None while it is open; or PackageNotFound."""
        ...

    async def deduplicated_bytes(self, package_id: str) -> int:
        """Bytes of the package's files whose content was in the log before them."""
        ...

    async def locations(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Location]:
        """The objects of up to `limit` contents, those of one package or of all, in order of content address.

        Objects are live or condemned here; those at retired keys are left out.
        A content that several backends have comes with all of its objects, so `after` never cuts between them.
        """
        ...

    async def known_objects(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, KnownObject]:
        """Return where contents can be read: at objects that are not flagged, if there are such.

        Those that the log does not name, or that have no live or condemned object, are left out.
        """
        ...

    async def location_totals(self, *, package_id: str | None) -> tuple[int, int]:
        """How many objects `locations` gives in all, and their bytes."""
        ...

    async def files_with_content(self, content_address: str, *, limit: int) -> Sequence[str]:
        """The first files that hold a content, as `package id/path`."""
        ...

    async def flagged_objects(self) -> Mapping[ContentAddress, Place]:
        """Contents of which verification found an object flawed, each with the place to store it at again.

        Nothing has used that key. An object whose content was stored at another key since has no flag any more.
        """
        ...

    async def flagged_counts(self) -> Mapping[str, int]:
        """How many those are, by problem: `damaged` and `missing`; a problem that no object has is left out."""
        ...

    async def metadata_schema(self, name: str) -> MetadataSchema | None:
        """The latest version of a metadata schema, if there is one."""
        ...
