"""Handlers that read packages: lists, one package, its files, manifest, retention, holds and history."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Final, Literal, cast

from msgspec import Meta, Struct, field

from artifactstore import finding
from artifactstore.environment import environment, in_thread
from artifactstore.history import history_entry
from artifactstore.http.api.model import CBOR, Answer, Call, FreshQuery
from artifactstore.registry import event_store
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import SEQUENCE_MAX
from artifactstore_protocols.metadata import metadata_from_pairs
from artifactstore_protocols.moments import moment_after
from artifactstore_protocols.package_listing import PackageFilter, PackageListing
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import FileRecord, HistoryEntry, Hold, PackageRecord, PackageStatus

__all__ = [
    "FilesPage",
    "FilesQuery",
    "HistoryPage",
    "HistoryQuery",
    "HoldsPage",
    "HoldsQuery",
    "ListQuery",
    "PackagesPage",
    "explain_retention",
    "get_manifest",
    "get_package",
    "list_files",
    "list_history",
    "list_holds",
    "list_packages",
]

_LIMIT: Final = 100
_LIMIT_MAX: Final = 1000

type Limit = Annotated[int, Meta(ge=1, le=_LIMIT_MAX, description="The most items of the answer.")]


class ListQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which packages to list, and in which order: the filters of `artifactstore package list`."""

    name: Annotated[str | None, Meta(description="A glob for their names.")] = None
    state: Annotated[
        PackageStatus | None, Meta(description="Their state; without it, all that are not deleted or expired.")
    ] = None
    since: Annotated[
        str | None, Meta(description="Created since a time: `7d` (or m, h, w), or `2026-11-28[T14:30]` in UTC.")
    ] = None
    until: Annotated[str | None, Meta(description="Created until then; a day counts to its end.")] = None
    by: Annotated[str | None, Meta(description="The principal who created them.")] = None
    retention: Annotated[str | None, Meta(description="Their retention class.")] = None
    tag: Annotated[str | None, Meta(description="A glob for tags, one of which they have.")] = None
    meta: Annotated[
        tuple[str, ...], Meta(description="Metadata or an annotation that they have: `K=TEXT` or `K:=JSON`.")
    ] = ()
    has: Annotated[tuple[str, ...], Meta(description="A key of their metadata or annotations.")] = ()
    made_from: Annotated[str | None, Meta(description="A package that they are made from.")] = field(
        default=None, name="from"
    )
    sort: Annotated[
        Literal["created", "name", "size"], Meta(description="Newest first, by name, or largest first.")
    ] = "created"
    reverse: Annotated[bool, Meta(description="Reverse the order.")] = False
    after: Annotated[str | None, Meta(description="Continue after this package: `next` of the page before.")] = None
    limit: Limit = _LIMIT


class PackagesPage(Struct, frozen=True):
    """A page of packages.

    Attributes:
        items: the packages.
        next: the value of `after` for the next page; null on the last page.
    """

    items: Sequence[PackageRecord]
    next: str | None


async def list_packages(call: Call, query: ListQuery) -> Answer:
    """Answer with a page of packages."""
    store, now_us = event_store(call.registry), environment.get().now_us()

    async def exact_id(text: str) -> str:
        return (await store.find_package(text, within=call.within)).package_id

    where = PackageFilter(
        name=query.name,
        status=query.state,
        created_by=query.by,
        retention_class=query.retention,
        tag=query.tag,
        since_us=_moment(query.since, now_us, end=False),
        until_us=_moment(query.until, now_us, end=True),
        metadata=metadata_from_pairs(query.meta),
        made_from=None if query.made_from is None else await exact_id(query.made_from),
        has=query.has,
        within=call.within,
    )
    try:
        after = None if query.after is None else await exact_id(query.after)
    except PackageNotFound as error:
        raise InvalidValue("after", query.after or "", "give `next` of the page before") from error
    listing = PackageListing(where, query.sort, ascending=(query.sort == "name") != query.reverse)
    async with aclosing(finding.list_packages(store, listing, after=after, limit=query.limit + 1)) as found:
        packages = [each async for each in found]
    items = packages[: query.limit]
    return Answer(PackagesPage(items, items[-1].package_id if len(packages) > query.limit else None))


def _moment(text: str | None, now_us: int, *, end: bool) -> int | None:
    return None if text is None else max(0, moment_after(text, now_us=now_us, end=end))


async def get_package(call: Call, _query: FreshQuery) -> Answer:
    """Answer with one package."""
    return Answer(call.package)


class FilesQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the entries of a package to list."""

    after: Annotated[str, Meta(description="Continue after this path: `next` of the page before.")] = ""
    limit: Limit = _LIMIT


class FilesPage(Struct, frozen=True):
    """A page of the files, links and empty directories of a package.

    Attributes:
        package_id: the id of the package.
        items: the entries, in the order of their paths under Unicode NFC, by code points.
        next: the value of `after` for the next page; null on the last page.
    """

    package_id: str
    items: Sequence[FileRecord]
    next: str | None


async def list_files(call: Call, query: FilesQuery) -> Answer:
    """Answer with a page of the entries of a package."""
    after = path_key(check_path(query.after)) if query.after else ""
    package_id = call.package.package_id
    found = await event_store(call.registry).file_page(package_id, after=after, limit=query.limit + 1)
    items = found[: query.limit]
    return Answer(FilesPage(package_id, items, items[-1].path if len(found) > query.limit else None))


async def get_manifest(call: Call, _query: FreshQuery) -> Answer:
    """Answer with the manifest, in the form that the client prefers."""
    form: Literal["cbor", "json"] = "cbor" if call.media_type == CBOR else "json"
    package = call.package
    manifest = await call.registry.get_manifest_bytes(package.package_id, form)
    if package.manifest_digest is None:  # it was finalized since it was found
        package = await event_store(call.registry).package(package.package_id)
    return Answer(manifest, headers={"Artifactstore-Manifest-Digest": cast("str", package.manifest_digest)})


async def explain_retention(call: Call, _query: FreshQuery) -> Answer:
    """Answer with what keeps a package, or let it go."""
    return Answer(await call.registry.explain_retention(call.package.package_id))


class HoldsQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the holds on a package to list."""

    after: Annotated[str, Meta(description="Continue after this id: `next` of the page before.")] = ""
    limit: Limit = _LIMIT


class HoldsPage(Struct, frozen=True):
    """A page of the holds on a package that were not released.

    Attributes:
        items: the holds, in the order of their ids.
        next: the value of `after` for the next page; null on the last page.
    """

    items: Sequence[Hold]
    next: str | None


async def list_holds(call: Call, query: HoldsQuery) -> Answer:
    """Answer with a page of the holds on a package."""
    store, package_id = event_store(call.registry), call.package.package_id
    found = await store.holds(package_id=package_id, after=query.after, limit=query.limit + 1)
    items = found[: query.limit]
    return Answer(HoldsPage(items, items[-1].hold_id if len(found) > query.limit else None))


class HistoryQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the history of a package to list."""

    after: Annotated[
        int, Meta(ge=0, le=SEQUENCE_MAX, description="Continue after this sequence: `next` of the page before.")
    ] = 0
    limit: Limit = _LIMIT


class HistoryPage(Struct, frozen=True):
    """A page of the history of a package.

    Attributes:
        items: who did what and when, in order.
        next: the value of `after` for the next page; null on an empty page, which comes last.
    """

    items: Sequence[HistoryEntry]
    next: int | None


async def list_history(call: Call, query: HistoryQuery) -> Answer:
    """Answer with a page of the history of a package."""
    subject = call.package.package_id
    events = await event_store(call.registry).read_events(after=query.after, limit=query.limit, subject=subject)
    items = await in_thread(lambda: [history_entry(each) for each in events])
    # A page can be short because its events are large, so only an empty page is surely the last one.
    return Answer(HistoryPage(items, items[-1].sequence if items else None))
