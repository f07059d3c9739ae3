"""Methods of the client that list, find and compare."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Final
from urllib.parse import quote

import outcome
from msgspec.structs import replace

from artifactstore.arguments import checked
from artifactstore.client.base import ServiceCalls, package_path
from artifactstore.client.errors import NotRemote
from artifactstore.client.service import Pairs
from artifactstore.config import Settings
from artifactstore.environment import in_thread
from artifactstore.json_output import timestamp
from artifactstore.package_copy.original import CopyDiffers, check_tree_digest
from artifactstore.package_export.reading import check_entries
from artifactstore.refusals import FileNotInPackage
from artifactstore_protocols.commands import DeleteTag
from artifactstore_protocols.directories import list_directory
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import pair_text
from artifactstore_protocols.package_diff import changes_between, differing_pairs
from artifactstore_protocols.package_listing import ALL, EntryFilter, PackageFilter, SortKey
from artifactstore_protocols.package_subtrees import split_subtree
from artifactstore_protocols.paths import tree_order, without_dot
from artifactstore_protocols.records import (
    DirectoryItem,
    EntryChange,
    FileRecord,
    FoundEntry,
    Hold,
    PackageRecord,
    RetentionReport,
    Tag,
)
from artifactstore_protocols.redaction import ManifestRedacted
from artifactstore_protocols.store_stats import StoreStats

__all__ = ["FindingCalls"]

_SHOWN_CHARACTERS: Final = 60
_FOUND_BY: Final = ("name", "tag", "since_us", "until_us")
"""The conditions for packages that a search for entries takes."""


class FindingCalls(ServiceCalls):
    """The methods that list, find and compare. `Registry` documents what they do and raise."""

    @checked
    async def get_package(self, package: str) -> PackageRecord:
        """Return a package."""
        return await self._package(package)

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
        """Iterate over packages: by default over all, the newest first."""
        cursor = None if after is None else (await self._package(after)).package_id
        query = (*_conditions(where), ("sort", sort), ("reverse", str(reverse).lower()))
        if where.until_us == 0:
            return  # nothing was created before
        async with aclosing(self._pages("/v1/packages", query, after=cursor, limit=limit)) as items:
            async for each in items:
                yield self._decoded(PackageRecord, each)

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

        Raises:
            InvalidValue: `packages` has another condition than `name`, `tag`, `since_us` and `until_us`.
        """
        if replace(packages, **dict.fromkeys(_FOUND_BY)) != ALL:
            raise InvalidValue("packages", "a filter", f"a service finds entries by {', '.join(_FOUND_BY)} of packages")
        cursor = None if after is None else await self._cursor(after)
        if packages.until_us == 0:
            return
        given = {"path": wanted.path, "name": wanted.name, "digest": wanted.digest, "package": packages.name}
        query = [(key, text) for key, text in given.items() if text is not None]
        query += [(key, text) for key, text in _conditions(replace(packages, name=None))]
        query.append(("reverse", str(reverse).lower()))
        async with aclosing(self._pages("/v1/entries", query, after=cursor, limit=limit)) as items:
            async for each in items:
                found = self._decoded(FoundEntry, each)
                check_entries([found.entry])
                yield found

    async def _cursor(self, after: str) -> str:
        package, path = split_subtree(after)
        if not path:
            raise InvalidValue("after", after[:_SHOWN_CHARACTERS], "write PACKAGE:PATH, as the search printed them")
        return f"{(await self._package(package)).created_sequence}/{path}"

    @checked
    async def list_files(self, package: str) -> Sequence[FileRecord]:
        """Return the files, symbolic links and empty directories of a package, sorted by the parts of their paths.

        The paths are checked by the rules for packages, and the entries of a finalized package are compared with its
        tree digest.

        Raises:
            PathRefused: no package may have a path or a link that the service names.
            CopyDiffers: the entries do not have the tree digest.
        """
        return await self._entries(await self._package(package))

    async def _entries(self, package: PackageRecord) -> Sequence[FileRecord]:
        path = f"{package_path(package.package_id)}/files"
        async with aclosing(self._pages(path)) as items:
            entries = [self._decoded(FileRecord, each) async for each in items]
        entries.sort(key=lambda entry: tree_order(entry.path))
        await in_thread(lambda: check_entries(entries))
        if package.tree_digest is not None:
            try:
                await check_tree_digest(package.package_id, entries, package.tree_digest)
            except CopyDiffers:
                if not await self._is_redacted(package.package_id):
                    raise
        return entries

    async def _is_redacted(self, package_id: str) -> bool:
        """Return whether texts of a package were replaced: its digests are those of the texts before."""
        with suppress(ManifestRedacted):
            await self._service.body(f"{package_path(package_id)}/manifest", (), "application/cbor")
            return False
        return True

    @checked
    async def list_directory(self, package: str, path: str = "") -> Sequence[DirectoryItem]:
        """Return the items of one directory of a package, sorted by name; of its root by default."""
        record = await self._package(package)
        entries = await self._entries(record)
        items = await in_thread(lambda: list_directory(entries, without_dot(path)))
        if items is None:
            raise FileNotInPackage(record.package_id, path)
        return items

    @checked
    async def diff_packages(self, before: str, after: str, *, other: Settings | None = None) -> Sequence[EntryChange]:
        """Return the differences that lead from one package to another, in the order of their paths.

        Args:
            before: the first package.
            after: the second package.
            other: the store of the second package, on this machine; None for the service.
        """
        package = await self._package(before)
        if other is None:
            second = await self._package(after)
            first, theirs = [await self._entries(each) for each in (package, second)]
        else:
            first = await self._entries(package)
            from artifactstore.open import open_registry  # noqa: PLC0415 - a client needs no database otherwise

            async with open_registry(other, create=False) as registry:
                found = await outcome.acapture(registry.list_files, after)
            theirs = found.unwrap()
        return await in_thread(lambda: changes_between(differing_pairs(first, theirs)))

    @checked
    async def get_tag(self, tag: str) -> Tag:
        """Return a tag: which package it names, and who set it when."""
        DeleteTag(tag)  # refuses what is no tag
        return await self._record(Tag, f"/v1/tags/{quote(tag, safe='')}")

    @checked
    async def list_tags(self) -> AsyncGenerator[Tag]:
        """Yield every tag in the order of the names."""
        async with aclosing(self._pages("/v1/tags")) as items:
            async for each in items:
                yield self._decoded(Tag, each)

    @checked
    async def list_holds(self, package: str | None = None) -> AsyncGenerator[Hold]:
        """Yield the holds on a package that were not released, in the order of their ids.

        Raises:
            NotRemote: no package is named.
        """
        if package is None:
            raise NotRemote("a list of all holds", "name a package")
        async with aclosing(self._pages(f"{package_path(package)}/holds")) as items:
            async for each in items:
                yield self._decoded(Hold, each)

    @checked
    async def explain_retention(self, package: str) -> RetentionReport:
        """Return what keeps a package and until when, or which rule or person lets or let it go."""
        return await self._record(RetentionReport, f"{package_path(package)}/retention")

    @checked
    async def stats(self) -> StoreStats:
        """Return what the store holds. This needs a token with the scope `admin`."""
        return await self._record(StoreStats, "/v1/stats")


def _conditions(where: PackageFilter) -> Pairs:
    """Return a filter as parameters of a query.

    Raises:
        InvalidValue: it has globs of a token, which the service knows.
    """
    if where.within is not None:
        raise InvalidValue("within", "globs", "the token says which packages it may read; leave it out")
    given = {
        "name": where.name,
        "state": where.status,
        "by": where.created_by,
        "retention": where.retention_class,
        "tag": where.tag,
        "since": None if where.since_us is None else timestamp(where.since_us),
        "until": None if not where.until_us else timestamp(where.until_us - 1),  # a moment counts to its end
        "from": where.made_from,
    }
    plain = [(key, text) for key, text in given.items() if text is not None]
    meta = [("meta", pair_text(key, value)) for key, value in where.metadata.items()]
    return (*plain, *meta, *(("has", key) for key in where.has))
