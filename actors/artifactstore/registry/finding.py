"""Methods of the registry that list, find and compare, and that count what is stored."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import outcome

from artifactstore import finding
from artifactstore.arguments import checked
from artifactstore.config import Settings
from artifactstore.environment import in_thread
from artifactstore.refusals import FileNotInPackage
from artifactstore.registry.base import PAGE, StoreCalls
from artifactstore_protocols.disk_usage import UNIQUE_PACKAGES_MAX, NameUsage, UniqueUsage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.package_listing import (
    ALL,
    EntryFilter,
    EntryListing,
    PackageFilter,
    PackageListing,
    SortKey,
)
from artifactstore_protocols.paths import without_dot
from artifactstore_protocols.records import DirectoryItem, EntryChange, FileRecord, FoundEntry, PackageRecord
from artifactstore_protocols.store_stats import StoreStats

__all__ = ["FindingCalls"]


class FindingCalls(StoreCalls):
    """The methods that list, find and compare, and that count what is stored."""

    @checked
    async def get_package(self, package: str) -> PackageRecord:
        """Return a package.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        return await self._store.find_package(package)

    @checked
    async def list_packages(
        self,
        where: PackageFilter = ALL,
        *,
        sort: SortKey = "created",
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[PackageRecord]:
        """Iterate over packages: by default over all, the newest first.

        Packages that are created meanwhile neither repeat nor hide others.

        Args:
            where: which packages.
            sort: `created` (the newest first), `name` (by code points) or `size` (the largest first).
            reverse: whether to reverse this order.
            after: a package of the list, after which it continues.
            limit: the maximum number of packages.

        Raises:
            PackageNotFound, AmbiguousPackage: no package is `after`, or several are.
        """
        page = PackageListing(await self._resolved(where), sort, ascending=(sort == "name") != reverse)
        async with aclosing(finding.list_packages(self._store, page, after=after, limit=limit)) as packages:
            async for each in packages:
                yield each

    @checked
    async def find(
        self,
        wanted: EntryFilter,
        *,
        packages: PackageFilter = ALL,
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[FoundEntry]:
        """Iterate over the entries with a path, a name or a content, and their packages: the newest package first.

        A content, a file name and a pattern that ends with one are found by an index. An exact path, and what begins
        with the same text, are one search in each package. Only a pattern like `*.log` compares every path.

        Args:
            wanted: which entries.
            packages: in which packages.
            reverse: whether the oldest package comes first.
            after: the place of an entry as `PACKAGE:PATH`, after which to continue. Only the package must exist.
            limit: the maximum number of entries.

        Raises:
            PackageNotFound, AmbiguousPackage: no package is that of `after`, or several are.
        """
        page = EntryListing(wanted, await self._resolved(packages), ascending=reverse)
        async with aclosing(finding.find_entries(self._store, page, after=after, limit=limit)) as found:
            async for each in found:
                yield each

    @checked
    async def list_files(self, package: str) -> Sequence[FileRecord]:
        """Return the files, symbolic links and empty directories of a package, sorted by the parts of their paths.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        _package, entries = await self._store.files(await self._package_id(package))
        return entries

    @checked
    async def list_directory(self, package: str, path: str = "") -> Sequence[DirectoryItem]:
        """Return the items of one directory of a package, sorted by name; of its root by default.

        The path of a file or a symbolic link gives that one item. Links are not followed.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            FileNotInPackage: the package has nothing at this path.
        """
        package_id = await self._package_id(package)
        from artifactstore_protocols.directories import list_directory  # noqa: PLC0415 - see above

        _package, entries = await self._store.files(package_id)
        items = await in_thread(lambda: list_directory(entries, without_dot(path)))
        if items is None:
            raise FileNotInPackage(package_id, path)
        return items

    @checked
    async def diff_packages(self, before: str, after: str, *, other: Settings | None = None) -> Sequence[EntryChange]:
        """Return the differences that lead from one package to another, in the order of their paths.

        Contents, executable bits, kinds and link targets count; media types do not. So there is no difference exactly
        if the tree digests are equal. A file whose content was removed at another path counts as renamed.

        Args:
            before: the first package; see the class.
            after: the second package.
            other: the store of the second package, which must exist; None for this store.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            Exception: the errors of `open_registry`, for the other store.
        """
        first = await self._package_id(before)
        from artifactstore_protocols.package_diff import changes_between, differing_pairs  # noqa: PLC0415 - see above

        if other is None:
            pairs = await self._store.differences(first, await self._package_id(after))
            return await in_thread(lambda: changes_between(pairs))
        _package, entries = await self._store.files(first)
        from artifactstore.open import open_registry  # noqa: PLC0415 - it imports this module

        async with open_registry(other, create=False) as registry:
            found = await outcome.acapture(registry.list_files, after)
        theirs = found.unwrap()
        return await in_thread(lambda: changes_between(differing_pairs(entries, theirs)))

    @checked
    async def stats(self) -> StoreStats:
        """Return what the store holds: packages, files, bytes, and its last backup and verification.

        Reads a few rows, however large the store is.
        """
        return await self._store.stats()

    @checked
    async def disk_usage(self, name: str | None = None) -> Sequence[NameUsage]:
        """Return the space that the packages of each name take, the largest first.

        Reads one row of a table for each package, and no entries.

        Args:
            name: a name, or a glob of names; None for all.
        """
        matches = PackageFilter(name=name).matches_name
        found: list[NameUsage] = []
        after = ""
        while page := await self._store.name_usage(name=name, after=after, limit=PAGE):
            found += (each for each in page if matches(each.name))
            after = page[-1].name
        return sorted(found, key=lambda each: (-each.bytes, each.name))

    @checked
    async def unique_usage(self, chosen: Sequence[str]) -> UniqueUsage:
        """Return what would be freed if these packages went together, and no other package.

        Args:
            chosen: 1 to `UNIQUE_PACKAGES_MAX` packages; see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        if not 0 < len(chosen) <= UNIQUE_PACKAGES_MAX:
            raise InvalidValue("chosen", str(len(chosen)), f"name 1 to {UNIQUE_PACKAGES_MAX} packages")
        return await self._store.unique_usage(await self._package_ids(chosen))
