"""What every group of the registry's methods stands on: the actors, the tables, and the names of packages."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from artifactstore.arguments import checked
from artifactstore.database.errors import DatabaseDamaged, DatabaseUnavailable, OutcomeUnknown
from artifactstore.environment import in_thread
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.host_loop import loop_here
from artifactstore.ids import new_id
from artifactstore.refusals import StoreClosed, WrongEventLoop
from artifactstore.supervision import NO_TIME_LIMIT, Tree
from artifactstore.tree import Actors
from artifactstore_protocols.commands import AnnotatePackage, Command, CommandRequest
from artifactstore_protocols.dataplane import SERVED_CHUNK_BYTES
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.export_choice import ChosenEntries, ExportChoice, choose_entries
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.life_cycle import DeletePackage, ExtendRetention, SetRetention
from artifactstore_protocols.messages import Commit, GetHealth, OpenObjectFile, ReadObjects, ServeObject, Stream
from artifactstore_protocols.package_listing import PackageFilter
from artifactstore_protocols.packages import PackageIdNeeded
from artifactstore_protocols.purging import ContentPurged
from artifactstore_protocols.records import HealthReport, HistoryEntry, PackageRecord
from artifactstore_protocols.storage import HeldFile, KnownObject, StorageError
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["DEFAULT_PRINCIPAL", "PAGE", "StoreCalls"]

PAGE = 500
DEFAULT_PRINCIPAL = "anonymous"
"""The principal that is recorded if the caller names none."""


class StoreCalls:
    """The open store, and what its methods share."""

    def __init__(
        self, actors: Actors, store: EventStore, tree: Tree, closed: trio.Event, root: Path | None = None
    ) -> None:
        self._actors_while_open = actors
        self._store_while_open = store
        self._tree = tree
        self._closed = closed
        self._root = root
        self._run = trio.lowlevel.current_trio_token()

    @property
    def _actors(self) -> Actors:
        self._check_use()
        return self._actors_while_open

    @property
    def _store(self) -> EventStore:
        self._check_use()
        return self._store_while_open

    def _check_use(self) -> None:
        if self._closed.is_set():
            raise StoreClosed
        here = loop_here()
        if here != "trio" or trio.lowlevel.current_trio_token() is not self._run:
            raise WrongEventLoop("trio", here)

    async def _package_ids(self, packages: Sequence[str]) -> tuple[str, ...]:
        """Return the ids of packages; of a package that is named twice, one."""
        return tuple(dict.fromkeys([await self._package_id(each) for each in packages]))

    async def _resolved(self, where: PackageFilter) -> PackageFilter:
        """Return a filter with the id of the package that it names."""
        return where if where.made_from is None else replace(where, made_from=await self._package_id(where.made_from))

    async def _exact_id(self, package: str) -> str:
        """Return the id of a package that is named by its id.

        Raises:
            PackageIdNeeded: it is named in another way.
        """
        package_id = await self._package_id(package, prefer_open=True)
        if package != package_id:
            raise PackageIdNeeded(package, package_id)
        return package_id

    async def _package_id(self, package: str, *, prefer_open: bool = False) -> str:
        return (await self._store.find_package(package, prefer_open=prefer_open)).package_id

    @asynccontextmanager
    async def _object(
        self, content_address: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[Stream[bytes]]:
        stream = await self._open_object(content_address, offset, length)
        try:
            yield stream
        finally:
            stream.close()

    async def _open_object(
        self, content_address: str, offset: int, length: int | None, chunk_bytes: int = SERVED_CHUNK_BYTES
    ) -> Stream[bytes]:
        (known,) = await self._known([content_address])
        if isinstance(known, ContentPurged):
            raise known
        return await self._actors.storage.ask(ServeObject(known, offset, length, chunk_bytes), timeout=NO_TIME_LIMIT)

    async def _contents(self, content_addresses: Sequence[str]) -> tuple[bytes | StorageError, ...]:
        found = await self._known(content_addresses)
        known = tuple(each for each in found if not isinstance(each, ContentPurged))
        read = iter(await self._actors.storage.ask(ReadObjects(known), timeout=NO_TIME_LIMIT) if known else ())
        return tuple(each if isinstance(each, ContentPurged) else next(read) for each in found)

    async def _object_file(self, content_address: str) -> HeldFile | None:
        (known,) = await self._known([content_address])
        if isinstance(known, ContentPurged):
            raise known
        return await self._actors.storage.ask(OpenObjectFile(known), timeout=NO_TIME_LIMIT)

    async def _known(self, content_addresses: Sequence[str]) -> list[KnownObject | ContentPurged]:
        addresses = [ContentAddress.parse(each) for each in content_addresses]
        known = dict[ContentAddress, KnownObject | ContentPurged](await self._store.known_objects(set(addresses)))
        if missing := {address for address in addresses if address not in known}:
            purged = await self._store.purged_contents(missing)
            known.update((address, record.error_at()) for address, record in purged.items())
            for address in missing - purged.keys():
                raise DatabaseDamaged(self._store.name, f"a file has content {address}, and nothing says where that is")
        return [known[address] for address in addresses]

    async def _chosen(
        self, package: str, choice: ExportChoice, *, leave_out_links: bool = False
    ) -> tuple[str, ChosenEntries]:
        package_id = await self._package_id(package)
        _package, entries = await self._store.files(package_id)
        choose = partial(choose_entries, leave_out_links=leave_out_links)
        return package_id, await in_thread(partial(choose, package_id, entries, choice))

    async def _entries(self, subject: str | None) -> AsyncGenerator[HistoryEntry]:
        from artifactstore.history import history_entry  # noqa: PLC0415 - see above

        after = 0
        while page := await self._store.read_events(after=after, limit=PAGE, subject=subject):
            for stored in page:
                yield history_entry(stored)
            after = page[-1].sequence

    @checked
    async def health(self, *, max_age_s: float = 1.0) -> HealthReport:
        """Return the state of every checked part, from readings that are at most `max_age_s` seconds old."""
        return await self._actors.health.ask(GetHealth(max_age_s))

    @checked
    def snapshot(self) -> SupervisorSnapshot:
        """Return the current supervision tree; after the store is closed, its last state."""
        return self._tree.snapshot()

    async def _changed(
        self,
        command: AnnotatePackage | DeletePackage | SetRetention | ExtendRetention,
        principal: str,
        idempotency_key: str | None,
    ) -> PackageRecord:
        """Commit a command that changes a package, and return the package.

        Raises:
            OutcomeUnknown: the database could not be read after the commit, or as `EventStore.commit`.
        """
        await self._commit(command, principal, idempotency_key)
        try:
            return await self._store.package(command.package_id)
        except DatabaseUnavailable as error:
            raise OutcomeUnknown(error.database, f"{error.reason}, after the command was sent") from error

    async def _commit(self, command: Command, principal: str, idempotency_key: str | None) -> Committed:
        return await self._actors.writer.ask(
            Commit(CommandRequest(new_id(), command, principal, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )
