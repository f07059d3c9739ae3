"""The event store interface: what actors need from a log and its views, whatever database keeps them.

A store keeps one gapless log and the projections built from it. It commits each batch of commands in one transaction
and answers queries from its views. It makes no decisions: `judging.judge_batch` decides which events commands produce,
and `judging.project` which rows an event implies. Every read sees one snapshot.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from artifactstore_protocols.collection import CollectableObject, ObjectTotals, UnreleasedPackage
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.keep_policies import GroupMember, KeepPolicy
from artifactstore_protocols.manifest import Entry, ManifestReceipt
from artifactstore_protocols.package_listing import EntryListing, EntryPage, PackageListing
from artifactstore_protocols.purging import PurgedContent
from artifactstore_protocols.pushing import UploadRights
from artifactstore_protocols.records import (
    FileRecord,
    Hold,
    LeftPackage,
    MetadataSchema,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
    RetainedPackage,
    Tag,
)
from artifactstore_protocols.redaction import RedactionReport, RedactionRequest
from artifactstore_protocols.retention import RetentionClass
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import KnownObject, Place
from artifactstore_protocols.store_stats import LastRun, RunKind, StoreStats
from artifactstore_protocols.token_records import StoredToken, TokenFrame
from artifactstore_protocols.unfinished_import import ImportRun, UnfinishedImport
from artifactstore_protocols.verification import DueKey, DueObjects, VerificationState

__all__ = ["READ_BYTES_MAX", "CommandOutcome", "EventStore", "Location", "LogReading", "PackageContents"]

READ_BYTES_MAX: Final = 8 << 20
"""The default limit on the total payload bytes of events that are read together."""

type CommandOutcome = Committed | ArtifactStoreError
"""The outcome of one command in a batch: the events that it wrote, or the error that rejected it."""


class LogReading(Struct, frozen=True):
    """The result of probing a store.

    Attributes:
        head: the sequence of the last event in the log.
        free_bytes: the free space where the log is stored; None if it is unknown.
        read_only: the reason why the store cannot be written; None if it can.
        unfinished: the import that must finish before anything else can be written; None if there is none.
        store_id: the random id of the database that keeps the log. In the log, only tokens name it. None if there is
            none.
        recorded_at_us: the time of the last event, in microseconds since 1970 UTC; 0 in an empty log.
    """

    head: int
    free_bytes: int | None
    read_only: str | None = None
    unfinished: UnfinishedImport | None = None
    store_id: str | None = None
    recorded_at_us: int = 0


class Location(Struct, frozen=True, gc=False):
    """The place and size of an object, and its integrity by the last verification.

    Attributes:
        content_address: the address of its content.
        backend_id: the backend that stores it.
        object_key: its key in the backend.
        digest_sha256: the SHA-256 digest of its content, in hex.
        size_bytes: the length of its content.
        integrity: `intact`; `damaged` or `missing` after a verification found it so.
        verified_sequence: the event that stored it or last verified it; 0 if it was not asked for.
    """

    content_address: str
    backend_id: str
    object_key: str
    digest_sha256: str
    size_bytes: int
    integrity: str
    verified_sequence: int = 0

    @property
    def known(self) -> KnownObject:
        """The object in the form that storage takes.

        Raises:
            InvalidValue: `content_address` is not a content address.
        """
        address = ContentAddress.parse(self.content_address)
        return KnownObject(address, self.size_bytes, Place(self.backend_id, self.object_key))


class PackageContents(Struct, frozen=True):
    """The input for a package's manifest, read in one snapshot.

    Attributes:
        package: the package.
        entries: its entries, in ascending order of their path keys.
        receipts: the places where the contents of its files are stored; equal receipts may repeat.
        digest_algorithms: the names of the algorithms of the primary digests.
    """

    package: PackageRecord
    entries: Sequence[Entry]
    receipts: Sequence[ManifestReceipt]
    digest_algorithms: frozenset[str]


class EventStore(Protocol):
    """A log and its views. Its errors are `ArtifactStoreError`s that say whether anything may have been written."""

    @property
    def name(self) -> str:
        """The location of the store, safe to show: it never contains a password."""
        ...

    async def open(self) -> None:
        """Open the store, and set up a new one."""
        ...

    async def close(self) -> None:
        """Finish the work in progress and close the store. Does nothing if already closed."""
        ...

    def must_be_writable(self) -> None:
        """Raise the error that `commit` would raise if the store cannot be written. Call it before a change begins."""
        ...

    async def probe(self) -> LogReading:
        """Return the head and status of the log, after checking that the open database is still at its location."""
        ...

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        """Judge a batch of commands in order, and write their events and rows in one transaction.

        A rejected command writes nothing and does not make the other commands fail. A command that is already in the
        log gets its first answer again. `v1.log.created` precedes the first event in an empty log. While an import is
        unfinished, a command that is not in the log is rejected with `ImportUnfinished`. When this returns, the
        outcomes are durable.

        Raises:
            OutcomeUnknown: the batch may have been written; commit the same batch again to find out.
        """
        ...

    async def import_events(self, events: Sequence[StoredEvent], run: ImportRun) -> int:
        """Append events of another log unchanged, with the rows that they imply, in one transaction.

        Events that are already in this log are compared. When this returns, all of the events are in the log, durably.
        The head then rejects other writers until the last event of the run is in the log. An empty `events` begins a
        run: from then on the head rejects other writers. If the head has moved past `run.head` meanwhile, that call has
        no effect, and the first events of the run find any difference.

        Args:
            events: events with consecutive sequences.
            run: the import that they belong to.

        Returns:
            The number of events that were new.

        Raises:
            ImportUnfinished: another import is unfinished; nothing was written.
            LogDiffers: this log has another event at one of their sequences, or no event before the first one; nothing
                was written.
            OutcomeUnknown: the events may have been written; import the same events again to find out.
        """
        ...

    async def read_events(
        self, *, after: int, limit: int, subject: str | None = None, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[StoredEvent]:
        """Return the events after a sequence, in order.

        Args:
            after: the sequence.
            limit: the maximum number of events.
            subject: if given, only events with this subject are returned.
            bytes_max: the maximum total bytes of their payloads; an event with a larger payload is returned alone.

        Raises:
            LogDamaged: the next event is missing. Without a subject, the returned events have no gap.
        """
        ...

    async def events_of_key(self, idempotency_key: str) -> Sequence[StoredEvent]:
        """Return the events of the command that has an idempotency key, in order; none if no command has it."""
        ...

    async def wait_for_growth(self, after: int) -> int:
        """Wait until the log has grown past a sequence, and return its head.

        Writes of any process count. The call may return without growth after a few seconds, so an answer is never older
        than that.
        """
        ...

    async def replay(self, *, rebuild: bool, progress: Callable[[ReplayProgress], None] | None = None) -> ReplayReport:
        """Build the projections again from the log, and compare them with the live ones or repair those.

        `progress` is called from time to time, from any thread; it must not raise.
        """
        ...

    async def package(self, package_id: str) -> PackageRecord:
        """Return the package with this id, or raise `PackageNotFound`."""
        ...

    async def find_package(
        self, text: str, *, prefer_open: bool = False, within: Sequence[str] | None = None
    ) -> PackageRecord:
        """Return the package that a text names; see `package_references.search_package`, also for the errors.

        With `within`, a package whose name matches none of these globs is as if it were not there.
        """
        ...

    async def packages(self, page: PackageListing) -> Sequence[PackageRecord]:
        """Return one page of a list of packages."""
        ...

    async def find_entries(self, page: EntryListing) -> EntryPage:
        """Return one page of the entries that a search finds, the newest package first, after a bounded search."""
        ...

    async def contents(self, package_id: str) -> PackageContents:
        """Return the input for the package's manifest, or raise `PackageNotFound` or `PackageGone`."""
        ...

    async def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """Return the entry at a path (as its NFC key), or None. Raise `PackageNotFound` or `PackageGone`."""
        ...

    async def files(self, package_id: str) -> tuple[PackageRecord, Sequence[FileRecord]]:
        """Return a package and its entries in the `paths.tree_order` of their keys.

        Raise `PackageNotFound` or `PackageGone`.
        """
        ...

    async def file_page(self, package_id: str, *, after: str, limit: int) -> Sequence[FileRecord]:
        """Return up to `limit` entries of a package after a path key, in the order of their keys.

        Raise `PackageNotFound` or `PackageGone`.
        """
        ...

    async def differences(self, before: str, after: str) -> Sequence[tuple[FileRecord | None, FileRecord | None]]:
        """Return the entries at each path at which two packages differ, by their ids; None where there is none.

        Media types do not count. Raises `PackageNotFound` or `PackageGone` if a package is missing or gone.
        """
        ...

    async def manifest_bytes(self, package_id: str) -> bytes | None:
        """Return a package's manifest, None while it is open; raise `PackageNotFound` if the package is missing."""
        ...

    async def deduplicated_bytes(self, package_id: str) -> int:
        """Return the bytes of the package's files whose content was in the log before them."""
        ...

    async def locations(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Location]:
        """Return the objects of up to `limit` contents after an address, in order of content address.

        `package_id` selects the contents of one package; None selects all contents. Only live and condemned objects are
        returned, not those at retired keys. All objects of one content are returned together, so `after` never
        separates them.
        """
        ...

    async def known_objects(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, KnownObject]:
        """Return the objects from which contents can be read, preferring objects that are not flagged.

        Contents that the log does not name, or that have no live or condemned object, are left out.
        """
        ...

    async def referable_contents(
        self, addresses: Collection[ContentAddress], rights: UploadRights | None
    ) -> Mapping[ContentAddress, int]:
        """Return the sizes of those contents that have an intact object, and to which a package may refer.

        Args:
            addresses: the contents.
            rights: who refers to them; None for somebody who may refer to all.
        """
        ...

    async def note_uploads(self, addresses: Collection[ContentAddress], rights: UploadRights) -> None:
        """Record receipts of contents that a principal has stored for a package, and forget those that have ended."""
        ...

    async def upload_ends(self, addresses: Collection[ContentAddress], *, now_us: int) -> Mapping[ContentAddress, int]:
        """Return when the last receipt of each content ends that has one, in microseconds since 1970 UTC."""
        ...

    async def location_totals(self, *, package_id: str | None) -> tuple[int, int]:
        """Return the number of objects that `locations` returns in all, and their total bytes."""
        ...

    async def files_with_content(self, content_address: str, *, limit: int) -> Sequence[str]:
        """Return the first `limit` files that hold a content, as `package id/path`."""
        ...

    async def count_files_with_content(self, content_address: str) -> int:
        """Return the number of files that hold a content."""
        ...

    async def flagged_objects(self) -> Mapping[ContentAddress, Place]:
        """Return the contents with a flagged object, each with the place to store it at again.

        Verification flags an object that it finds damaged or missing. The key of the returned place is unused. An
        object whose content was stored at another key later is no longer flagged.
        """
        ...

    async def unused_places(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, Place]:
        """Return the place to store each content again: the key after all keys that the content has or had.

        Contents that the log does not name are left out.
        """
        ...

    async def flagged_counts(self) -> Mapping[str, int]:
        """Return the number of flagged objects for each problem that some object has: `damaged` or `missing`."""
        ...

    async def collectable_objects(
        self, state: ObjectState, *, after: CollectableObject | None, limit: int
    ) -> Sequence[CollectableObject]:
        """Return up to `limit` objects that are `condemned` or `retired`, after one, the longest so first."""
        ...

    async def retired_totals(self) -> ObjectTotals:
        """Return the totals of the objects that are retired and not removed: those of collections that ended early."""
        ...

    async def waiting_totals(self, *, after_us: int) -> ObjectTotals:
        """Return the totals of the objects that were condemned after a time."""
        ...

    async def unreleased_packages(self, *, after: int, limit: int) -> Sequence[UnreleasedPackage]:
        """Return up to `limit` gone packages that still hold entries, after a package's number, in order of numbers."""
        ...

    async def entry_keys(self, number: int, *, after: str, limit: int) -> Sequence[str]:
        """Return up to `limit` path keys of the package with this number, after a key, in order."""
        ...

    async def object_states(self, places: Collection[Place]) -> Mapping[Place, ObjectState]:
        """Return the states of those of the places that have a row. Each place has the key of a content."""
        ...

    async def collected_contents(self, addresses: Collection[ContentAddress]) -> frozenset[ContentAddress]:
        """Return the contents whose objects are all retired or removed, and that no entry refers to.

        Contents without any row are left out.
        """
        ...

    async def purged_contents(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, PurgedContent]:
        """Return the records of those of the contents that were purged."""
        ...

    async def list_purged(self, *, after: str, limit: int) -> Sequence[PurgedContent]:
        """Return up to `limit` purged contents, after a content address, in order of their digests."""
        ...

    async def places_of_purged(self, addresses: Collection[ContentAddress]) -> Sequence[tuple[Place, int]]:
        """Return every place that those of the contents ever had that were purged, with the sizes of the contents."""
        ...

    async def redact(self, request: RedactionRequest, *, now_us: int, command_id: str) -> RedactionReport:
        """Replace a text in the payloads of the log, and project the log again, in one transaction.

        Raises:
            RedactionUnconfirmed: the request does not confirm the number of events. Nothing was changed.
            OpenPackages: the text is in packages that are open. Nothing was changed.
            RedactionImpossible: an event would break a rule of the log. Nothing was changed.
            ImportUnfinished: an import is unfinished.
        """
        ...

    async def overwrite_leftovers(self) -> tuple[str, ...]:
        """Overwrite what replaced payloads left in the free space of the database; return what could not be done."""
        ...

    async def redactions(self, *, after: int, last: int) -> Mapping[int, int]:
        """Return the redacted events of a range of the log, each with the sequence of the event that redacts it."""
        ...

    async def stats(self) -> StoreStats:
        """Return the totals and the last runs, at a cost that no number of rows changes."""
        ...

    async def note_run(self, kind: RunKind, last: LastRun) -> None:
        """Record a complete backup or collection in place of the one before. The log does not contain it."""
        ...

    async def due_objects(self, due: DueObjects, *, after: DueKey | None, limit: int) -> Sequence[Location]:
        """Return up to `limit` live and condemned objects that are due, in the order of verification after a position.

        Each location has its `verified_sequence`.
        """
        ...

    async def due_totals(self, due: DueObjects) -> tuple[int, int]:
        """Return the number of objects that are due, and their total size in bytes."""
        ...

    async def last_event_before(self, at_us: int) -> int:
        """Return the sequence of the last event that was recorded before a time; 0 if there is none."""
        ...

    async def verification_state(self) -> VerificationState:
        """Return when objects were last verified, at a cost that no number of objects changes."""
        ...

    async def tag(self, tag: str) -> Tag | None:
        """Return a tag, or None."""
        ...

    async def tags(self, *, after: str, limit: int, within: Sequence[str] | None = None) -> Sequence[Tag]:
        """Return up to `limit` tags after a name, in the bytewise order of their names.

        With `within`, only tags of packages whose name matches one of these globs are returned.
        """
        ...

    async def retention_classes(self) -> Sequence[RetentionClass]:
        """Return the retention classes that the store has added, in the order of their names."""
        ...

    async def keep_policies(self) -> Sequence[KeepPolicy]:
        """Return all keep policies, in the bytewise order of their groups. There are at most `KEEP_POLICIES_MAX`."""
        ...

    async def tokens(self, *, after: str, limit: int) -> Sequence[StoredToken]:
        """Return up to `limit` tokens after a name, in the bytewise order of their names."""
        ...

    async def token(self, name: str) -> StoredToken | None:
        """Return a token, or None."""
        ...

    async def token_frame(self) -> TokenFrame:
        """Return what decides beside a token whether it works."""
        ...

    async def find_token(self, digest_in: Callable[[str], bytes]) -> tuple[TokenFrame, StoredToken | None]:
        """Return the frame, and the token whose digest the function returns for the frame's store id; None without.

        The function runs in another thread.
        """
        ...

    async def adopt_store_id(self, store_id: str) -> None:
        """Bind the tokens of a store whose log is empty to the store id of a backup. Any other log stays as it is."""
        ...

    async def name_usage(self, *, name: str | None, after: str, limit: int) -> Sequence[NameUsage]:
        """Return the space that the packages of up to `limit` names after a name take, in the order of the names.

        Names that a glob does not match may be among them.
        """
        ...

    async def unique_usage(self, package_ids: Sequence[str]) -> UniqueUsage:
        """Return what would be freed if these packages went together, at a cost that their files decide."""
        ...

    async def next_group(self, *, name: str | None, after: str) -> Sequence[GroupMember]:
        """Return the finalized packages of the first name after a name, without those that are gone; [] after the last.

        A glob narrows the names. A name that it does not match may be returned.
        """
        ...

    async def group(self, name: str) -> Sequence[GroupMember]:
        """Return the finalized packages of a name, without those that are gone."""
        ...

    async def obstacles(self, package_ids: Sequence[str]) -> Mapping[str, str]:
        """Return for each package that no policy can let go the reason."""
        ...

    async def holds(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Hold]:
        """Return up to `limit` holds after an id, in the order of their ids; of one package, or of all."""
        ...

    async def retained(
        self, *, until_us: int, after: tuple[int, str], limit: int, kept: bool
    ) -> Sequence[RetainedPackage]:
        """Return up to `limit` packages whose retention ends at a time or before, in the order of that end and the id.

        Args:
            until_us: the time.
            after: the end of the retention and the id after which to begin.
            limit: the maximum number of packages.
            kept: whether to return also packages that a hold or a protected tag keeps.
        """
        ...

    async def left_packages(self, *, until_us: int, after: int, limit: int) -> Sequence[LeftPackage]:
        """Return up to `limit` open packages that nobody touched since a time, and that no hold keeps, oldest first.

        `after` is the sequence of a package's creation after which to begin.
        """
        ...

    async def kept_by(self, package_id: str) -> tuple[int, Sequence[Tag]]:
        """Return the sequence of the event that last set a package's retention, and the protected tags that name it."""
        ...

    async def observed_clock(self) -> int | None:
        """Return the time that was observed or confirmed last, or when the log began; None in an empty log."""
        ...

    async def metadata_schema(self, name: str, version: int | None = None) -> MetadataSchema | None:
        """Return a version of a metadata schema, by default the latest one, or None."""
        ...

    async def metadata_schemas(self, *, after: tuple[str, int], limit: int) -> Sequence[MetadataSchema]:
        """Return up to `limit` metadata schemas after a name and a version, in the order of names and versions."""
        ...

    async def schema_requirements(self) -> Mapping[str, str]:
        """Return the schemas that packages must have, as `NAME@VERSION`, by globs for their names."""
        ...
