"""The page of a package: what it contains, what it is made from, what keeps it, and where to download it."""

from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Final

from msgspec import Meta

from artifactstore import finding
from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.http.api.pages.directory import Directory, list_items
from artifactstore.http.api.pages.html import page, with_query
from artifactstore.http.api.parents import with_parents_seen
from artifactstore.registry import event_store
from artifactstore_protocols.package_listing import PackageFilter, PackageListing
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord

__all__ = ["LINEAGE_MAX", "TEMPLATE", "DirectoryQuery", "show_package"]

TEMPLATE: Final = "/packages/{package}"

LINEAGE_MAX: Final = 50
"""The most packages that the page names as made from this one; also of those that this one is made from."""


class DirectoryQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of a directory to list."""

    after: Annotated[str, Meta(description="Continue after this item of the directory.")] = ""


async def show_package(call: Call, query: DirectoryQuery) -> Answer:
    """Answer with the page of a package."""
    store = event_store(call.registry)
    report = await call.registry.explain_retention(call.package.package_id)
    (package,) = await with_parents_seen(call, [report.package])
    listed: Directory | None = None
    if not package.is_gone:
        listed = await list_items(store, package.package_id, "", after=query.after)
    children = await _children(call, package)
    return await page(
        "package.html",
        package=package,
        report=report,
        holds=report.holds,
        listed=listed,
        next=next_part(f"/packages/{package.package_id}", listed),
        parents=await _parents(call, package),
        children=children[:LINEAGE_MAX],
        more_children=len(children) > LINEAGE_MAX,
        expires_at_us=None if package.is_gone else package.expires_at_us,
    )


def next_part(path: str, listed: Directory | None) -> str | None:
    """Return the address of the next part of a directory; None if there is none."""
    return None if listed is None or listed.next is None else with_query(path, {"after": listed.next})


async def _parents(call: Call, package: PackageRecord) -> Sequence[PackageRecord]:
    """Return the packages that a package is made from, of those that the token sees."""
    found: list[PackageRecord] = []
    for package_id in list(package.parents)[:LINEAGE_MAX]:
        with suppress(PackageNotFound):  # an import can lack it
            found.append(await event_store(call.registry).package(package_id))
    return found


async def _children(call: Call, package: PackageRecord) -> Sequence[PackageRecord]:
    """Return the newest packages that are made from a package, one more than the page names."""
    where = PackageFilter(made_from=package.package_id, within=call.within)
    listing = PackageListing(where)
    limit = LINEAGE_MAX + 1
    async with aclosing(finding.list_packages(event_store(call.registry), listing, after=None, limit=limit)) as found:
        return [each async for each in found]
