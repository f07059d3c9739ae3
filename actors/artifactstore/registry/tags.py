"""Methods of the registry for tags."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from artifactstore.arguments import checked
from artifactstore.registry.base import DEFAULT_PRINCIPAL, PAGE, StoreCalls
from artifactstore_protocols.commands import DeleteTag, SetTag
from artifactstore_protocols.event_types import TagSet
from artifactstore_protocols.event_types.tag_set import tag_subject
from artifactstore_protocols.packages import TagNotFound
from artifactstore_protocols.records import HistoryEntry, Tag

__all__ = ["TagCalls"]


class TagCalls(StoreCalls):
    """The methods for tags."""

    @checked
    async def set_tag(
        self, tag: str, package: str, *, protect: bool | None = None, principal: str = DEFAULT_PRINCIPAL
    ) -> Tag:
        """Set a tag to a finalized package, and return the tag. A tag that is set like this already does not change.

        Args:
            tag: the name of the tag. `tag:NAME` names its package wherever a package is named.
            package: the package; see the class.
            protect: True: the tag can be neither moved nor deleted. False: it can. None: as before.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            TagProtected: the tag is protected and names another package.
        """
        package_id = await self._package_id(package)
        while not (committed := await self._commit(SetTag(tag, package_id, protect), principal, None)).events:
            current = await self._store.tag(tag)
            if current is not None and current.package_id == package_id:
                return current  # otherwise somebody has moved or deleted it meanwhile
        [stored], [payload] = committed.events, committed.payloads()
        was_set, event = cast("TagSet", payload), stored.event
        return Tag(tag, was_set.package_id, was_set.protected, event.principal, event.recorded_at_us, stored.sequence)

    @checked
    async def delete_tag(self, tag: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Delete a tag. Its package stays, and the log keeps its history.

        Raises:
            TagNotFound: there is no such tag.
            TagProtected: the tag is protected.
        """
        await self._commit(DeleteTag(tag), principal, None)

    @checked
    async def get_tag(self, tag: str) -> Tag:
        """Return a tag: which package it names, and who set it when.

        Raises:
            TagNotFound: there is no such tag.
        """
        DeleteTag(tag)  # refuses what is no tag
        if (found := await self._store.tag(tag)) is None:
            raise TagNotFound(tag)
        return found

    @checked
    async def list_tags(self) -> AsyncGenerator[Tag]:
        """Yield every tag in the order of the names, read in pages."""
        after = ""
        while page := await self._store.tags(after=after, limit=PAGE):
            for each in page:
                yield each
            after = page[-1].tag

    @checked
    async def tag_history(self, tag: str) -> AsyncGenerator[HistoryEntry]:
        """Yield who set or deleted a tag and when, in order, also for a tag that was deleted.

        Raises:
            TagNotFound: no event is about this tag.
        """
        DeleteTag(tag)  # refuses what is no tag
        entries = self._entries(tag_subject(tag))
        async with aclosing(entries):
            found = False
            async for entry in entries:
                found = True
                yield entry
        if not found:
            raise TagNotFound(tag)
