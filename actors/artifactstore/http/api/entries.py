"""Handlers that read single entries, and that search for entries in the packages that a token may read."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from artifactstore import finding
from artifactstore.environment import environment
from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.http.api.packages import Limit
from artifactstore.http.api.parents import with_parents_seen
from artifactstore.http.api.sending import Places
from artifactstore.registry import event_store, package_reads
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import parse_sequence
from artifactstore_protocols.moments import moment_after
from artifactstore_protocols.package_listing import EntryFilter, EntryListing, PackageFilter
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import FoundEntry

__all__ = ["EntryQuery", "FindPage", "FindQuery", "find_entries", "get_entry"]

_LIMIT: Final = 100
_LOOKUPS_MAX: Final = 2
"""The most packages whose entries are read at once to find one that is not at its path."""

_lookups = Places(_LOOKUPS_MAX)  # of the process, whose memory they bound


class EntryQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """The query of an entry."""

    follow: Annotated[bool, Meta(description="Follow links of the package, also in the middle of the path.")] = False


async def get_entry(call: Call, query: EntryQuery) -> Answer:
    """Answer with the record of a file, a link or an empty directory."""
    path, package_id = check_path(call.path["path"]), call.package.package_id
    found = await package_reads(call.registry).entry(package_id, path_key(path))
    if found is None or (query.follow and found.kind == "link"):
        async with _lookups.taken(call.principal):
            found = await call.registry.get_file_record(package_id, path, follow_links=query.follow)
    return Answer(found)


class FindQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which entries to find: the conditions of `artifactstore find`. One of the first three must be given."""

    path: Annotated[str | None, Meta(description="A glob for their paths.")] = None
    name: Annotated[str | None, Meta(description="A glob for the last part of their paths.")] = None
    digest: Annotated[str | None, Meta(description="A digest of their content.")] = None
    package: Annotated[str | None, Meta(description="A glob for the names of their packages.")] = None
    tag: Annotated[str | None, Meta(description="A glob for tags, one of which their package has.")] = None
    since: Annotated[
        str | None, Meta(description="In packages created since a time: `7d` (or m, h, w), or `2026-11-28[T14:30]`.")
    ] = None
    until: Annotated[str | None, Meta(description="In packages created until then; a day counts to its end.")] = None
    reverse: Annotated[bool, Meta(description="The oldest package first.")] = False
    after: Annotated[str | None, Meta(description="Continue after this entry: `next` of the page before.")] = None
    limit: Limit = _LIMIT


class FindPage(Struct, frozen=True):
    """A page of entries, each with its package.

    Attributes:
        items: the entries, those of the newest package first.
        next: the value of `after` for the next page; null on the last page.
    """

    items: Sequence[FoundEntry]
    next: str | None


async def find_entries(call: Call, query: FindQuery) -> Answer:
    """Answer with a page of the entries that a search finds in packages that the token may read."""
    now_us = environment.get().now_us()

    def moment(text: str | None, *, end: bool) -> int | None:
        return None if text is None else max(0, moment_after(text, now_us=now_us, end=end))

    listing = EntryListing(
        EntryFilter(path=query.path, name=query.name, digest=query.digest),
        PackageFilter(
            name=query.package,
            tag=query.tag,
            since_us=moment(query.since, end=False),
            until_us=moment(query.until, end=True),
            within=call.within,
        ),
        after=None if query.after is None else _position(query.after),
        ascending=query.reverse,
    )
    pages = finding.find_entries(event_store(call.registry), listing, after=None, limit=query.limit + 1)
    async with aclosing(pages) as entries:
        found = [each async for each in entries]
    items = found[: query.limit]
    packages = await with_parents_seen(call, [each.package for each in items])
    shown = [replace(each, package=package) for each, package in zip(items, packages, strict=True)]
    last = items[-1] if len(found) > query.limit else None
    cursor = None if last is None else f"{last.package.created_sequence}/{last.entry.path}"
    return Answer(FindPage(shown, cursor))


def _position(cursor: str) -> tuple[int, str]:
    """Return the position that a cursor names.

    Raises:
        InvalidValue: it is no cursor.
    """
    number, slash, path = cursor.partition("/")
    sequence = parse_sequence(number)
    if sequence is None or not slash:
        raise InvalidValue("after", cursor[:60], "give `next` of the page before")
    return sequence, path_key(path)
