"""Methods of the registry for a push by reference: contents first, then the entries that refer to them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifactstore.arguments import checked
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore_protocols.pushing import AddedEntries, NewEntry, UploadedContent

if TYPE_CHECKING:
    from artifactstore.pushing import Push

__all__ = ["PushCalls"]


class PushCalls(StoreCalls):
    """The methods for a push by reference."""

    @checked
    async def missing_objects(
        self,
        package: str,
        contents: Sequence[str],
        *,
        readable: Sequence[str] | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> tuple[str, ...]:
        """Return the content addresses to which no file of an open package may refer yet, in order, each once.

        Args:
            package: the package; see the class.
            contents: content addresses.
            readable: globs for the names of packages. The principal may refer to their contents, and to those that it
                has stored for this package in the last 24 hours. All others count as missing, whatever the store has.
                None for a caller who may refer to every content of the store.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage, PackageGone, PackageFinalizedAlready: there is no such open package.
        """
        return await (await self._push(package, readable, principal)).missing(contents)

    @checked
    async def store_objects(
        self, package: str, contents: Sequence[bytes], *, principal: str = DEFAULT_PRINCIPAL
    ) -> tuple[UploadedContent, ...]:
        """Store contents of at most 4 MiB each for an open package, and return what they are, in their order.

        The principal may refer to them in this package for 24 hours. Garbage collection keeps them for as long, and for
        its grace. After that it deletes those to which no package refers.

        Raises:
            PackageNotFound, AmbiguousPackage, PackageGone, PackageFinalizedAlready: there is no such open package.
            ContentPurged: a content was purged.
            StorageError: a content cannot be stored. Contents before it may have been stored.
        """
        return await (await self._push(package, (), principal)).store(contents)

    @checked
    async def add_entries(
        self,
        package: str,
        entries: Sequence[NewEntry],
        *,
        readable: Sequence[str] | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AddedEntries:
        """Add files by their content addresses, links and empty directories to an open package.

        An entry that the package has already is skipped, so a call may be repeated. Each command adds up to 256
        entries or none. After another error than `ContentsMissing`, the commands before it have added theirs.

        Args:
            package: the package; see the class.
            entries: the entries.
            readable: as for `missing_objects`.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage, PackageGone, PackageFinalizedAlready: there is no such open package.
            ContentsMissing: `missing_objects` would return some of the contents. Nothing was added, unless they were
                collected during this call.
            PathRefused, PathTaken, PathConflict, TooManyFiles: the package does not accept an entry.
        """
        return await (await self._push(package, readable, principal)).add(entries)

    async def _push(self, package: str, readable: Sequence[str] | None, principal: str) -> "Push":
        from artifactstore.pushing import Push  # noqa: PLC0415 - see above

        return Push(
            self._store,
            self._actors.storage,
            lambda command: self._commit(command, principal, None),
            await self._package_id(package, prefer_open=True),
            principal,
            None if readable is None else tuple(readable),
        )
