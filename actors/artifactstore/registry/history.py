"""Methods of the registry that read the log."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from artifactstore.arguments import checked
from artifactstore.registry.base import StoreCalls
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import OpenTail
from artifactstore_protocols.records import HistoryEntry
from artifactstore_protocols.supervision import ActorStopped

__all__ = ["HistoryCalls"]


class HistoryCalls(StoreCalls):
    """The methods that read the log."""

    @checked
    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[StoredEvent]]:
        """Open a stream of every event after `since`, in order and each once, then of new events until it is closed.

        The stream survives a restart of the actor that feeds it, and continues after the last delivered event.
        """
        async with aclosing(self._tail(since)) as tail:
            yield tail

    async def _tail(self, since: int) -> AsyncGenerator[StoredEvent]:
        while True:
            stream = await self._actors.projection.ask(OpenTail(since))
            try:
                async for stored in stream:
                    yield stored
                    since = stored.sequence
            except ActorStopped:
                continue  # opening it again waits for the actor's next incarnation, or raises if there is none
            finally:
                stream.close()

    @checked
    async def read_events(self, since: int = 0, *, limit: int = 500) -> Sequence[StoredEvent]:
        """Return up to `limit` events after `since` that the log has now; fewer if the events are large."""
        return await self._store.read_events(after=since, limit=limit)

    @checked
    async def history(self, package: str | None = None) -> AsyncGenerator[HistoryEntry]:
        """Yield who did what and when, in order, for one package or for the whole store.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = None if package is None else await self._package_id(package)
        async with aclosing(self._entries(package_id)) as entries:
            async for entry in entries:
                yield entry
