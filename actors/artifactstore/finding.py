"""Lists of packages and of the entries in them, read page by page."""

import sys
from collections.abc import AsyncGenerator

from msgspec import structs

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.package_listing import EntryListing, PackageListing, position_of
from artifactstore_protocols.package_subtrees import split_subtree
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FoundEntry, PackageRecord

__all__ = ["find_entries", "list_packages"]

_PAGE = 500
_SHOWN_CHARACTERS = 60


async def list_packages(
    store: EventStore, page: PackageListing, *, after: str | None, limit: int | None
) -> AsyncGenerator[PackageRecord]:
    """Yield the packages of a list from `page` on, or from after the package that `after` names."""
    left = sys.maxsize if limit is None else limit
    if after is not None:
        page = structs.replace(page, after=position_of(await store.find_package(after), page.sort))
    while left and (found := await store.packages(structs.replace(page, limit=min(left, _PAGE)))):
        for record in found:
            yield record
        left -= len(found)
        page = structs.replace(page, after=position_of(found[-1], page.sort))


async def find_entries(
    store: EventStore, page: EntryListing, *, after: str | None, limit: int | None
) -> AsyncGenerator[FoundEntry]:
    """Yield the entries that a search finds, from `page` on, or from after the entry that `after` names.

    Raises:
        InvalidValue: `after` names no path.
    """
    left = sys.maxsize if limit is None else limit
    if after is not None:
        package, path = split_subtree(after)
        if not path:
            raise InvalidValue("after", after[:_SHOWN_CHARACTERS], "write PACKAGE:PATH, as the search printed them")
        page = structs.replace(page, after=((await store.find_package(package)).created_sequence, path_key(path)))
    while left and (found := await store.find_entries(structs.replace(page, limit=min(left, _PAGE)))):
        for each in found:
            yield each
        left -= len(found)
        last = found[-1]
        page = structs.replace(page, after=(last.package.created_sequence, path_key(last.entry.path)))
