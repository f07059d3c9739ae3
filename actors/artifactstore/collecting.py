"""Garbage collection: give back the room of what no package refers to.

A collection releases the entries of packages that were deleted or have expired. That, like an ingest that replaces
files, condemns the objects that lose their last reference. The collection retires what has been condemned for the
grace, deletes the bytes at retired keys, and records them as removed. Everything is in rows, so a collection that dies
is continued by the next one, and any number of them may run at once.

Bytes are deleted only at keys whose retirement is committed. Before each deletion, the root's marker gets the last
event of the log, so that a database which is put back to an earlier point never collects there.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Final

from artifactstore.concurrently import for_each_concurrent
from artifactstore.dataplane import check_marker, mark_collected, marker_of
from artifactstore.environment import in_thread
from artifactstore.ids import now_us
from artifactstore.last_runs import note_collection
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols.collection import (
    ORPHAN_AGE_S,
    CollectableObject,
    CollectionProgress,
    CollectionReport,
    Listed,
    ObjectTotals,
    content_place,
    sort_listed,
)
from artifactstore_protocols.commands import OBJECTS_MAX, Command, RemoveObjects, RetireObjects
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import ObjectsRetired
from artifactstore_protocols.event_types.objects_retired import CONDEMNED, ORPHAN
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import CompactStorage, DeleteObjects, ListBackends, ListObjects, StorageRole
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.releasing import RELEASED_MAX, ReleaseEntries
from artifactstore_protocols.root_markers import CollectionRefused
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import Place, StorageError
from artifactstore_protocols.unfinished_import import admit_command

__all__ = ["Collection"]

_COMMANDS: Final = 16
"""Commands that are sent at once. The writer judges them in one transaction."""

_PAGE: Final = _COMMANDS * OBJECTS_MAX
_LISTED: Final = 1000
_FAILURES_NAMED: Final = 20
_US: Final = 1_000_000

type _Sized = Sequence[tuple[Place, int]]


class Collection:
    """One collection.

    Args:
        store: the event store.
        storage: the actor that deletes and lists objects.
        root: the local directory of the objects; None for a backend of the caller's own, in which nobody may collect.
        commit: commits a command.
        grace_s: how long condemned objects are kept, in seconds.
        orphan_age_s: the age from which bytes without a row are orphans, in seconds; None for a day, and for a preview
            that does not list the storage.
        progress: called after each page of objects.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        root: Path | None,
        commit: Callable[[Command], Awaitable[Committed]],
        *,
        grace_s: float,
        orphan_age_s: float | None,
        progress: Callable[[CollectionProgress], None] | None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._root = root
        self._commit = commit
        self._grace_us = int(grace_s * _US)
        self._orphan_age_s = ORPHAN_AGE_S if orphan_age_s is None else orphan_age_s
        self._previews_storage = orphan_age_s is not None
        self._progress = progress
        self._looked_at = ObjectTotals()
        self._waiting = self._condemned = self._retired = ObjectTotals()
        self._orphans = self._late = self._deleted = ObjectTotals()
        self._entries = self._entry_bytes = self._compacted_bytes = 0
        self._waiting_until_us: int | None = None
        self._failures: list[str] = []

    async def run(self) -> CollectionReport:
        """Collect.

        Raises:
            CollectionRefused: this store may not collect in this root.
            ProjectionDamaged: the tables contradict each other. Nothing was retired since they were found to.
            ImportUnfinished: an import must finish first.
        """
        self._store.must_be_writable()
        await self._may_delete()
        await self._release()
        await self._retire_condemned()
        await self._delete_retired()
        for backend_id in await self._storage.ask(ListBackends()):
            try:
                await self._each_listed(backend_id, self._sweep)
            except StorageError as error:  # the other backends can still be collected
                self._note(str(error))
            await self._compact(backend_id)
        report = self._report(dry_run=False)
        await note_collection(self._store, report)
        return report

    async def preview(self) -> CollectionReport:
        """Count what `run` would do, and change nothing.

        Reads totals, and counts one by one only objects that were condemned within the grace, and objects that an
        earlier run left retired.

        Raises:
            CollectionRefused: this store may not collect in this root.
        """
        await self._may_collect()
        self._waiting = await self._store.waiting_totals(after_us=now_us() - self._grace_us)
        totals = await self._store.stats()
        self._entries, self._entry_bytes = totals.unreleased, totals.unreleased_bytes
        ready = totals.condemned - self._waiting.objects, totals.condemned_bytes - self._waiting.bytes
        self._condemned = ObjectTotals(*(max(0, each) for each in ready))  # others may collect between both reads
        self._retired = await self._store.retired_totals()
        for backend_id in await self._storage.ask(ListBackends()) if self._previews_storage else ():
            try:
                await self._each_listed(backend_id, self._count)
            except StorageError as error:
                self._note(str(error))
        return self._report(dry_run=True)

    async def check(self) -> None:
        """Check that this store may delete in the root, and change nothing.

        Raises:
            CollectionRefused: this store may not collect in this root.
            ImportUnfinished: an import must finish first.
        """
        self._store.must_be_writable()
        await self._may_collect()

    async def destroy(self, objects: _Sized) -> CollectionReport:
        """Delete the bytes at retired and removed keys now, record that, and compact every backend.

        Raises:
            CollectionRefused: this store may not collect in this root.
        """
        await self._delete(objects)
        for backend_id in await self._storage.ask(ListBackends()):
            if not await self._compact(backend_id):
                self._note(f"{backend_id}: another process reads it, so its write-ahead log still has the bytes")
        return self._report(dry_run=False)

    async def _compact(self, backend_id: str) -> bool:
        """Compact a backend, and return whether none of the deleted bytes is left in it, as far as that is known."""
        try:
            compaction = await self._storage.ask(CompactStorage(backend_id), timeout=NO_TIME_LIMIT)
        except StorageError as error:
            self._note(str(error))
            return True
        self._compacted_bytes += compaction.freed_bytes
        return compaction.is_whole

    async def _release(self) -> None:
        """Release the entries of packages that are gone."""

        async def release(command: ReleaseEntries) -> None:
            await self._commit(command)

        after = 0
        while packages := await self._store.unreleased_packages(after=after, limit=_LISTED):
            for package in packages:
                key = ""
                while keys := await self._store.entry_keys(package.number, after=key, limit=_COMMANDS * RELEASED_MAX):
                    ranges = batched(keys, RELEASED_MAX)
                    commands = [ReleaseEntries(package.package_id, each[0], each[-1]) for each in ranges]
                    await for_each_concurrent(commands, release, at_once=_COMMANDS)
                    self._entries += len(keys)
                    key = keys[-1]
                left = await self._store.unreleased_packages(after=package.number - 1, limit=1)
                if left and left[0].number == package.number:  # no row is left, and it still counts some
                    raise ProjectionDamaged(f"package {package.package_id}", "no entries", f"{left[0].entries}")
            after = packages[-1].number

    async def _retire_condemned(self) -> None:
        until_us = now_us() - self._grace_us  # now: the releases before have condemned objects

        async def retire(page: Sequence[CollectableObject]) -> None:
            kept_until_us = await self._kept_until(page)
            ready = [each for each in page if each.changed_at_us <= until_us and each not in kept_until_us]
            waiting = [each for each in page if each.changed_at_us > until_us or each in kept_until_us]
            self._waiting = _added(self._waiting, [(each.place, each.size_bytes) for each in waiting])
            ends_us = (max(each.changed_at_us + self._grace_us, kept_until_us.get(each, 0)) for each in waiting)
            self._waiting_until_us = max([*ends_us, self._waiting_until_us or 0]) or None
            retired = await self._retire([(each.place, each.size_bytes) for each in ready], CONDEMNED, until_us)
            self._condemned = _added(self._condemned, retired)

        await self._each_page("condemned", retire)

    async def _kept_until(self, page: Sequence[CollectableObject]) -> Mapping[CollectableObject, int]:
        """Return those of the objects whose uploads have receipts, each with the time when the last one ends."""
        addresses = {each: parse_key(each.place.object_key)[0] for each in page}
        ends_us = await self._store.upload_ends(set(addresses.values()), now_us=now_us())
        return {each: ends_us[address] for each, address in addresses.items() if address in ends_us}

    async def _delete_retired(self) -> None:
        found = ObjectTotals()

        async def delete(page: Sequence[CollectableObject]) -> None:
            nonlocal found
            objects = [(each.place, each.size_bytes) for each in page]
            found = _added(found, objects)
            await self._delete(objects)

        await self._each_page("retired", delete)
        others = found.plus(-self._condemned.objects, -self._condemned.bytes)
        self._retired = others if others.objects > 0 else ObjectTotals()

    async def _count(self, found: Listed) -> None:
        self._orphans = _added(self._orphans, found.orphans)
        self._late = _added(self._late, found.late)

    async def _sweep(self, found: Listed) -> None:
        """Retire and delete orphans, and delete what arrived late at keys that are retired or removed."""
        orphans = await self._retire(found.orphans, ORPHAN)
        self._orphans = _added(self._orphans, orphans)
        await self._delete(orphans)
        await self._delete(found.retired)
        self._late = _added(self._late, await self._delete(found.late))

    async def _retire(self, objects: _Sized, cause: str, until_us: int | None = None) -> _Sized:
        """Retire objects; return those that this call retired. The others were used or retired meanwhile."""
        retired: set[Place] = set()

        async def retire(places: tuple[Place, ...]) -> None:
            committed = await self._commit(RetireObjects(places, cause, until_us))
            for payload in committed.written:
                if isinstance(payload, ObjectsRetired):
                    retired.update(payload.objects)

        await self._in_commands(objects, retire)
        return [(place, size_bytes) for place, size_bytes in objects if place in retired]

    async def _delete(self, objects: _Sized) -> _Sized:
        """Delete the bytes of retired objects and record that; return those that had bytes."""
        if not objects:
            return ()
        await self._may_delete()
        sizes = dict(objects)
        deleted: list[tuple[Place, int]] = []

        async def delete(places: tuple[Place, ...]) -> None:
            answers = await self._storage.ask(DeleteObjects(places), timeout=NO_TIME_LIMIT)
            gone: list[Place] = []
            for place, answer in zip(places, answers, strict=True):
                if isinstance(answer, StorageError):
                    self._note(str(answer))
                    continue
                gone.append(place)
                if answer:
                    deleted.append((place, sizes[place]))
            if gone:
                await self._commit(RemoveObjects(tuple(gone)))

        await self._in_commands(objects, delete)
        self._deleted = _added(self._deleted, deleted)
        return deleted

    async def _in_commands(self, objects: _Sized, act: Callable[[tuple[Place, ...]], Awaitable[None]]) -> None:
        places = batched((place for place, _size in objects), OBJECTS_MAX)
        await for_each_concurrent(places, act, at_once=_COMMANDS)

    async def _each_page(
        self, state: ObjectState, act: Callable[[Sequence[CollectableObject]], Awaitable[None]]
    ) -> None:
        """Call `act` for each page of the objects in a state."""
        after: CollectableObject | None = None
        while page := await self._store.collectable_objects(state, after=after, limit=_PAGE):
            await act(page)
            self._tell([(each.place, each.size_bytes) for each in page])
            after = page[-1]

    async def _each_listed(self, backend_id: str, act: Callable[[Listed], Awaitable[None]]) -> None:
        """Call `act` for each page of the objects that a backend has."""
        after = ""
        while True:
            message = ListObjects(backend_id, after, _LISTED)
            listed = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
            places = [place for key, *_ in listed if (place := content_place(backend_id, key)) is not None]
            states = await self._store.object_states(places)  # after the list: see `sort_listed`
            await act(sort_listed(backend_id, listed, states, self._orphan_age_s))
            self._tell([(Place(backend_id, each.object_key), each.size_bytes) for each in listed])
            if len(listed) < _LISTED:
                return
            after = listed[-1].object_key

    async def _may_delete(self) -> None:
        """Write the last event of the log to the marker of the root, after a check that the store may collect there."""
        while True:
            root, store_id, known = await self._checked()
            try:
                await in_thread(partial(mark_collected, root, store_id, known))
            except CollectionRefused as refused:
                await self._check_rewound(refused)
            else:
                return

    async def _may_collect(self) -> None:
        """Check that this store may collect in the root, and change nothing."""
        while True:
            root, store_id, known = await self._checked()
            try:
                await in_thread(partial(check_marker, root, store_id, known))
            except CollectionRefused as refused:
                await self._check_rewound(refused)
            else:
                return

    async def _check_rewound(self, refused: CollectionRefused) -> None:
        """Raise the refusal, unless another collection of this store has marked the root since the head was read."""
        marker = refused.marker
        if refused.code != "store-rewound" or marker is None:
            raise refused
        if await self._event_id(marker.collected_at) != marker.event_id:
            raise refused

    async def _checked(self) -> tuple[Path, str, dict[int, str]]:
        """Return the root, the id of the store, and the events that `root_markers.collecting` compares."""
        marker = None if self._root is None else await in_thread(partial(marker_of, self._root))
        reading = await self._store.probe()
        admit_command(reading.unfinished, reading.head)
        if self._root is None or reading.store_id is None:
            raise CollectionRefused("root-unknown", reading.store_id or "", reading.head, None)
        wanted = {reading.head, 0 if marker is None else min(marker.collected_at, reading.head)} - {0}
        return self._root, reading.store_id, {sequence: await self._event_id(sequence) for sequence in wanted}

    async def _event_id(self, sequence: int) -> str:
        """Return the id of an event; an empty text if the log does not reach that far."""
        found = await self._store.read_events(after=sequence - 1, limit=1)
        return found[0].event.event_id if found else ""

    def _tell(self, objects: _Sized) -> None:
        self._looked_at = _added(self._looked_at, objects)
        if self._progress is not None:
            self._progress(CollectionProgress(self._looked_at.objects, self._looked_at.bytes))

    def _note(self, failure: str) -> None:
        if len(self._failures) < _FAILURES_NAMED and failure not in self._failures:
            self._failures.append(failure)

    def _report(self, *, dry_run: bool) -> CollectionReport:
        return CollectionReport(
            dry_run=dry_run,
            entries=self._entries,
            waiting=self._waiting,
            condemned=self._condemned,
            retired=self._retired,
            orphans=self._orphans,
            late=self._late,
            deleted=self._deleted,
            compacted_bytes=self._compacted_bytes,
            entry_bytes=self._entry_bytes,
            listed=not dry_run or self._previews_storage,
            waiting_until_at_us=self._waiting_until_us,
            failures=tuple(self._failures),
        )


def _added(totals: ObjectTotals, objects: Iterable[tuple[Place, int]]) -> ObjectTotals:
    for _place, size_bytes in objects:
        totals = totals.plus(1, size_bytes)
    return totals
